using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Unit.Contracts;

public sealed class PackedTensorsTests
{
    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 20)];

    public static TheoryData<TensorElementType> NumberTypes =>
        [.. Enum.GetValues<TensorElementType>().Where(t => t is not (TensorElementType.Undefined or TensorElementType.String))];

    [Theory]
    [MemberData(nameof(NumberTypes))]
    public void A_tensor_of_every_type_is_read_back(TensorElementType type)
    {
        var data = new byte[6 * type.Size()];
        new Random((int)type).NextBytes(data);
        var pack = Pack(("x", type, [2, 3], data));

        var tensor = Assert.Single(PackedTensors.Read(pack));
        Assert.Equal(("x", type, 6L), (tensor.Name, tensor.Type, tensor.Elements));
        Assert.Equal([2, 3], tensor.Shape);
        Assert.Equal(data, tensor.Data.ToArray());
    }

    [Fact]
    public void Several_tensors_scalars_and_empty_ones_stand_side_by_side()
    {
        var pack = Pack(
            ("scalar", TensorElementType.Int64, [], BitConverter.GetBytes(7L)),
            ("none", TensorElementType.Float32, [0, 5], []),
            ("naïve", TensorElementType.Bool, [2], [1, 0])
        );

        Assert.Equal(["scalar", "none", "naïve"], PackedTensors.Read(pack).Select(t => t.Name));
        Assert.Equal([1L, 0L, 2L], PackedTensors.Read(pack).Select(t => t.Elements));
    }

    [Fact]
    public void Strings_are_read_back_and_what_follows_them_too()
    {
        var strings = new ArrayBufferWriter<byte>();
        string[] words = ["", "one", "größer", new string('x', 300)];
        Array.ForEach(words, word => PackedTensors.WriteString(strings, Encoding.UTF8.GetBytes(word)));
        var pack = Pack(
            ("words", TensorElementType.String, [4], strings.WrittenSpan.ToArray()),
            ("after", TensorElementType.UInt8, [1], [9])
        );

        Assert.Equal([9], PackedTensors.Read(pack)[1].Data.ToArray());
        using var json = JsonDocument.Parse(Render(pack));
        Assert.Equal(words, json.RootElement.GetProperty("words").GetProperty("data").EnumerateArray().Select(e => e.GetString()));
    }

    [Fact]
    public void JSON_shows_type_shape_and_data()
    {
        var pack = Pack(
            ("a", TensorElementType.Float32, [1, 2], Bytes([1.5f, -2f])),
            ("b", TensorElementType.Int64, [2], Bytes([1L, long.MinValue])),
            ("c", TensorElementType.Bool, [2], [1, 0]),
            ("d", TensorElementType.UInt64, [1], Bytes([ulong.MaxValue])),
            ("e", TensorElementType.Complex64, [1], Bytes([1f, 2f])),
            ("f", TensorElementType.Int8, [1], [0xFF])
        );

        Assert.Equal(
            """
            {"a":{"type":"float32","shape":[1,2],"data":[1.5,-2]},
            "b":{"type":"int64","shape":[2],"data":[1,-9223372036854775808]},
            "c":{"type":"bool","shape":[2],"data":[true,false]},
            "d":{"type":"uint64","shape":[1],"data":[18446744073709551615]},
            "e":{"type":"complex64","shape":[1],"data":[[1,2]]},
            "f":{"type":"int8","shape":[1],"data":[-1]}}
            """.ReplaceLineEndings(""),
            Render(pack)
        );
    }

    [Fact]
    public void Half_and_bfloat16_are_shown_as_the_numbers_they_stand_for()
    {
        var half = new byte[2];
        BinaryPrimitives.WriteHalfLittleEndian(half, (Half)0.5);
        var pack = Pack(("h", TensorElementType.Float16, [1], half), ("b", TensorElementType.BFloat16, [1], [0x40, 0x3F]));

        Assert.Equal(
            """{"h":{"type":"float16","shape":[1],"data":[0.5]},"b":{"type":"bfloat16","shape":[1],"data":[0.75]}}""",
            Render(pack)
        );
    }

    [Fact]
    public void NaN_and_infinities_become_words_since_JSON_has_no_numbers_for_them()
    {
        var pack = Pack(
            ("x", TensorElementType.Float32, [3], Bytes([float.NaN, float.PositiveInfinity, float.NegativeInfinity])),
            ("y", TensorElementType.Float64, [1], Bytes([double.NaN]))
        );

        Assert.Equal(
            """{"x":{"type":"float32","shape":[3],"data":["NaN","Infinity","-Infinity"]},"y":{"type":"float64","shape":[1],"data":["NaN"]}}""",
            Render(pack)
        );
    }

    [Fact]
    public void Every_float_comes_back_from_JSON_as_it_was()
    {
        var random = new Random(7);
        var values = Enumerable.Range(0, 1000).Select(_ => BitConverter.Int32BitsToSingle(random.Next())).Where(float.IsFinite).ToArray();
        using var json = JsonDocument.Parse(Render(Pack(("x", TensorElementType.Float32, [values.Length], Bytes(values)))));

        Assert.Equal(values, json.RootElement.GetProperty("x").GetProperty("data").EnumerateArray().Select(e => e.GetSingle()));
    }

    [Fact]
    public void A_pack_cut_anywhere_is_refused()
    {
        var pack = Pack(("x", TensorElementType.Float32, [2], Bytes([1f, 2f])), ("y", TensorElementType.Int32, [1], Bytes([3])));

        for (var length = 0; length < pack.Length; length++)
        {
            Assert.Throws<InvalidDataException>(() => PackedTensors.Read(pack.AsMemory(0, length)));
        }
    }

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Corrupt_bytes_are_refused_or_read_as_tensors_but_never_break_the_reader(int seed)
    {
        var random = new Random(seed);
        var strings = new ArrayBufferWriter<byte>();
        PackedTensors.WriteString(strings, "one"u8);
        PackedTensors.WriteString(strings, "two"u8);
        var pack = Pack(
            ("x", TensorElementType.Float32, [2], Bytes([1f, 2f])),
            ("s", TensorElementType.String, [2], strings.WrittenSpan.ToArray())
        );
        for (var i = 0; i < 500; i++)
        {
            var broken = pack.ToArray();
            for (var flips = random.Next(1, 4); flips > 0; flips--)
            {
                broken[random.Next(broken.Length)] ^= (byte)(1 << random.Next(8));
            }

            try
            {
                Render(broken);
            }
            catch (InvalidDataException) { }
        }
    }

    [Fact]
    public void A_shape_whose_elements_overflow_is_refused()
    {
        byte[] pack = [1, 1, (byte)'x', (byte)TensorElementType.Float32, 3, .. Big, .. Big, .. Big];

        Assert.Throws<InvalidDataException>(() => PackedTensors.Read(pack));
    }

    [Theory]
    [InlineData(0UL, 1)]
    [InlineData(127UL, 1)]
    [InlineData(128UL, 2)]
    [InlineData(ulong.MaxValue, Varint.BytesMax)]
    public void A_varint_takes_seven_bits_a_byte(ulong value, int bytes)
    {
        var span = new byte[Varint.BytesMax];
        var written = Varint.Write(span, value);
        var at = 0;

        Assert.Equal(bytes, written);
        Assert.True(Varint.TryRead(span.AsSpan(0, written), ref at, out var back));
        Assert.Equal((value, written), (back, at));
        at = 0;
        Assert.False(Varint.TryRead(span.AsSpan(0, written - 1), ref at, out _));
    }

    [Fact]
    public void Element_types_have_NumPys_names_and_are_read_back_by_them()
    {
        var types = Enum.GetValues<TensorElementType>().Where(t => t != TensorElementType.Undefined);

        Assert.All(
            types,
            type =>
            {
                Assert.True(TensorElementTypes.TryParse(type.Name(), out var back));
                Assert.Equal(type, back);
            }
        );
        Assert.All(
            ["", "undefined", "1", "float31", "float32,uint8", " float32"],
            name => Assert.False(TensorElementTypes.TryParse(name, out _), $"\"{name}\" was read as an element type.")
        );
    }

    private static byte[] Big => [0xFF, 0xFF, 0xFF, 0xFF, 0x07];

    private static byte[] Pack(params (string Name, TensorElementType Type, long[] Shape, byte[] Data)[] tensors)
    {
        var to = new ArrayBufferWriter<byte>();
        PackedTensors.WriteCount(to, tensors.Length);
        foreach (var (name, type, shape, data) in tensors)
        {
            PackedTensors.WriteTensor(to, name, type, shape, data);
        }

        return to.WrittenSpan.ToArray();
    }

    private static string Render(byte[] pack)
    {
        var to = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(to);
        PackedTensors.WriteJson(json, pack);
        json.Flush();
        return Encoding.UTF8.GetString(to.WrittenSpan);
    }

    private static byte[] Bytes<T>(T[] values)
        where T : unmanaged => MemoryMarshal.AsBytes<T>(values).ToArray();
}
