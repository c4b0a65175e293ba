using System.Globalization;

namespace Pipeline.GpuWorker.Models.Results;

/// <summary>
/// Writes scores as JSON numbers of up to six significant digits. The usual ones are written here, at a fifth of what the general
/// formatter takes; three labels a task make it the longest step of a small model's answer.
/// </summary>
internal static class ScoreText
{
    /// <summary>The longest is <c>-1.23457E-05</c>.</summary>
    public const int BytesMax = 16;

    private static readonly double[] Powers = [1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

    /// <returns>Bytes written. JSON has no NaN and no infinity: such a score is null.</returns>
    public static int Write(Span<byte> to, float score)
    {
        if (!float.IsFinite(score))
        {
            "null"u8.CopyTo(to);
            return 4;
        }
        double size = Math.Abs(score);
        if (size is not (0 or (>= 1e-4 and < 1e6)))
        {
            score.TryFormat(to, out var written, "G6", CultureInfo.InvariantCulture);
            return written;
        }

        // As many decimals as make six digits: 6 below 1, one fewer for every digit before the point, one more for every zero after it.
        var decimals = 6;
        for (var bound = 1.0; size >= bound; bound *= 10)
            decimals--;
        for (var bound = 0.1; size < bound && decimals < 9; bound *= 0.1)
            decimals++;
        var digits = (uint)Math.Round(size * Powers[decimals]);
        for (; decimals > 0 && digits % 10 == 0; decimals--)
            digits /= 10;
        return Write(to, negative: score < 0 && digits > 0, digits, decimals);
    }

    private static int Write(Span<byte> to, bool negative, uint digits, int decimals)
    {
        var at = 0;
        if (negative)
            to[at++] = (byte)'-';
        var count = 1;
        for (var rest = digits; rest >= 10; rest /= 10)
            count++;
        // A zero before the point, and after it where the number is small.
        count = Math.Max(count, decimals + 1);
        var end = at + count + (decimals > 0 ? 1 : 0);
        for (var place = end - 1; place >= at; place--)
        {
            if (decimals-- == 0 && place < end - 1)
            {
                to[place] = (byte)'.';
                continue;
            }
            to[place] = (byte)('0' + (digits % 10));
            digits /= 10;
        }
        return end;
    }
}
