using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;
using Pipeline.Tests.Integration.OnnxRuntime;
using Xunit;
using static Pipeline.Tests.Support.Models.Manifests;
using Graph = Pipeline.StarterModels.Onnx.OnnxModel;

namespace Pipeline.Tests.Integration.Models;

public sealed class LoadTests
{
    [Fact]
    public void Refuses_a_corrupt_file()
    {
        var mistake = Refused("this was an ONNX file once"u8.ToArray());

        Assert.Equal(("model.onnx", "an ONNX file"), (mistake.File, mistake.Expected));
    }

    [Fact]
    public void Refuses_a_file_cut_short()
    {
        var whole = Graphs.MatMul(32);

        Assert.Equal("model.onnx", Refused(whole[..(whole.Length / 2)]).File);
    }

    [Fact]
    public void Refuses_an_operator_that_nobody_knows()
    {
        var model = new Graph("unknown-operator");
        model.Output(
            model.Node("Frobnicate", [model.Input("x", TensorElementType.Float32, "batch", 4)], "y"),
            TensorElementType.Float32,
            "batch",
            4
        );

        var mistake = Refused(model.ToBytes());

        Assert.Equal("model.onnx", mistake.File);
        Assert.Contains("Frobnicate", mistake.Given, StringComparison.Ordinal);
    }

    [Fact]
    public void Refuses_an_operator_that_has_no_kernel_for_the_type()
    {
        var mistake = Refused(Graphs.WithoutKernel());

        Assert.Equal("operators that this ONNX Runtime has", mistake.Expected);
        Assert.Contains("MatMul", mistake.Given, StringComparison.Ordinal);
    }

    [Fact]
    public void Names_the_graphs_names_when_the_manifest_has_others()
    {
        using var files = new ModelFiles(
            Graphs.Double(),
            Describe(ModelKind.Tensor, new() { ["x"] = Along(0) }, new() { ["probabilities"] = Along(0) })
        );

        var failure = Assert.Throws<InvalidModelException>(() => files.Load());

        Assert.Equal(
            "model.json: outputs.probabilities: expected one of the graph's outputs (y), given \"probabilities\".",
            failure.Message
        );
        Assert.Equal(FailureKind.InvalidModel, InvalidModelException.Kind);
    }

    [Fact]
    public void Refuses_a_sequence_of_maps_and_runs_the_model_without_it()
    {
        using var files = new ModelFiles(
            Graphs.SequenceOfMaps(),
            Describe(ModelKind.Tensor, new() { ["scores"] = Along(0) }, new() { ["maps"] = Along(0) })
        );

        var failure = Assert.Throws<InvalidModelException>(() => files.Load());

        Assert.Equal(
            "model.json: outputs.maps: expected a tensor, given a sequence; leave it out, or export the model without it.",
            failure.Message
        );
    }

    private static ModelMistake Refused(byte[] model)
    {
        using var files = new ModelFiles(model, Describe(ModelKind.Tensor, new() { ["x"] = Along(0) }, new() { ["y"] = Along(0) }));
        return Assert.Single(Assert.Throws<InvalidModelException>(() => files.Load()).Mistakes);
    }
}
