using System.Text;
using System.Text.Json;
using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Unit.Contracts;

public sealed class SurrogatePairsTests
{
    [Theory]
    [InlineData("""{"a":"b"}""", false)]
    [InlineData("""{"a":"\u00e9\n\\ud800\"\/"}""", false)]
    [InlineData("""{"a":"\ud83d\ude00"}""", false)]
    [InlineData("""{"a":"\uD83D\uDE00\\"}""", false)]
    [InlineData("""{"a":"\ud83d"}""", true)]
    [InlineData("""{"a":"\ude00\ud83d"}""", true)]
    [InlineData("""{"a":"\ud83d\ud83d\ude00"}""", true)]
    [InlineData("""{"a":"\ud83d\\ude00"}""", true)]
    [InlineData("""{"a":"\ud83dx\ude00"}""", true)]
    [InlineData("""{"\udfff":1}""", true)]
    [InlineData("""["\\\ud800"]""", true)]
    public void Half_of_a_pair_is_found_where_a_reader_would_throw(string json, bool has)
    {
        Assert.Equal(has, SurrogatePairs.HasHalfPair(Encoding.UTF8.GetBytes(json)));
        Assert.Equal(has, SurrogatePairs.HasHalfPair(JsonElement.Parse(json)));
        Assert.Equal(has, Record.Exception(() => ReadAll(json)) is InvalidOperationException);
    }

    private static void ReadAll(string json)
    {
        var reader = new Utf8JsonReader(Encoding.UTF8.GetBytes(json));
        while (reader.Read())
        {
            if (reader.TokenType is JsonTokenType.PropertyName or JsonTokenType.String)
            {
                reader.GetString();
            }
        }
    }
}
