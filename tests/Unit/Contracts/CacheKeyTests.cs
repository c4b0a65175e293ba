using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Unit.Contracts;

public sealed class CacheKeyTests
{
    private static readonly ModelManifest Model = new()
    {
        Name = "words",
        Version = "1",
        File = "model.onnx",
        Sha256 = new string('0', 64),
        Kind = ModelKind.Text,
        Tokenizer = new TokenizerSpec { Type = TokenizerType.Bytes, MaxLength = 16 },
        Inputs = new Dictionary<string, TensorSpec>(),
        Outputs = new Dictionary<string, TensorSpec>(),
    };

    public static TheoryData<string, ModelManifest> Others =>
        new()
        {
            { "version", Model with { Version = "2" } },
            { "name", Model with { Name = "word" } },
            { "file", Model with { Sha256 = new string('1', 64) } },
            { "tokenizer", Model with { Tokenizer = Model.Tokenizer! with { MaxLength = 17 } } },
            { "result", Model with { Result = Model.Result with { TopK = 7 } } },
        };

    [Fact]
    public void Equal_inputs_of_one_model_have_one_key() =>
        Assert.Equal(CacheKey.Of(CacheKey.OfModel(Model), "text"u8), CacheKey.Of(CacheKey.OfModel(Model with { }), "text"u8));

    [Fact]
    public void Other_inputs_have_other_keys() =>
        Assert.NotEqual(CacheKey.Of(CacheKey.OfModel(Model), "text"u8), CacheKey.Of(CacheKey.OfModel(Model), "texts"u8));

    [Theory]
    [MemberData(nameof(Others), DisableDiscoveryEnumeration = true)]
    public void Whatever_decides_the_output_is_in_the_key(string what, ModelManifest other) =>
        Assert.False(
            CacheKey.Of(CacheKey.OfModel(Model), "text"u8).AsSpan().SequenceEqual(CacheKey.Of(CacheKey.OfModel(other), "text"u8)),
            what
        );
}
