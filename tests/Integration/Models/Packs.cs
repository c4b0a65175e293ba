using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;

namespace Pipeline.Tests.Integration.Models;

/// <summary>Tensor inputs and outputs in the form they are stored in.</summary>
internal static class Packs
{
    public static byte[] Of(params (string Name, TensorElementType Type, long[] Shape, byte[] Data)[] tensors)
    {
        var pack = new ArrayBufferWriter<byte>();
        PackedTensors.WriteCount(pack, tensors.Length);
        foreach (var (name, type, shape, data) in tensors)
            PackedTensors.WriteTensor(pack, name, type, shape, data);
        return pack.WrittenSpan.ToArray();
    }

    public static (string, TensorElementType, long[], byte[]) Floats(string name, long[] shape, params float[] values) =>
        (name, TensorElementType.Float32, shape, MemoryMarshal.AsBytes(values.AsSpan()).ToArray());

    public static (string, TensorElementType, long[], byte[]) Longs(string name, long[] shape, params long[] values) =>
        (name, TensorElementType.Int64, shape, MemoryMarshal.AsBytes(values.AsSpan()).ToArray());

    public static (string, TensorElementType, long[], byte[]) Strings(string name, long[] shape, params string[] values)
    {
        var data = new ArrayBufferWriter<byte>();
        foreach (var value in values)
            PackedTensors.WriteString(data, Encoding.UTF8.GetBytes(value));
        return (name, TensorElementType.String, shape, data.WrittenSpan.ToArray());
    }

    /// <summary>One tensor of an output.</summary>
    public static PackedTensor Tensor(this TaskOutput output, string name) => PackedTensors.Read(output.Bytes).Single(t => t.Name == name);

    public static float[] FloatsOf(this PackedTensor tensor) => MemoryMarshal.Cast<byte, float>(tensor.Data.Span).ToArray();

    public static string Text(this TaskOutput output) => Encoding.UTF8.GetString(output.Bytes);

    /// <summary>Runs inputs as one batch.</summary>
    public static TaskOutput[] RunTogether(this IModel model, params byte[][] inputs)
    {
        using var ran = model.Run(model.Pack([.. inputs.Select(input => model.Prepare(input))]), CancellationToken.None);
        return [.. Enumerable.Range(0, inputs.Length).Select(ran.Result)];
    }
}
