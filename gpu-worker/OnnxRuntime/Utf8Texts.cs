using System.Runtime.InteropServices;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>The elements of a string tensor on their way in (one block of terminated texts) and out (one block and its offsets).</summary>
internal sealed unsafe class Utf8Texts
{
    private readonly byte[] _block;
    private readonly List<int> _starts;

    private Utf8Texts(byte[] block, List<int> starts)
    {
        _block = block;
        _starts = starts;
    }

    public int Count => _starts.Count;

    /// <summary>Copies texts one after another, each with the terminator that the C API looks for.</summary>
    public static Utf8Texts Pack(IEnumerable<ReadOnlyMemory<byte>> texts)
    {
        using var block = new MemoryStream();
        var starts = new List<int>();
        foreach (var text in texts)
        {
            if (text.Span.Contains((byte)0))
                throw new ArgumentException($"Text {starts.Count} holds a NUL character, where ONNX Runtime would end it.");
            starts.Add((int)block.Position);
            block.Write(text.Span);
            block.WriteByte(0);
        }
        return new Utf8Texts(block.ToArray(), starts);
    }

    /// <summary>Copies the texts into a string tensor of as many elements.</summary>
    public void Fill(nint tensor)
    {
        if (Count == 0)
            return;
        fixed (byte* block = _block)
        {
            var first = (nint)block;
            fixed (nint* pointers = _starts.Select(start => first + start).ToArray())
                OrtApi.Check(OrtApi.FillStringTensor(tensor, pointers, (nuint)Count));
        }
    }

    /// <summary>Copies the texts out of a string tensor of <paramref name="count"/> elements.</summary>
    public static ReadOnlyMemory<byte>[] Read(nint tensor, int count)
    {
        if (count == 0)
            return [];
        nuint length;
        OrtApi.Check(OrtApi.GetStringTensorLength(tensor, &length));
        var block = new byte[length];
        var starts = new nuint[count];
        fixed (byte* bytes = block)
        fixed (nuint* offsets = starts)
            OrtApi.Check(OrtApi.GetStringTensorContent(tensor, bytes, length, offsets, (nuint)count));
        return [.. starts.Select((start, i) => Slice((int)start, i + 1 < count ? (int)starts[i + 1] : block.Length))];

        ReadOnlyMemory<byte> Slice(int start, int end) => block.AsMemory(start, end - start);
    }
}
