using Pipeline.Contracts;
using Pipeline.StarterModels.Onnx;

namespace Pipeline.Tests.Integration.Models;

/// <summary>Small models of texts and tensors that each show one thing.</summary>
internal static class TextGraphs
{
    /// <summary>Three logits a text, from its largest token m: 0.01·m, 0 and −0.01·m. Padding with 0 does not move them.</summary>
    public static byte[] Logits(TensorElementType ids = TensorElementType.Int32)
    {
        var model = new OnnxModel("logits");
        var tokens = model.Node("Cast", [model.Input("ids", ids, "batch", "length")], "tokens", OnnxAttribute.Of("to", 1L));
        var largest = model.Node(
            "ReduceMax",
            [tokens],
            "largest",
            OnnxAttribute.Of("axes", new long[] { 1 }),
            OnnxAttribute.Of("keepdims", 1L)
        );
        var weights = model.Constant("weights", OnnxTensor.Of<float>([0.01f, 0f, -0.01f], 1, 3));
        model.Output(model.Node("MatMul", [largest, weights], "logits"), TensorElementType.Float32, "batch", 3);
        return model.ToBytes();
    }

    /// <summary>A vector (t, 2t) for every token t, and the tokens as they came.</summary>
    public static byte[] TokenVectors(bool batchFirst = true)
    {
        OnnxDim[] dims = batchFirst ? ["batch", "length"] : ["length", "batch"];
        var model = new OnnxModel("token-vectors");
        var ids = model.Input("ids", TensorElementType.Int64, dims);
        var tokens = model.Node("Cast", [ids], "tokens", OnnxAttribute.Of("to", 1L));
        var axis = model.Constant("last", OnnxTensor.Vector(2L));
        var column = model.Node("Unsqueeze", [tokens, axis], "column");
        var weights = model.Constant("weights", OnnxTensor.Of<float>([1f, 2f], 1, 2));
        model.Output(model.Node("MatMul", [column, weights], "vectors"), TensorElementType.Float32, [.. dims, 2]);
        model.Output(model.Node("Identity", [tokens], "echo"), TensorElementType.Float32, dims);
        return model.ToBytes();
    }

    /// <summary>What the mask and the types are: ids + 1000·mask + 1000000·types.</summary>
    public static byte[] Roles()
    {
        var model = new OnnxModel("roles");
        var ids = model.Input("input_ids", TensorElementType.Int64, "batch", "length");
        var mask = model.Input("attention_mask", TensorElementType.Int64, "batch", "length");
        var types = model.Input("token_type_ids", TensorElementType.Int64, "batch", "length");
        var thousand = model.Constant("thousand", OnnxTensor.Scalar(1000L));
        var million = model.Constant("million", OnnxTensor.Scalar(1_000_000L));
        var masked = model.Node("Add", [ids, model.Node("Mul", [mask, thousand], "m")], "masked");
        var all = model.Node("Add", [masked, model.Node("Mul", [types, million], "t")], "all");
        model.Output(all, TensorElementType.Int64, "batch", "sum_length");
        return model.ToBytes();
    }

    /// <summary><c>y = aᵀ·scale</c> on batches along the last axis: a is [height, batch], y is [batch, height].</summary>
    public static byte[] Transposed()
    {
        var model = new OnnxModel("transposed");
        var a = model.Input("a", TensorElementType.Float32, "height", "batch");
        var scale = model.Input("scale", TensorElementType.Float32);
        var turned = model.Node("Transpose", [a], "turned");
        model.Output(model.Node("Mul", [turned, scale], "y"), TensorElementType.Float32, "batch", "height");
        return model.ToBytes();
    }

    /// <summary><c>y = x + x</c> for exactly four rows of two.</summary>
    public static byte[] FourRows()
    {
        var model = new OnnxModel("four-rows");
        var x = model.Input("x", TensorElementType.Float32, 4, 2);
        model.Output(model.Node("Add", [x, x], "y"), TensorElementType.Float32, 4, 2);
        return model.ToBytes();
    }

    /// <summary>Texts through and through.</summary>
    public static byte[] Words()
    {
        var model = new OnnxModel("words");
        var x = model.Input("x", TensorElementType.String, "two", "batch");
        model.Output(model.Node("Identity", [x], "y"), TensorElementType.String, "two", "batch");
        return model.ToBytes();
    }
}
