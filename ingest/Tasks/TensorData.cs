using System.Buffers;
using System.Buffers.Binary;
using System.Buffers.Text;
using System.Text.Json;
using System.Text.Unicode;
using Pipeline.Contracts;

namespace Pipeline.Ingest.Tasks;

/// <summary>What is wrong with an element. <paramref name="Where"/> is its place in the data, <c>[2][17]</c>, or empty.</summary>
internal readonly record struct ElementMistake(string Where, string Expected, string Given);

/// <summary>The elements of one tensor, from JSON numbers, nested or flat, from base64, or from raw bytes; checked one by one.</summary>
internal sealed class TensorData(int bytesMax)
{
    private const int RankMax = 32;
    private readonly ArrayBufferWriter<byte> _bytes = new(1024);
    private readonly JsonText _text = new();
    private readonly long[] _shape = new long[RankMax];
    private readonly long[] _path = new long[RankMax];
    private TensorElementType _type;
    private int _rank;
    private int _depth;
    private ElementMistake _mistake;

    /// <summary>Elements read.</summary>
    public long Count { get; private set; }

    public ReadOnlySpan<byte> Bytes => _bytes.WrittenSpan;

    /// <summary>How the elements were nested.</summary>
    public ReadOnlySpan<long> Shape => _shape.AsSpan(0, _rank);

    public void Start(TensorElementType type)
    {
        _type = type;
        _bytes.ResetWrittenCount();
        Count = 0;
        _rank = -1;
        _depth = 0;
    }

    /// <summary>Reads the value the reader stands on: an element, or arrays of arrays of elements, all of one length on each level.</summary>
    public bool TryRead(scoped ref Utf8JsonReader json, out ElementMistake mistake)
    {
        var good = _type is TensorElementType.Complex64 or TensorElementType.Complex128 ? RefuseComplex() : TryReadLevel(ref json, 0);
        mistake = _mistake;
        return good;
    }

    /// <summary>Reads little-endian elements.</summary>
    public bool TryReadBase64(ReadOnlySpan<byte> base64, out ElementMistake mistake)
    {
        var good = TryDecode(base64) && TryCheckDecoded();
        mistake = _mistake;
        return good;
    }

    /// <summary>Reads elements as they lie in memory: little-endian, and each string behind its length in four bytes.</summary>
    public bool TryReadBinary(ReadOnlySpan<byte> bytes, out ElementMistake mistake)
    {
        var good = _type == TensorElementType.String ? TryReadStrings(bytes) : TryCopy(bytes) && TryCheckDecoded();
        mistake = _mistake;
        return good;
    }

    private bool Mistake(string expected, string given)
    {
        var where = string.Concat(_path.Take(_depth).Select(i => $"[{i}]"));
        _mistake = new ElementMistake(where, expected, given);
        return false;
    }

    private bool RefuseComplex() => Mistake($"{_type.Name()} elements in data_base64", "JSON");

    private bool TryReadLevel(scoped ref Utf8JsonReader json, int level)
    {
        if (json.TokenType != JsonTokenType.StartArray)
        {
            _rank = _rank < 0 ? level : _rank;
            return level == _rank ? TryAdd(ref json) : Mistake("arrays nested equally deep", Given(in json));
        }

        if (level == RankMax || (_rank >= 0 && level >= _rank))
        {
            return Mistake(_rank >= 0 ? Expected() : $"at most {RankMax} dimensions", "an array");
        }

        _depth = level + 1;
        var count = 0L;
        while (json.Read() && json.TokenType != JsonTokenType.EndArray)
        {
            _path[level] = count++;
            if (!TryReadLevel(ref json, level + 1))
            {
                return false;
            }

            _depth = level + 1;
        }

        _depth = level;
        return TryCloseLevel(level, count);
    }

    /// <summary>The first array of a level sets its length; the deepest one that ever was sets the rank.</summary>
    private bool TryCloseLevel(int level, long count)
    {
        _rank = _rank < 0 ? level + 1 : _rank;
        var first = true;
        for (var i = 0; i < level; i++)
        {
            first &= _path[i] == 0;
        }

        if (first)
        {
            _shape[level] = count;
            return true;
        }

        return count == _shape[level] || Mistake($"{_shape[level]} elements, as the arrays beside it have", $"{count} elements");
    }

    private bool TryAdd(scoped ref Utf8JsonReader json)
    {
        if (_bytes.WrittenCount >= bytesMax)
        {
            return Mistake($"at most {bytesMax} bytes", "more");
        }

        Count++;
        return TryWrite(ref json) || Mistake(Expected(), Given(in json));
    }

    private bool TryWrite(scoped ref Utf8JsonReader json) =>
        _type switch
        {
            TensorElementType.String => TryWriteString(ref json),
            TensorElementType.Bool => TryWriteBool(ref json),
            _ => json.TokenType == JsonTokenType.Number && TryWriteNumber(ref json),
        };

    private bool TryWriteNumber(scoped ref Utf8JsonReader json)
    {
        var to = _bytes.GetSpan(8);
        switch (_type)
        {
            case TensorElementType.Float32 when json.TryGetSingle(out var real) && float.IsFinite(real):
                BinaryPrimitives.WriteSingleLittleEndian(to, real);
                break;
            case TensorElementType.Float64 when json.TryGetDouble(out var real) && double.IsFinite(real):
                BinaryPrimitives.WriteDoubleLittleEndian(to, real);
                break;
            case TensorElementType.Float16 when json.TryGetDouble(out var real) && Half.IsFinite((Half)real):
                BinaryPrimitives.WriteHalfLittleEndian(to, (Half)real);
                break;
            case TensorElementType.BFloat16 when json.TryGetDouble(out var real) && TryRoundToBFloat16(real, out var bits):
                BinaryPrimitives.WriteUInt16LittleEndian(to, bits);
                break;
            case TensorElementType.Int64 when json.TryGetInt64(out var whole):
                BinaryPrimitives.WriteInt64LittleEndian(to, whole);
                break;
            case TensorElementType.Int32 when json.TryGetInt32(out var whole):
                BinaryPrimitives.WriteInt32LittleEndian(to, whole);
                break;
            case TensorElementType.Int16 when json.TryGetInt16(out var whole):
                BinaryPrimitives.WriteInt16LittleEndian(to, whole);
                break;
            case TensorElementType.Int8 when json.TryGetSByte(out var whole):
                to[0] = (byte)whole;
                break;
            case TensorElementType.UInt64 when json.TryGetUInt64(out var whole):
                BinaryPrimitives.WriteUInt64LittleEndian(to, whole);
                break;
            case TensorElementType.UInt32 when json.TryGetUInt32(out var whole):
                BinaryPrimitives.WriteUInt32LittleEndian(to, whole);
                break;
            case TensorElementType.UInt16 when json.TryGetUInt16(out var whole):
                BinaryPrimitives.WriteUInt16LittleEndian(to, whole);
                break;
            case TensorElementType.UInt8 when json.TryGetByte(out var whole):
                to[0] = whole;
                break;
            default:
                return false;
        }

        _bytes.Advance(_type.Size());
        return true;
    }

    private bool TryWriteBool(scoped ref Utf8JsonReader json)
    {
        if (json.TokenType is not (JsonTokenType.True or JsonTokenType.False))
        {
            return false;
        }

        _bytes.GetSpan(1)[0] = json.TokenType == JsonTokenType.True ? (byte)1 : (byte)0;
        _bytes.Advance(1);
        return true;
    }

    private bool TryWriteString(scoped ref Utf8JsonReader json)
    {
        if (json.TokenType != JsonTokenType.String || !_text.TryRead(ref json, out var utf8))
        {
            return false;
        }

        PackedTensors.WriteString(_bytes, utf8);
        return true;
    }

    /// <summary>The upper half of a float32, rounded to the nearest, ties to even.</summary>
    private static bool TryRoundToBFloat16(double real, out ushort bits)
    {
        var single = BitConverter.SingleToUInt32Bits((float)real);
        bits = (ushort)((single + 0x7FFF + ((single >> 16) & 1)) >> 16);
        return float.IsFinite((float)real) && (bits & 0x7F80) != 0x7F80;
    }

    private bool TryDecode(ReadOnlySpan<byte> base64)
    {
        var room = Base64.GetMaxDecodedFromUtf8Length(base64.Length);
        if (room > bytesMax + 2)
        {
            return Mistake($"at most {bytesMax} bytes", $"about {room} bytes");
        }

        if (Base64.DecodeFromUtf8(base64, _bytes.GetSpan(Math.Max(1, room)), out _, out var written) != OperationStatus.Done)
        {
            return Mistake("base64", $"\"{Excerpt.Of(base64)}\"");
        }

        _bytes.Advance(written);
        return TryCount(written);
    }

    private bool TryCopy(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > bytesMax)
        {
            return Mistake($"at most {bytesMax} bytes", $"{bytes.Length} bytes");
        }

        _bytes.Write(bytes);
        return TryCount(bytes.Length);
    }

    private bool TryCount(int bytes)
    {
        var size = _type.Size();
        Count = bytes / size;
        return bytes % size == 0 || Mistake($"whole {_type.Name()} elements of {size} bytes", $"{bytes} bytes");
    }

    private bool TryReadStrings(ReadOnlySpan<byte> bytes)
    {
        _depth = 1;
        for (; !bytes.IsEmpty; Count++)
        {
            _path[0] = Count;
            if (bytes.Length < sizeof(uint))
            {
                return Mistake("four bytes of length", $"{bytes.Length} bytes at the end");
            }

            var length = BinaryPrimitives.ReadUInt32LittleEndian(bytes);
            bytes = bytes[sizeof(uint)..];
            if (length > bytes.Length)
            {
                return Mistake($"{length} bytes, as its length says", $"{bytes.Length} bytes at the end");
            }

            var text = bytes[..(int)length];
            if (!Utf8.IsValid(text))
            {
                return Mistake("UTF-8", $"the bytes {Convert.ToHexString(text[..Math.Min(text.Length, 16)])}");
            }

            PackedTensors.WriteString(_bytes, text);
            bytes = bytes[text.Length..];
        }

        return true;
    }

    private bool TryCheckDecoded()
    {
        var bytes = _bytes.WrittenSpan;
        var size = _type is TensorElementType.Complex64 or TensorElementType.Complex128 ? _type.Size() / 2 : _type.Size();
        for (var at = 0; at < bytes.Length; at += size)
        {
            if (!IsGood(bytes.Slice(at, size)))
            {
                (_depth, _path[0]) = (1, at / _type.Size());
                return Mistake(Expected(), $"the bytes {Convert.ToHexString(bytes.Slice(at, size))}");
            }
        }

        return true;
    }

    private bool IsGood(ReadOnlySpan<byte> element) =>
        _type switch
        {
            TensorElementType.Bool => element[0] <= 1,
            TensorElementType.Float16 => Half.IsFinite(BinaryPrimitives.ReadHalfLittleEndian(element)),
            TensorElementType.BFloat16 => (BinaryPrimitives.ReadUInt16LittleEndian(element) & 0x7F80) != 0x7F80,
            TensorElementType.Float32 or TensorElementType.Complex64 => float.IsFinite(BinaryPrimitives.ReadSingleLittleEndian(element)),
            TensorElementType.Float64 or TensorElementType.Complex128 => double.IsFinite(BinaryPrimitives.ReadDoubleLittleEndian(element)),
            _ => true,
        };

    private string Expected() =>
        _type switch
        {
            TensorElementType.String => "a string whose surrogates come in pairs",
            TensorElementType.Bool => "true or false",
            TensorElementType.Float16
            or TensorElementType.BFloat16
            or TensorElementType.Float32
            or TensorElementType.Float64
            or TensorElementType.Complex64
            or TensorElementType.Complex128 => $"a finite {_type.Name()} number",
            _ => $"a whole number of type {_type.Name()}",
        };

    private static string Given(ref readonly Utf8JsonReader json) => TaskInput.Given(in json);
}
