using System.Buffers.Binary;
using System.Text;

namespace Pipeline.StarterModels.Onnx;

/// <summary>
/// One protobuf message in the making: fields in the order they are added, so the bytes are the same every time.
/// Large payloads are referenced, not copied; nesting a message moves no bytes.
/// Source: protobuf.dev, Encoding (a field is the varint <c>number &lt;&lt; 3 | wire type</c> and its value).
/// </summary>
internal sealed class ProtoMessage
{
    private const int WireVarint = 0;
    private const int WireBytes = 2;
    private const int WireFixed32 = 5;
    private const int BytesWorthReferencing = 256;

    private readonly List<ReadOnlyMemory<byte>> _parts = [];
    private readonly List<byte> _tail = [];
    private long _partsLength;

    /// <summary>Bytes this message takes.</summary>
    public long Length => _partsLength + _tail.Count;

    public ProtoMessage Varint(int field, long value)
    {
        Tag(field, WireVarint);
        AppendVarint((ulong)value);
        return this;
    }

    public ProtoMessage Float(int field, float value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(float)];
        BinaryPrimitives.WriteSingleLittleEndian(bytes, value);
        Tag(field, WireFixed32);
        _tail.AddRange(bytes);
        return this;
    }

    public ProtoMessage Text(int field, string value) => Bytes(field, Encoding.UTF8.GetBytes(value));

    public ProtoMessage Bytes(int field, ReadOnlyMemory<byte> value)
    {
        Tag(field, WireBytes);
        AppendVarint((ulong)value.Length);
        Append(value);
        return this;
    }

    public ProtoMessage Message(int field, ProtoMessage value)
    {
        Tag(field, WireBytes);
        AppendVarint((ulong)value.Length);
        foreach (var part in value._parts)
            Append(part);
        _tail.AddRange(value._tail);
        return this;
    }

    /// <summary>Writes the message; the file of a large model is never held in memory as one piece.</summary>
    public void WriteTo(Stream stream)
    {
        foreach (var part in _parts)
            stream.Write(part.Span);
        stream.Write([.. _tail]);
    }

    private void Append(ReadOnlyMemory<byte> value)
    {
        if (value.Length < BytesWorthReferencing)
        {
            _tail.AddRange(value.Span);
            return;
        }
        if (_tail.Count > 0)
            _parts.Add(_tail.ToArray());
        _partsLength += _tail.Count + value.Length;
        _tail.Clear();
        _parts.Add(value);
    }

    private void Tag(int field, int wireType) => AppendVarint((ulong)(field << 3 | wireType));

    private void AppendVarint(ulong value)
    {
        for (; value >= 0x80; value >>= 7)
            _tail.Add((byte)(value | 0x80));
        _tail.Add((byte)value);
    }
}
