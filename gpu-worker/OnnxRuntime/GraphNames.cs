using System.Runtime.InteropServices;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// The names of a model's inputs or outputs as the C API wants them, encoded once at load and kept in place, so that a run encodes
/// nothing. An unknown name is refused here, with the known ones.
/// </summary>
internal sealed class GraphNames
{
    private readonly Dictionary<string, byte[]> _encoded;
    private readonly string _what;

    /// <param name="what"><c>input</c> or <c>output</c>.</param>
    /// <param name="tensors">The model's own.</param>
    public GraphNames(string what, IEnumerable<TensorInfo> tensors)
    {
        _what = what;
        _encoded = tensors.ToDictionary(tensor => tensor.Name, tensor => Pinned(OrtApi.Utf8(tensor.Name)));
    }

    /// <summary>The encoded name; valid as long as this object is.</summary>
    /// <exception cref="OnnxRuntimeException">The model has no such name.</exception>
    public nint Pointer(string name) =>
        _encoded.TryGetValue(name, out var bytes)
            ? Marshal.UnsafeAddrOfPinnedArrayElement(bytes, 0)
            : throw new OnnxRuntimeException(
                OrtErrorCode.InvalidArgument,
                $"The model has no {_what} '{name}'; it has {string.Join(", ", _encoded.Keys)}."
            );

    private static byte[] Pinned(byte[] bytes)
    {
        var pinned = GC.AllocateUninitializedArray<byte>(bytes.Length, pinned: true);
        bytes.CopyTo(pinned, 0);
        return pinned;
    }
}
