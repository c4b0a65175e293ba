using System.Text;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;
using Pipeline.GpuWorker.OnnxRuntime;
using Pipeline.Tests.Integration.OnnxRuntime;
using Pipeline.Tests.Support.Models;
using Xunit;
using static Pipeline.Tests.Support.Models.Manifests;

namespace Pipeline.Tests.Integration.Models;

public sealed class OnnxModelTests
{
    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Labels_texts_whatever_their_company(string provider)
    {
        using var files = Labels(softmax: true);
        var model = files.Load(provider);

        var outputs = model.RunTogether("d"u8.ToArray(), "a much longer text"u8.ToArray(), ""u8.ToArray());

        // Logits 1, 0, −1 for "d" (100): softmax 0.665241, 0.244728, 0.0900306.
        AssertLabels(outputs[0], ("up", 0.665241), ("flat", 0.244728));
        AssertLabels(model.RunTogether("d"u8.ToArray())[0], ("up", 0.665241), ("flat", 0.244728));
        AssertLabels(outputs[2], ("up", 0.333333), ("flat", 0.333333));
        Assert.Equal("application/json", outputs[0].ContentType);
    }

    [Fact]
    public void Writes_scores_with_six_digits_and_labels_as_json()
    {
        using var files = Labels(softmax: false, labels: "a \"quoted\" one\nflat\ndé\n", topK: 3);

        var output = files.Load().RunTogether("c"u8.ToArray())[0];

        Assert.Equal(
            """{"labels":[{"label":"a \"quoted\" one","score":0.99},{"label":"flat","score":0},{"label":"dé","score":-0.99}]}""",
            output.Text()
        );
    }

    [Theory]
    [InlineData(TensorElementType.UInt8)]
    [InlineData(TensorElementType.Int16)]
    [InlineData(TensorElementType.UInt16)]
    [InlineData(TensorElementType.Int32)]
    [InlineData(TensorElementType.UInt32)]
    [InlineData(TensorElementType.Int64)]
    [InlineData(TensorElementType.UInt64)]
    public void Gives_the_bytes_in_whatever_integer_the_graph_wants(TensorElementType type)
    {
        using var files = Labels(softmax: false, ids: type);

        AssertLabels(files.Load().RunTogether(Encoding.UTF8.GetBytes("é"))[0], ("up", 1.95), ("flat", 0));
    }

    [Fact]
    public void Counts_text_in_tokens()
    {
        using var files = Labels(softmax: false);
        var model = files.Load();

        using var batch = model.Pack([model.Prepare("abc"u8.ToArray()), model.Prepare(""u8.ToArray()), model.Prepare(new byte[100])]);

        Assert.Equal((3, 3 + 1 + 32, 3 * 32), (batch.Rows, batch.Units, batch.PaddedUnits));
    }

    [Theory]
    [InlineData(Pooling.Mean, false, 2f, 4f)]
    [InlineData(Pooling.Cls, false, 1f, 2f)]
    [InlineData(Pooling.Mean, true, 0.4472136f, 0.8944272f)]
    public void Pools_token_vectors_into_one(Pooling pooling, bool normalize, float first, float second)
    {
        using var files = Vectors(
            new ResultSpec
            {
                Type = ResultType.Embedding,
                From = "vectors",
                Pooling = pooling,
                Normalize = normalize,
            }
        );
        var model = files.Load();

        // Alone and beside a longer text: padding must not count.
        foreach (var output in new[] { model.RunTogether([1, 2, 3])[0], model.RunTogether([1, 2, 3], new byte[8])[0] })
        {
            var embedding = output.Tensor("embedding");
            Assert.Equal([2], embedding.Shape);
            Assert.Equal([first, second], embedding.FloatsOf());
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Cuts_padding_off_raw_outputs_on_either_axis(bool batchFirst)
    {
        using var files = Vectors(new ResultSpec(), batchFirst);

        var outputs = files.Load().RunTogether([5, 6], [1, 2, 3, 4], [9]);

        Assert.Equal([1, 2, 3, 4], outputs[1].Tensor("echo").FloatsOf());
        Assert.Equal([5, 6], outputs[0].Tensor("echo").FloatsOf());
        Assert.Equal([2, 2], outputs[0].Tensor("vectors").Shape);
        Assert.Equal([5, 10, 6, 12], outputs[0].Tensor("vectors").FloatsOf());
        Assert.Equal([9, 18], outputs[2].Tensor("vectors").FloatsOf());
    }

    [Fact]
    public void Feeds_mask_and_types_beside_the_ids()
    {
        using var files = new ModelFiles(
            TextGraphs.Roles(),
            Describe(
                ModelKind.Text,
                new()
                {
                    ["input_ids"] = Along(0, pad: 7),
                    ["attention_mask"] = Along(0),
                    ["token_type_ids"] = Along(0),
                },
                // The graph calls this dimension something else; its owner knows better.
                new() { ["all"] = Along(0) with { Symbols = ["batch", "length"] } },
                Bytes(16)
            )
        );

        var outputs = files.Load().RunTogether([1], [2, 3, 4]);

        Assert.Equal(BitConverter.GetBytes(1001L), outputs[0].Tensor("all").Data.ToArray());
        Assert.Equal([3], outputs[1].Tensor("all").Shape);
    }

    [Fact]
    public void Tokenises_as_the_published_vocabulary_and_ids_say()
    {
        var published = PublishedModel.Find("tinybert-dynamic");
        var folder = Path.GetDirectoryName(published.Path)!;
        using var tokenizer = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "tokenizer.json")));
        using var texts = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "cases.json")));
        var words = tokenizer
            .RootElement.GetProperty("model")
            .GetProperty("vocab")
            .EnumerateObject()
            .OrderBy(word => word.Value.GetInt32());
        using var files = new ModelFiles(
            File.ReadAllBytes(published.Path),
            Describe(
                ModelKind.Text,
                new()
                {
                    ["input_ids"] = Along(0),
                    ["attention_mask"] = Along(0),
                    ["token_type_ids"] = Along(0),
                },
                new() { ["output_0"] = Along(0), ["output_1"] = Along(0) },
                new TokenizerSpec
                {
                    Type = TokenizerType.WordPiece,
                    MaxLength = 100,
                    Vocab = "vocab.txt",
                }
            ),
            ("vocab.txt", string.Join('\n', words.Select(word => word.Name)))
        );
        var model = files.Load();
        var cases = published.Cases();
        var inputs = texts.RootElement.GetProperty("cases").EnumerateArray().Select(one => one.GetProperty("text").GetString()!);

        var outputs = model.RunTogether([.. inputs.Select(Encoding.UTF8.GetBytes)]);

        // The ids show in the result: had one differed, so would its vectors.
        foreach (var (one, output) in cases.Zip(outputs))
        {
            Assert.Equal(one.Expected["output_0"].Shape[1..], output.Tensor("output_0").Shape);
            var given = output.Tensor("output_0").FloatsOf();
            Assert.All(one.Expected["output_0"].Elements, expected => Assert.Equal(expected.Value, given[expected.Index], one.Tolerance));
        }
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Stacks_along_any_axis_and_shares_what_has_none(string provider)
    {
        using var files = new ModelFiles(
            TextGraphs.Transposed(),
            Describe(ModelKind.Tensor, new() { ["a"] = Along(1, pad: 0), ["scale"] = Along(null) }, new() { ["y"] = Along(0) })
        );
        var model = files.Load(provider);

        var outputs = model.RunTogether(
            Packs.Of(Packs.Floats("a", [2], 1, 2), Packs.Floats("scale", [], 10)),
            Packs.Of(Packs.Floats("scale", [], 10), Packs.Floats("a", [3], 3, 4, 5))
        );

        Assert.Equal([10, 20], outputs[0].Tensor("y").FloatsOf());
        Assert.Equal([30, 40, 50], outputs[1].Tensor("y").FloatsOf());
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Fills_a_fixed_batch_up(string provider)
    {
        using var files = FourRows();
        var model = files.Load(provider);
        Assert.Equal(4, model.FixedRows);

        var outputs = model.RunTogether(
            Packs.Of(Packs.Floats("x", [2], 1, 2)),
            Packs.Of(Packs.Floats("x", [2], 3, 4)),
            Packs.Of(Packs.Floats("x", [2], 5, 6))
        );

        Assert.Equal(
            [
                [2, 4],
                [6, 8],
                [10, 12],
            ],
            outputs.Select(output => output.Tensor("y").FloatsOf())
        );
        using var batch = model.Pack([model.Prepare(Packs.Of(Packs.Floats("x", [2], 1, 2)))]);
        Assert.Equal((1, 2, 8), (batch.Rows, batch.Units, batch.PaddedUnits));
        var five = Enumerable.Repeat(model.Prepare(Packs.Of(Packs.Floats("x", [2], 1, 2))), 5).ToArray();
        Assert.Throws<ArgumentOutOfRangeException>(() => model.Pack(five));
    }

    [Fact]
    public void Takes_and_gives_texts_in_tensors()
    {
        using var files = new ModelFiles(
            TextGraphs.Words(),
            Describe(ModelKind.Tensor, new() { ["x"] = Along(1) }, new() { ["y"] = Along(1) })
        );
        var model = files.Load();
        var inputs = new[] { Packs.Of(Packs.Strings("x", [2], "a", "é")), Packs.Of(Packs.Strings("x", [2], "", "dd")) };

        var outputs = model.RunTogether(inputs);

        Assert.Equal(Packs.Of(Packs.Strings("y", [2], "a", "é")), outputs[0].Bytes);
        Assert.Equal(Packs.Of(Packs.Strings("y", [2], "", "dd")), outputs[1].Bytes);
        Assert.Throws<TaskInputException>(() => model.Prepare(Packs.Of(Packs.Strings("x", [2], "nul\0", "é"))));
    }

    [Fact]
    public void Tasks_of_other_shapes_have_other_keys_where_nothing_is_padded()
    {
        using var files = new ModelFiles(
            Graphs.SumAndProduct(),
            Describe(
                ModelKind.Tensor,
                new()
                {
                    ["a"] = Along(0),
                    ["b"] = Along(0),
                    ["scale"] = Along(null),
                },
                new() { ["sum"] = Along(0) }
            )
        );
        var model = files.Load();
        var two = model.Prepare(Task([1, 2], 1));

        Assert.Equal(two.ShapeKey, model.Prepare(Task([3, 4], 1)).ShapeKey);
        Assert.NotEqual(two.ShapeKey, model.Prepare(Task([3, 4, 5], 1)).ShapeKey);
        Assert.NotEqual(two.ShapeKey, model.Prepare(Task([3, 4], 2)).ShapeKey);
        Assert.Throws<ArgumentException>(() => model.Pack([two, model.Prepare(Task([3, 4, 5], 1))]));
        Assert.Equal([6, 8], model.RunTogether(Task([3, 4], 1))[0].Tensor("sum").FloatsOf());

        static byte[] Task(float[] values, float scale) =>
            Packs.Of(
                Packs.Floats("a", [values.Length], values),
                Packs.Floats("b", [values.Length], values),
                Packs.Floats("scale", [], scale)
            );
    }

    [Fact]
    public void Says_what_is_wrong_with_an_input()
    {
        using var files = FourRows();
        var model = files.Load();

        AssertRefused([1, 2, 3], "Expected a pack of tensors, given 3 bytes that are none.");
        AssertRefused(Packs.Of(), "Expected the tensors x, given : x is missing.");
        AssertRefused(Packs.Of(Packs.Longs("x", [2], 1, 2)), "x: expected float32, given int64.");
        AssertRefused(Packs.Of(Packs.Floats("x", [3], 1, 2, 3)), "x: expected the shape [2], given [3].");
        AssertRefused(Packs.Of(Packs.Floats("x", [1, 2], 1, 2)), "x: expected the shape [2], given [1, 2].");
        AssertRefused(Packs.Of(Packs.Floats("x", [2], 1, 2), Packs.Floats("z", [2], 1, 2)), "Expected the tensors x, given x, z.");

        void AssertRefused(byte[] input, string message) =>
            Assert.Equal(message, Assert.Throws<TaskInputException>(() => model.Prepare(input)).Message);
    }

    [Fact]
    public void Refuses_padded_inputs_of_one_task_that_disagree()
    {
        using var files = PublishedModelTests.Files("tinybert-dynamic");
        var model = files.Load();
        var input = Packs.Of(
            Packs.Longs("input_ids", [2], 3, 1),
            Packs.Longs("attention_mask", [3], 1, 1, 1),
            Packs.Longs("token_type_ids", [2], 0, 0)
        );

        var failure = Assert.Throws<TaskInputException>(() => model.Prepare(input));

        Assert.Equal("attention_mask: expected 2 along sequence as in the tensors before, given 3.", failure.Message);
    }

    [Fact]
    public async Task A_run_ends_when_it_is_told_to()
    {
        using var files = new ModelFiles(
            Graphs.Long(side: 256, products: 20_000),
            Describe(ModelKind.Tensor, new() { ["x"] = Along(0) }, new() { ["end"] = Along(0) })
        );
        var model = files.Load();
        var task = model.Prepare(Packs.Of(Packs.Floats("x", [256], new float[256])));
        using var stop = new CancellationTokenSource();

        var run = Task.Run(() => model.Run(model.Pack([task]), stop.Token));
        await stop.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run);
    }

    [Fact]
    public void A_failing_graph_fails_the_batch_and_not_the_model()
    {
        using var files = new ModelFiles(
            Graphs.SumAndProduct(),
            Describe(
                ModelKind.Tensor,
                new()
                {
                    ["a"] = Along(0),
                    ["b"] = Along(0),
                    ["scale"] = Along(null),
                },
                new() { ["sum"] = Along(0) }
            )
        );
        var model = files.Load();
        var mismatched = Packs.Of(Packs.Floats("a", [2], 1, 2), Packs.Floats("b", [3], 1, 2, 3), Packs.Floats("scale", [], 1));
        var fine = Packs.Of(Packs.Floats("a", [1], 1), Packs.Floats("b", [1], 2), Packs.Floats("scale", [], 1));

        Assert.Throws<OnnxRuntimeException>(() => model.RunTogether(mismatched));
        Assert.Equal([3], model.RunTogether(fine)[0].Tensor("sum").FloatsOf());
    }

    private static TokenizerSpec Bytes(int maxLength) => new() { Type = TokenizerType.Bytes, MaxLength = maxLength };

    private static ModelFiles Labels(
        bool softmax,
        string labels = "up\nflat\ndown\n",
        int topK = 2,
        TensorElementType ids = TensorElementType.Int32
    ) =>
        new(
            TextGraphs.Logits(ids),
            Describe(
                ModelKind.Text,
                new() { ["ids"] = Along(0) },
                new() { ["logits"] = Along(0) },
                Bytes(32),
                new ResultSpec
                {
                    Type = ResultType.Labels,
                    Labels = "labels.txt",
                    TopK = topK,
                    Softmax = softmax,
                }
            ),
            ("labels.txt", labels)
        );

    private static ModelFiles Vectors(ResultSpec result, bool batchFirst = true)
    {
        var axis = batchFirst ? 0 : 1;
        return new ModelFiles(
            TextGraphs.TokenVectors(batchFirst),
            Describe(
                ModelKind.Text,
                new() { ["ids"] = Along(axis) },
                new() { ["vectors"] = Along(axis), ["echo"] = Along(axis) },
                Bytes(16),
                result
            )
        );
    }

    private static ModelFiles FourRows() =>
        new(TextGraphs.FourRows(), Describe(ModelKind.Tensor, new() { ["x"] = Along(0) }, new() { ["y"] = Along(0) }));

    private static void AssertLabels(TaskOutput output, params (string Label, double Score)[] expected)
    {
        using var json = JsonDocument.Parse(output.Bytes);
        var labels = json.RootElement.GetProperty("labels").EnumerateArray().ToList();
        Assert.Equal(expected.Select(one => one.Label), labels.Select(label => label.GetProperty("label").GetString()));
        Assert.All(expected.Zip(labels), pair => Assert.Equal(pair.First.Score, pair.Second.GetProperty("score").GetDouble(), 1e-5));
    }
}
