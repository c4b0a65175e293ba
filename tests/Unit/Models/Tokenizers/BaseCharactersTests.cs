using System.Text;
using Pipeline.GpuWorker.Models.Tokenizers;
using Xunit;

namespace Pipeline.Tests.Unit.Models.Tokenizers;

public sealed class BaseCharactersTests
{
    // What Python's unicodedata gives: NFD without the characters of category Mn.
    [Theory]
    [InlineData("café", "cafe")]
    [InlineData("Ångström", "Angstrom")]
    [InlineData("e\u0301", "e")]
    [InlineData("ǖ ṩ ở", "u s o")]
    [InlineData("ή й Ё", "η и Е")]
    [InlineData("한글", "\u1112\u1161\u11AB\u1100\u1173\u11AF")]
    [InlineData("가", "\u1100\u1161")]
    [InlineData("\uF900 \U0002F800", "\u8C48 \u4E3D")]
    [InlineData("ø ß ﬁ ł", "ø ß ﬁ ł")]
    [InlineData("\u037E", ";")]
    [InlineData("\u0E33", "\u0E33")]
    [InlineData("נִ", "נ")]
    [InlineData("日本", "日本")]
    [InlineData("plain", "plain")]
    public void Leaves_the_base_of_a_character(string text, string expected)
    {
        var left = new StringBuilder();
        Span<Rune> parts = stackalloc Rune[BaseCharacters.LengthMax];
        foreach (var character in text.EnumerateRunes())
        foreach (var part in parts[..BaseCharacters.Write(character, parts)])
            left.Append(part.ToString());

        Assert.Equal(expected, left.ToString());
    }
}
