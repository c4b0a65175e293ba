using System.Text;
using Pipeline.Contracts;
using Pipeline.GpuWorker.OnnxRuntime;
using Xunit;

namespace Pipeline.Tests.Integration.OnnxRuntime;

public sealed class ElementTypeTests
{
    private static readonly TensorElementType[] Complex = [TensorElementType.Complex64, TensorElementType.Complex128];

    public static TheoryData<string, TensorElementType> PlainTypes()
    {
        var data = new TheoryData<string, TensorElementType>();
        var plain = Enum.GetValues<TensorElementType>()
            .Except([TensorElementType.Undefined, TensorElementType.String, .. Complex])
            .ToList();
        foreach (var provider in new EachProvider())
            plain.ForEach(type => data.Add(provider.Data, type));
        return data;
    }

    [Theory]
    [MemberData(nameof(PlainTypes))]
    public void Passes_every_plain_element_type_through_bit_for_bit(string provider, TensorElementType type)
    {
        using var session = Engine.Load(provider, Graphs.Identity(type));
        const int length = 5;
        var bits = Enumerable.Range(1, length * type.Size()).Select(i => (byte)(type == TensorElementType.Bool ? i % 2 : i)).ToArray();
        using var x = Tensors.Of<byte>(type, [length], bits);

        using var y = Assert.Single(session.RunAll(x));

        Assert.Equal(type, y.ElementType);
        Assert.Equal([length], y.Shape);
        Assert.Equal(bits, y.Bytes);
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Passes_strings_through_whatever_their_length_and_script(string provider)
    {
        using var session = Engine.Load(provider, Graphs.Identity(TensorElementType.String));
        string[] texts = ["", "plain", "Grüße, 世界", "🦀", "", new string('x', 100_000)];
        using var x = OrtValue.Strings([texts.Length], texts.Select(text => (ReadOnlyMemory<byte>)Encoding.UTF8.GetBytes(text)));

        using var y = Assert.Single(session.RunAll(x));

        Assert.Equal(TensorElementType.String, y.ElementType);
        Assert.Equal(texts, y.StringElements());
        Assert.Equal("世界"u8.ToArray(), y.Utf8Strings()[2].Span["Grüße, "u8.Length..].ToArray());
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Passes_tensors_of_no_strings_through(string provider)
    {
        using var session = Engine.Load(provider, Graphs.Identity(TensorElementType.String));
        using var x = OrtValue.Strings([0], []);

        using var y = Assert.Single(session.RunAll(x));

        Assert.Equal([0], y.Shape);
        Assert.Empty(y.StringElements());
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Refuses_complex_numbers_by_name_since_the_library_has_no_such_tensors(string provider)
    {
        var options = Engine.Options(provider);

        Assert.All(
            Complex,
            type =>
            {
                var refusal = Assert.Throws<OnnxRuntimeException>(() => InferenceSession.Load(Graphs.Identity(type), options));
                Assert.Contains(type.Name(), refusal.Message, StringComparison.Ordinal);
            }
        );
    }

    [Fact]
    public void Refuses_a_text_with_a_NUL_where_the_library_would_cut_it()
    {
        var refusal = Assert.Throws<ArgumentException>(() => OrtValue.Strings([2], ["whole"u8.ToArray(), "c\0ut"u8.ToArray()]));

        Assert.Contains("Text 1", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Refuses_more_or_fewer_texts_than_the_shape_has() =>
        Assert.Throws<ArgumentException>(() => OrtValue.Strings([2, 2], ["one"u8.ToArray()]));

    [Fact]
    public void Refuses_to_show_elements_as_something_of_another_size()
    {
        using var value = Tensors.Floats([2], 1, 2);

        Assert.Throws<InvalidOperationException>(() => value.Elements<long>().Length);
        Assert.Throws<InvalidOperationException>(() => value.Utf8Strings());
    }

    [Fact]
    public void Refuses_a_shape_that_needs_more_memory_than_there_is()
    {
        var refusal = Assert.Throws<OnnxRuntimeException>(() => Tensors.Of<byte>(TensorElementType.Float32, [1_000_000], 1, 2, 3, 4));

        Assert.Equal(OrtErrorCode.InvalidArgument, refusal.Code);
    }
}
