using System.Globalization;

namespace Pipeline.Contracts;

/// <summary>Lengths of time as people write them.</summary>
public static class Durations
{
    /// <summary>Reads a time like <c>90s</c> or <c>1h30m</c>; never negative.</summary>
    public static bool TryParse(string text, out TimeSpan duration)
    {
        duration = default;
        double seconds = 0;
        var at = 0;
        while (at < text.Length)
        {
            var digits = at;
            while (at < text.Length && (char.IsAsciiDigit(text[at]) || text[at] == '.'))
            {
                at++;
            }

            if (
                !double.TryParse(
                    text.AsSpan(digits, at - digits),
                    NumberStyles.AllowDecimalPoint,
                    CultureInfo.InvariantCulture,
                    out var count
                )
            )
            {
                return false;
            }

            var unit = text.AsSpan(at) switch
            {
                ['m', 's', ..] => 0.001,
                ['s', ..] => 1,
                ['m', ..] => 60,
                ['h', ..] => 3600,
                ['d', ..] => 86_400,
                _ => double.NaN,
            };
            at += unit is 0.001 ? 2 : 1;
            seconds += count * unit;
        }

        if (text.Length == 0 || !(seconds < TimeSpan.MaxValue.TotalSeconds / 2))
        {
            return false;
        }

        duration = TimeSpan.FromSeconds(seconds);
        return true;
    }
}
