using System.Globalization;
using Pipeline.Contracts;

namespace Pipeline.Ingest.Body;

/// <summary>Reads a deadline: a moment (RFC 3339, <c>2030-01-01T12:00:00Z</c>) or a time from now (<c>90s</c>, <c>1h30m</c>, <c>7d</c>).</summary>
internal static class Deadlines
{
    public const string Form = "a moment (RFC 3339) or a time from now like 90s, 30m, 2h or 7d";

    private static readonly string[] Moments =
    [
        "yyyy-MM-dd'T'HH:mm:ss.FFFFFFFK",
        "yyyy-MM-dd'T'HH:mm:ssK",
        "yyyy-MM-dd' 'HH:mm:ss.FFFFFFFK",
    ];

    public static bool TryParse(string text, DateTimeOffset now, out DateTimeOffset deadline)
    {
        if (Durations.TryParse(text, out var duration))
        {
            deadline = now <= DateTimeOffset.MaxValue - duration ? now + duration : DateTimeOffset.MaxValue;
            return true;
        }

        // A plus sign in a query means a space to most decoders: what stood before the offset's hours was one.
        if (text.Length > 6 && text[^6] == ' ')
        {
            text = $"{text[..^6]}+{text[^5..]}";
        }

        // Without an offset the moment would depend on who reads it.
        var hasOffset = text.Length > 6 && (text[^1] is 'Z' or 'z' || text[^6] is '+' or '-');
        var parsed = DateTimeOffset.TryParseExact(
            text.ToUpperInvariant(),
            Moments,
            CultureInfo.InvariantCulture,
            DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal,
            out deadline
        );
        return parsed && hasOffset;
    }
}
