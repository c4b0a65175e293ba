using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;
using Pipeline.GpuWorker.Models.Manifests;
using Pipeline.GpuWorker.OnnxRuntime;
using Xunit;

namespace Pipeline.Tests.Unit.Models;

public sealed class ManifestCheckTests
{
    private static readonly TensorInfo[] Inputs = [Tensor("x", TensorElementType.Float32, [-1, 4], ["batch", ""])];
    private static readonly TensorInfo[] Outputs = [Tensor("y", TensorElementType.Float32, [-1, 2], ["batch", ""])];

    [Fact]
    public void Completes_types_shapes_and_symbols_from_the_graph()
    {
        var completed = Complete(Manifest());

        var x = completed.Inputs["x"];
        Assert.Equal("float32", x.Type);
        Assert.Equal([-1, 4], x.Shape!);
        Assert.Equal(["batch", ""], x.Symbols!);
        Assert.Equal([4], x.TaskShape());
        Assert.Equal(0, ManifestCheck.FixedRows(completed));
    }

    [Fact]
    public void A_completed_manifest_passes_again_unchanged()
    {
        var once = Complete(Manifest());

        Assert.Equal(once.ToJson(), Complete(once).ToJson());
    }

    [Fact]
    public void Names_the_graphs_names_when_one_is_unknown()
    {
        var manifest = Manifest() with { Inputs = new Dictionary<string, TensorSpec> { ["z"] = new() { BatchAxis = 0 } } };

        AssertRefused(
            manifest,
            "model.json: inputs.z: expected one of the graph's inputs (x), given \"z\".",
            "model.json: inputs.x: expected every input of the graph (x), given none of that name."
        );
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(2)]
    public void Refuses_a_batch_axis_that_is_not_there(int axis) =>
        AssertRefused(With(x: new() { BatchAxis = axis }), $"model.json: inputs.x.batch_axis: expected 0 to 1, given {axis}.");

    [Fact]
    public void Refuses_a_model_whose_tasks_cannot_be_stacked() =>
        AssertRefused(
            With(x: new()),
            "model.json: inputs: expected a batch_axis in at least one of them, given none: tasks could not be stacked."
        );

    [Fact]
    public void Refuses_types_and_shapes_that_the_graph_does_not_have() =>
        AssertRefused(
            With(
                x: new()
                {
                    BatchAxis = 0,
                    Type = "int64",
                    Shape = [-1, 5],
                    Symbols = ["batch"],
                }
            ),
            "model.json: inputs.x.type: expected float32, as in the graph, given \"int64\".",
            "model.json: inputs.x.shape: expected [-1, 4], as in the graph, given [-1, 5].",
            "model.json: inputs.x.symbols: expected 2 names, one a dimension, given 1."
        );

    [Fact]
    public void Refuses_a_pad_that_the_type_cannot_hold()
    {
        TensorInfo[] inputs = [Tensor("x", TensorElementType.UInt8, [-1, -1], ["batch", "length"])];

        AssertRefused(
            With(x: new() { BatchAxis = 0, Pad = -1 }),
            inputs,
            Outputs,
            "model.json: inputs.x.pad: expected a value of uint8, given -1."
        );
    }

    [Fact]
    public void Refuses_an_output_that_is_no_tensor()
    {
        TensorInfo[] outputs = [new("y", OnnxValueKind.Sequence, TensorElementType.Undefined, [], [])];

        AssertRefused(
            Manifest(),
            Inputs,
            outputs,
            "model.json: outputs.y: expected a tensor, given a sequence; leave it out, or export the model without it."
        );
    }

    [Fact]
    public void Takes_the_fixed_rows_from_the_inputs_and_lets_outputs_follow()
    {
        TensorInfo[] fixedInputs = [Tensor("x", TensorElementType.Float32, [8, 4], ["", ""])];
        TensorInfo[] oneRow = [Tensor("y", TensorElementType.Float32, [1, 2], ["", ""])];

        Assert.Equal(8, ManifestCheck.FixedRows(ManifestCheck.Complete(Folder(Manifest()), fixedInputs, Outputs)));
        // An output that promises one row of a batch of any size: the promise is not kept.
        Assert.Equal([-1, 2], ManifestCheck.Complete(Folder(Manifest()), Inputs, oneRow).Outputs["y"].Shape!);
    }

    [Fact]
    public void Refuses_inputs_that_fix_different_batches()
    {
        TensorInfo[] inputs = [Tensor("x", TensorElementType.Float32, [8, 4], ["", ""]), Tensor("z", TensorElementType.Float32, [4], [""])];
        var both = new Dictionary<string, TensorSpec>
        {
            ["x"] = new() { BatchAxis = 0 },
            ["z"] = new() { BatchAxis = 0 },
        };

        AssertRefused(
            Manifest() with
            {
                Inputs = both,
            },
            inputs,
            Outputs,
            "model.json: inputs.z.batch_axis: expected a dimension of 8 as in the inputs before, given 4."
        );
    }

    [Fact]
    public void Refuses_labels_of_another_number_than_the_output_has()
    {
        var manifest = Manifest() with
        {
            Result = new ResultSpec { Type = ResultType.Labels, Labels = "labels.txt" },
        };

        AssertRefused(
            manifest,
            "labels.txt: expected 2 labels, one a line, as output y has as many numbers, given 3.",
            labels: ["a", "b", "c"]
        );
    }

    [Fact]
    public void Refuses_pooling_without_tokens_to_pool()
    {
        var manifest = Manifest() with
        {
            Result = new ResultSpec { Type = ResultType.Embedding, Pooling = Pooling.Mean },
        };

        AssertRefused(
            manifest,
            "model.json: result.pooling: expected an output of tokens × numbers a task (a shape like [batch, sequence, 384]), given y with [-1, 2]."
        );
    }

    [Fact]
    public void Refuses_text_for_inputs_that_take_none()
    {
        var manifest = Manifest() with
        {
            Kind = ModelKind.Text,
            Tokenizer = new TokenizerSpec { Type = TokenizerType.Bytes, MaxLength = 8 },
        };

        AssertRefused(manifest, "model.json: inputs.x: expected whole numbers up to 255, given float32.");
    }

    [Fact]
    public void Refuses_a_text_input_that_plays_no_role()
    {
        TensorInfo[] inputs = [Ids("input_ids"), Ids("position_ids")];
        var manifest = Text(8, inputs);

        AssertRefused(
            manifest,
            inputs,
            Outputs,
            "model.json: inputs.position_ids: expected a role in tokenizer.inputs: ids, mask or types, given none; a text model has nothing else to feed it with."
        );
    }

    [Fact]
    public void Refuses_texts_longer_than_the_graph_takes()
    {
        TensorInfo[] inputs = [Tensor("input_ids", TensorElementType.Int64, [-1, 6], ["batch", ""])];

        AssertRefused(
            Text(8, inputs),
            inputs,
            Outputs,
            "model.json: tokenizer.max_length: expected at most 6, the graph's length, given 8."
        );
    }

    private static ModelManifest Manifest() =>
        new()
        {
            Name = "m",
            Version = "1",
            File = "model.onnx",
            Sha256 = "",
            Kind = ModelKind.Tensor,
            Inputs = new Dictionary<string, TensorSpec> { ["x"] = new() { BatchAxis = 0 } },
            Outputs = new Dictionary<string, TensorSpec> { ["y"] = new() { BatchAxis = 0 } },
        };

    private static ModelManifest With(TensorSpec x) => Manifest() with { Inputs = new Dictionary<string, TensorSpec> { ["x"] = x } };

    private static ModelManifest Text(int maxLength, TensorInfo[] inputs) =>
        Manifest() with
        {
            Kind = ModelKind.Text,
            Tokenizer = new TokenizerSpec { Type = TokenizerType.Bytes, MaxLength = maxLength },
            Inputs = inputs.ToDictionary(input => input.Name, _ => new TensorSpec { BatchAxis = 0 }),
        };

    private static TensorInfo Ids(string name) => Tensor(name, TensorElementType.Int64, [-1, -1], ["batch", "length"]);

    private static TensorInfo Tensor(string name, TensorElementType type, long[] shape, string[] symbols) =>
        new(name, OnnxValueKind.Tensor, type, shape, symbols);

    private static ModelFolder Folder(ModelManifest manifest, params string[] labels) => new("", manifest, labels, []);

    private static ModelManifest Complete(ModelManifest manifest) => ManifestCheck.Complete(Folder(manifest), Inputs, Outputs);

    private static void AssertRefused(ModelManifest manifest, string mistake, params string[] labels) =>
        AssertRefused(Folder(manifest, labels), Inputs, Outputs, mistake);

    private static void AssertRefused(ModelManifest manifest, string first, string second) =>
        AssertRefused(Folder(manifest), Inputs, Outputs, first, second);

    private static void AssertRefused(ModelManifest manifest, string first, string second, string third) =>
        AssertRefused(Folder(manifest), Inputs, Outputs, first, second, third);

    private static void AssertRefused(ModelManifest manifest, TensorInfo[] inputs, TensorInfo[] outputs, string mistake) =>
        AssertRefused(Folder(manifest), inputs, outputs, mistake);

    private static void AssertRefused(ModelFolder folder, TensorInfo[] inputs, TensorInfo[] outputs, params string[] mistakes)
    {
        var failure = Assert.Throws<InvalidModelException>(() => ManifestCheck.Complete(folder, inputs, outputs));

        Assert.Equal(mistakes.Order(), failure.Mistakes.Select(mistake => mistake.ToString()).Order());
    }
}
