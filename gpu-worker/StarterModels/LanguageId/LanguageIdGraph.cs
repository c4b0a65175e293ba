using Pipeline.Contracts;
using Pipeline.StarterModels.Onnx;
using static Pipeline.StarterModels.Onnx.OnnxAttribute;

namespace Pipeline.StarterModels.LanguageId;

/// <summary>
/// The identifier as an ONNX graph: bytes in (zero is padding), one probability per language out. Folding, hashing and table look-up
/// happen inside, on 32-bit integers, so that whoever runs the model needs no tokenizer; the arithmetic is <see cref="ByteRuns"/>'s.
/// The table is stored in eight bits and widened once, when the model is loaded.
/// </summary>
internal static class LanguageIdGraph
{
    public const string Input = "bytes";
    public const string Output = "probabilities";

    public static byte[] Build(LanguageIdModel model)
    {
        var spec = model.Spec;
        var graph = new OnnxModel(spec.Name);
        var text = graph.Input(Input, TensorElementType.UInt8, "batch", "length");
        graph.Constant("position_axis", OnnxTensor.Vector(1L));

        var bytes = Bytes(graph, text, spec.LongestOrder);
        var folded = graph.Node("Gather", [graph.Constant("fold", OnnxTensor.Vector(ByteRuns.Fold)), bytes], "folded");
        var counts = Counts(graph, bytes, spec.LongestOrder);
        var rows = Rows(graph, folded, counts, spec);

        var stored = graph.Constant("table_int8", OnnxTensor.Of<sbyte>(model.Table, spec.Rows, model.Languages.Length));
        var table = graph.Node("Cast", [stored], "table", Of("to", (long)TensorElementType.Float32));
        var touched = graph.Node("Gather", [table, rows], "touched");
        var sums = graph.Node("ReduceSum", [touched, "position_axis"], "sums", Of("keepdims", 0L));
        var logits = graph.Node("Mul", [sums, graph.Constant("scale", OnnxTensor.Scalar(model.Scale))], "logits");
        graph.Node("Softmax", [logits], Output, Of("axis", 1L));
        graph.Output(Output, TensorElementType.Float32, "batch", model.Languages.Length);
        graph.Metadata("languages", string.Join(',', model.Languages));
        return graph.ToBytes();
    }

    /// <summary>The bytes as integers, with one zero before and enough behind for a run that begins at the last byte.</summary>
    private static string Bytes(OnnxModel graph, string text, int longestOrder)
    {
        graph.Constant("margins", OnnxTensor.Vector<long>(0, 1, 0, longestOrder - 1));
        graph.Constant("padding", OnnxTensor.Scalar<byte>(0));
        var padded = graph.Node("Pad", [text, "margins", "padding"], "padded");
        return graph.Node("Cast", [padded], "bytes_int32", Of("to", (long)TensorElementType.Int32));
    }

    /// <summary>One where a run counts, zero where its first two bytes are padding.</summary>
    private static string Counts(OnnxModel graph, string bytes, int longestOrder)
    {
        var first = From(graph, bytes, 0, longestOrder, "first");
        var second = From(graph, bytes, 1, longestOrder, "second");
        return graph.Node("Min", [graph.Node("Add", [first, second], "first_two"), graph.Constant("one", OnnxTensor.Scalar(1))], "counts");
    }

    /// <summary>The table row of every run of every order, side by side along the positions.</summary>
    private static string Rows(OnnxModel graph, string folded, string counts, LanguageIdSpec spec)
    {
        graph.Constant("roll", OnnxTensor.Scalar(ByteRuns.Roll));
        graph.Constant("spread", OnnxTensor.Scalar(ByteRuns.Spread));
        graph.Constant("shift", OnnxTensor.Scalar((uint)(32 - spec.BucketBits)));

        var rows = new List<string>();
        var hash = From(graph, folded, 0, spec.LongestOrder, "hash1");
        for (var length = 1; ; length++)
        {
            if (spec.Orders.Contains(length))
                rows.Add(Row(graph, hash, counts, length, rows.Count << spec.BucketBits));
            if (length == spec.LongestOrder)
                break;
            var rolled = graph.Node("Mul", [hash, "roll"], $"rolled{length}");
            var next = From(graph, folded, length, spec.LongestOrder, $"next{length}");
            hash = graph.Node("Add", [rolled, next], $"hash{length + 1}");
        }
        return rows.Count == 1 ? rows[0] : graph.Node("Concat", rows, "rows", Of("axis", 1L));
    }

    private static string Row(OnnxModel graph, string hash, string counts, int length, int firstRow)
    {
        var spread = graph.Node("Mul", [hash, "spread"], $"spread{length}");
        var unsigned = graph.Node("Cast", [spread], $"unsigned{length}", Of("to", (long)TensorElementType.UInt32));
        var shifted = graph.Node("BitShift", [unsigned, "shift"], $"shifted{length}", Of("direction", "RIGHT"));
        var bucket = graph.Node("Cast", [shifted], $"bucket{length}", Of("to", (long)TensorElementType.Int32));
        if (firstRow > 0)
        {
            graph.Constant($"first_row{length}", OnnxTensor.Scalar(firstRow));
            bucket = graph.Node("Add", [bucket, $"first_row{length}"], $"placed{length}");
        }
        return graph.Node("Mul", [bucket, counts], $"row{length}");
    }

    /// <summary>For each place where a run can begin, the value <paramref name="offset"/> places further on.</summary>
    private static string From(OnnxModel graph, string values, int offset, int longestOrder, string name)
    {
        var behind = longestOrder - 1 - offset;
        graph.Constant($"{name}_start", OnnxTensor.Vector((long)offset));
        graph.Constant($"{name}_end", OnnxTensor.Vector(behind == 0 ? long.MaxValue : -behind));
        return graph.Node("Slice", [values, $"{name}_start", $"{name}_end", "position_axis"], name);
    }
}
