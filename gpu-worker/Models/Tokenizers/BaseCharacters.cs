using System.Collections.Frozen;
using System.Globalization;
using System.Text;

namespace Pipeline.GpuWorker.Models.Tokenizers;

/// <summary>
/// Characters without their accents: the canonical decomposition (NFD) less its nonspacing marks. The table is our own, because
/// <see cref="string.Normalize()"/> needs the ICU library, which is not everywhere, and in invariant mode gives text back unchanged
/// without saying so (seen with .NET 10 on Linux).
/// </summary>
internal static class BaseCharacters
{
    /// <summary>The most characters that are left of one.</summary>
    public const int LengthMax = 3;

    private const int HangulFirst = 0xAC00;
    private const int HangulLast = 0xD7A3;

    private static readonly FrozenDictionary<int, Rune[]> Table = Read();

    /// <summary>Writes what is left of a character, and returns how many characters that is: 0 for a mark itself.</summary>
    public static int Write(Rune character, Span<Rune> to)
    {
        if (character.IsAscii)
        {
            to[0] = character;
            return 1;
        }
        if (Table.TryGetValue(character.Value, out var left))
        {
            left.CopyTo(to);
            return left.Length;
        }
        if (character.Value is >= HangulFirst and <= HangulLast)
            return WriteHangul(character.Value - HangulFirst, to);
        if (Rune.GetUnicodeCategory(character) == UnicodeCategory.NonSpacingMark)
            return 0;
        to[0] = character;
        return 1;
    }

    /// <summary>A syllable is its lead, vowel and tail by arithmetic (the Unicode Standard, section 3.12): 21 vowels, 28 tails with none.</summary>
    private static int WriteHangul(int syllable, Span<Rune> to)
    {
        to[0] = new Rune(0x1100 + (syllable / (21 * 28)));
        to[1] = new Rune(0x1161 + (syllable / 28 % 21));
        if (syllable % 28 == 0)
            return 2;
        to[2] = new Rune(0x11A7 + (syllable % 28));
        return 3;
    }

    private static FrozenDictionary<int, Rune[]> Read()
    {
        using var resource = typeof(BaseCharacters).Assembly.GetManifestResourceStream("BaseCharacters.txt")!;
        using var reader = new StreamReader(resource);
        var table = new Dictionary<int, Rune[]>(2100);
        while (reader.ReadLine() is { } line)
        {
            if (line.StartsWith('#'))
                continue;
            var points = Array.ConvertAll(line.Split(' '), hex => int.Parse(hex, NumberStyles.HexNumber, CultureInfo.InvariantCulture));
            table[points[0]] = Array.ConvertAll(points[1..], point => new Rune(point));
        }
        return table.ToFrozenDictionary();
    }
}
