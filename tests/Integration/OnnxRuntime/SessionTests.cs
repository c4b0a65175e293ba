using Pipeline.Contracts;
using Pipeline.GpuWorker.OnnxRuntime;
using Pipeline.StarterModels.Onnx;
using Pipeline.Tests.Support.Models;
using Xunit;

namespace Pipeline.Tests.Integration.OnnxRuntime;

public sealed class SessionTests
{
    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Tells_what_the_model_takes_and_gives(string provider)
    {
        using var session = Engine.Load(provider, Graphs.SumAndProduct());

        Assert.Equal(["a", "b", "scale"], session.Inputs.Select(input => input.Name));
        Assert.Equal(["sum", "product"], session.Outputs.Select(output => output.Name));
        var a = session.Inputs[0];
        Assert.Equal((OnnxValueKind.Tensor, TensorElementType.Float32), (a.Kind, a.ElementType));
        Assert.Equal([-1, -1], a.Shape);
        Assert.Equal(["batch", "width"], a.SymbolicShape);
        Assert.Empty(session.Inputs[2].Shape);
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Tells_what_the_maker_noted_in_the_file(string provider)
    {
        using var session = Engine.Load(provider, Graphs.Double());

        Assert.Equal("tests", session.Metadata["made-for"]);
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Runs_whatever_batch_comes_on_a_dynamic_axis(string provider)
    {
        using var session = Engine.Load(provider, Graphs.Double());

        foreach (var rows in new[] { 1, 7, 0, 3 })
        {
            float[] elements = [.. Enumerable.Range(0, rows * 4)];
            using var x = Tensors.Floats([rows, 4], elements);
            using var y = Assert.Single(session.RunAll(x));
            Assert.Equal([rows, 4], y.Shape);
            Assert.Equal(elements.Select(element => element * 2), y.Floats());
        }
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Runs_several_inputs_with_a_shared_scalar_for_several_outputs(string provider)
    {
        using var session = Engine.Load(provider, Graphs.SumAndProduct());
        using var a = Tensors.Floats([2, 2], 1, 2, 3, 4);
        using var b = Tensors.Floats([2, 2], 5, 6, 7, 8);
        using var scale = Tensors.Floats([], 10);

        var outputs = session.Run(["scale", "b", "a"], [scale, b, a], ["product", "sum"]);

        using var product = outputs[0];
        using var sum = outputs[1];
        Assert.Equal([50, 120, 210, 320], product.Floats());
        Assert.Equal([60, 80, 100, 120], sum.Floats());
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Loads_from_a_file_as_from_memory(string provider)
    {
        var file = Path.Combine(Directory.CreateTempSubdirectory("pipeline-engine-").FullName, "modèle.onnx");
        File.WriteAllBytes(file, Graphs.Double());

        using var session = InferenceSession.Load(file, Engine.Options(provider));
        using var x = Tensors.Floats([1, 4], 1, 2, 3, 4);
        using var y = Assert.Single(session.RunAll(x));

        Assert.Equal([2, 4, 6, 8], y.Floats());
        Directory.Delete(Path.GetDirectoryName(file)!, recursive: true);
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public async Task Runs_on_many_threads_at_once(string provider)
    {
        using var session = Engine.Load(provider, Graphs.MatMul(side: 32));

        await Task.WhenAll(Enumerable.Range(1, 8).Select(thread => Task.Run(() => RunOften(thread))));

        void RunOften(int thread)
        {
            for (var run = 0; run < 25; run++)
            {
                using var x = Tensors.Floats([thread, 32], Enumerable.Repeat((float)thread, thread * 32).ToArray());
                using var y = Assert.Single(session.RunAll(x));
                Assert.All(y.Floats(), element => Assert.Equal(thread * 16f, element, 1e-3f));
            }
        }
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public async Task Several_sessions_run_beside_each_other(string provider)
    {
        using var twice = Engine.Load(provider, Graphs.Double());
        using var matrix = Engine.Load(provider, Graphs.MatMul(side: 4));

        await Task.WhenAll(Task.Run(() => RunOften(twice, 2f)), Task.Run(() => RunOften(matrix, 2f)));

        static void RunOften(InferenceSession session, float expected)
        {
            for (var run = 0; run < 50; run++)
            {
                using var x = Tensors.Floats([1, 4], 1, 1, 1, 1);
                using var y = Assert.Single(session.RunAll(x));
                Assert.All(y.Floats(), element => Assert.Equal(expected, element, 1e-3f));
            }
        }
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Reads_a_sequence_of_maps_item_by_item(string provider)
    {
        using var session = Engine.Load(provider, Graphs.SequenceOfMaps());
        using var scores = Tensors.Floats([2, 2], 0.25f, 0.75f, 0.5f, 0.5f);
        Assert.Equal(OnnxValueKind.Sequence, session.Outputs[0].Kind);

        using var maps = Assert.Single(session.RunAll(scores));

        Assert.Equal(OnnxValueKind.Sequence, maps.Kind);
        Assert.Equal(2, maps.ItemCount);
        using var first = maps.Item(0);
        Assert.Equal(OnnxValueKind.Map, first.Kind);
        using var keys = first.Item(0);
        using var values = first.Item(1);
        Assert.Equal([10L, 20L], keys.Elements<long>().ToArray());
        Assert.Equal([0.25f, 0.75f], values.Floats());
        Assert.Throws<OnnxRuntimeException>(() => maps.Item(2));
        Assert.Contains("Sequence", Assert.Throws<InvalidOperationException>(() => maps.Bytes.Length).Message, StringComparison.Ordinal);
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Refuses_a_batch_of_two_where_the_model_has_fixed_one(string provider)
    {
        using var session = InferenceSession.Load(PublishedModel.Find("mnist-cntk-fixed1").Path, Engine.Options(provider));
        using var digits = Tensors.Floats([2, 1, 28, 28], new float[2 * 28 * 28]);

        var refusal = Assert.Throws<OnnxRuntimeException>(() => session.RunAll(digits));

        Assert.Equal(OrtErrorCode.InvalidArgument, refusal.Code);
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Refuses_wrong_shapes_types_and_names_as_invalid_arguments(string provider)
    {
        using var session = Engine.Load(provider, Graphs.Double());
        using var narrow = Tensors.Floats([1, 3], 1, 2, 3);
        using var integers = Tensors.Of<int>(TensorElementType.Int32, [1, 4], 1, 2, 3, 4);
        using var x = Tensors.Floats([1, 4], 1, 2, 3, 4);

        AssertInvalid(() => session.Run(["x"], [narrow], ["y"]));
        AssertInvalid(() => session.Run(["x"], [integers], ["y"]));
        Assert.Contains("has no input 'z'; it has x", AssertInvalid(() => session.Run(["z"], [x], ["y"])), StringComparison.Ordinal);
        Assert.Contains("has no output 'z'; it has y", AssertInvalid(() => session.Run(["x"], [x], ["z"])), StringComparison.Ordinal);

        static string AssertInvalid(Func<OrtValue[]> run)
        {
            var refusal = Assert.Throws<OnnxRuntimeException>(() => run());
            Assert.Equal(OrtErrorCode.InvalidArgument, refusal.Code);
            return refusal.Message;
        }
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Refuses_models_that_are_missing_corrupt_or_beyond_it(string provider)
    {
        var options = Engine.Options(provider);
        var half = Graphs.MatMul(side: 8)[..100];

        Assert.Equal(OrtErrorCode.NoSuchFile, Refusal(() => InferenceSession.Load("/nowhere/model.onnx", options)));
        Assert.Equal(OrtErrorCode.InvalidProtobuf, Refusal(() => InferenceSession.Load("no model at all"u8.ToArray(), options)));
        Assert.Equal(OrtErrorCode.InvalidProtobuf, Refusal(() => InferenceSession.Load(half, options)));
        var beyond = Refusal(() => InferenceSession.Load(Graphs.WithoutKernel(), options));
        Assert.Equal(provider == ExecutionProviders.Cpu ? OrtErrorCode.NotImplemented : OrtErrorCode.Fail, beyond);

        static OrtErrorCode Refusal(Func<InferenceSession> load) => Assert.Throws<OnnxRuntimeException>(load).Code;
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Refuses_to_run_once_disposed(string provider)
    {
        var session = Engine.Load(provider, Graphs.Double());
        using var x = Tensors.Floats([1, 4], 1, 2, 3, 4);
        session.Dispose();
        session.Dispose();

        Assert.Throws<ObjectDisposedException>(() => session.RunAll(x));
    }
}
