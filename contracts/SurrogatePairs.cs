using System.Buffers.Text;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace Pipeline.Contracts;

/// <summary>
/// What JSON's grammar allows and no string can hold: an escape for one half of a surrogate pair (RFC 8259, section 8.2). Readers find such a text
/// good, and throw <see cref="InvalidOperationException"/> when somebody asks for the string, or compares a name with it.
/// </summary>
public static class SurrogatePairs
{
    /// <summary>What a mistake says was expected.</summary>
    public const string Paired = "text whose surrogates come in pairs";

    /// <summary>And what was given.</summary>
    public const string HalfPair = "half of a pair";

    /// <summary>True when one of its names or strings has half of a pair. Its other escapes are taken for good.</summary>
    public static bool HasHalfPair(ReadOnlySpan<byte> json)
    {
        while (json.IndexOf((byte)'\\') is var at and >= 0)
        {
            json = json[at..];
            if (UnitOf(json) is not { } unit)
            {
                json = json[Math.Min(2, json.Length)..];
            }
            else if (char.IsHighSurrogate(unit) && UnitOf(json[EscapeBytes..]) is { } low && char.IsLowSurrogate(low))
            {
                json = json[(2 * EscapeBytes)..];
            }
            else if (char.IsSurrogate(unit))
            {
                return true;
            }
            else
            {
                json = json[EscapeBytes..];
            }
        }

        return false;
    }

    /// <inheritdoc cref="HasHalfPair(ReadOnlySpan{byte})"/>
    public static bool HasHalfPair(JsonElement json) => HasHalfPair(JsonMarshal.GetRawUtf8Value(json));

    private const int EscapeBytes = 6;

    /// <summary>The UTF-16 unit that <c>\uXXXX</c> at the beginning stands for; null for anything else.</summary>
    private static char? UnitOf(ReadOnlySpan<byte> json) =>
        json.Length >= EscapeBytes
        && json.StartsWith("\\u"u8)
        && Utf8Parser.TryParse(json[2..EscapeBytes], out ushort unit, out var read, 'x')
        && read == EscapeBytes - 2
            ? (char)unit
            : null;
}
