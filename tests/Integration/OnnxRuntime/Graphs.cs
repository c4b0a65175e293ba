using Pipeline.Contracts;
using Pipeline.StarterModels.Onnx;

namespace Pipeline.Tests.Integration.OnnxRuntime;

/// <summary>Small models that each test one thing.</summary>
internal static class Graphs
{
    /// <summary><c>y = x</c> of any element type, any length.</summary>
    public static byte[] Identity(TensorElementType type)
    {
        var model = new OnnxModel("identity");
        model.Output(model.Node("Identity", [model.Input("x", type, "length")], "y"), type, "length");
        return model.ToBytes();
    }

    /// <summary><c>y = x + x</c> on rows of four.</summary>
    public static byte[] Double()
    {
        var model = new OnnxModel("double");
        var x = model.Input("x", TensorElementType.Float32, "batch", 4);
        model.Output(model.Node("Add", [x, x], "y"), TensorElementType.Float32, "batch", 4);
        model.Metadata("made-for", "tests");
        return model.ToBytes();
    }

    /// <summary>Two inputs of one row count and a scalar for all rows; sum and product times the scalar.</summary>
    public static byte[] SumAndProduct()
    {
        var model = new OnnxModel("sum-and-product");
        var a = model.Input("a", TensorElementType.Float32, "batch", "width");
        var b = model.Input("b", TensorElementType.Float32, "batch", "width");
        var scale = model.Input("scale", TensorElementType.Float32);
        model.Output(model.Node("Mul", [model.Node("Add", [a, b], "s"), scale], "sum"), TensorElementType.Float32, "batch", "width");
        model.Output(model.Node("Mul", [model.Node("Mul", [a, b], "p"), scale], "product"), TensorElementType.Float32, "batch", "width");
        return model.ToBytes();
    }

    /// <summary>One weight matrix that makes the file, and a session of it, about <paramref name="side"/>² × 4 bytes large.</summary>
    public static byte[] MatMul(int side)
    {
        var model = new OnnxModel("matmul");
        var weights = model.Constant("w", OnnxTensor.Of<float>(Enumerable.Repeat(0.5f, side * side).ToArray(), side, side));
        var x = model.Input("x", TensorElementType.Float32, "batch", side);
        model.Output(model.Node("MatMul", [x, weights], "y"), TensorElementType.Float32, "batch", side);
        return model.ToBytes();
    }

    /// <summary>
    /// <c>started = x + 1</c>, and then matrix products without end in sight. Whoever watches the memory of <c>started</c> sees when
    /// the run is under way.
    /// </summary>
    public static byte[] Long(int side, int products)
    {
        var model = new OnnxModel("long");
        var x = model.Input("x", TensorElementType.Float32, side, side);
        var one = model.Constant("one", OnnxTensor.Scalar(1f));
        var started = model.Node("Add", [x, one], "started");
        var value = started;
        for (var i = 0; i < products; i++)
            value = model.Node("MatMul", [value, x], i == products - 1 ? "end" : $"product_{i}");
        model.Output(started, TensorElementType.Float32, side, side);
        model.Output(value, TensorElementType.Float32, side, side);
        return model.ToBytes();
    }

    /// <summary>Scores of two classes as a sequence of maps from class to score, as classifiers are often exported.</summary>
    public static byte[] SequenceOfMaps()
    {
        var model = new OnnxModel("zip-map");
        model.UseOperators("ai.onnx.ml", 1);
        var x = model.Input("scores", TensorElementType.Float32, "batch", 2);
        model.Node("ZipMap", [x], ["maps"], "ai.onnx.ml", OnnxAttribute.Of("classlabels_int64s", new long[] { 10, 20 }));
        model.OutputSequenceOfMaps("maps", TensorElementType.Int64, TensorElementType.Float32);
        return model.ToBytes();
    }

    /// <summary>The smallest convolution: one weight on one pixel.</summary>
    public static byte[] Convolution()
    {
        var model = new OnnxModel("convolution");
        var x = model.Input("x", TensorElementType.Float32, 1, 1, 1, 1);
        var weight = model.Constant("w", OnnxTensor.Of<float>([1f], 1, 1, 1, 1));
        model.Output(model.Node("Conv", [x, weight], "y"), TensorElementType.Float32, 1, 1, 1, 1);
        return model.ToBytes();
    }

    /// <summary>Well formed, but no provider here multiplies matrices of bfloat16.</summary>
    public static byte[] WithoutKernel()
    {
        var model = new OnnxModel("without-kernel");
        var x = model.Input("x", TensorElementType.BFloat16, 4, 4);
        model.Output(model.Node("MatMul", [x, x], "y"), TensorElementType.BFloat16, 4, 4);
        return model.ToBytes();
    }
}
