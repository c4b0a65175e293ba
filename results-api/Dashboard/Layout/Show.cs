using System.Globalization;
using Pipeline.Contracts;

namespace Pipeline.ResultsApi.Dashboard.Layout;

/// <summary>Numbers, times and amounts as people read them.</summary>
internal static class Show
{
    private static readonly CultureInfo Invariant = CultureInfo.InvariantCulture;

    public static string Count(long value) => value.ToString("N0", Invariant);

    /// <summary>A rate: with fewer digits the larger it is.</summary>
    public static string Rate(double perSecond) =>
        perSecond switch
        {
            0 => "0/s",
            < 0.095 => $"{(perSecond * 60).ToString("0.0", Invariant)}/min",
            < 10 => $"{perSecond.ToString("0.0", Invariant)}/s",
            _ => $"{perSecond.ToString("N0", Invariant)}/s",
        };

    public static string Percent(double part) => part is > 0 and < 0.0005 ? "<0.1 %" : $"{(part * 100).ToString("0.#", Invariant)} %";

    /// <summary>Pico-USD as dollars, with the digits that say something.</summary>
    public static string Usd(decimal pico)
    {
        var dollars = pico / Cost.PicoPerUsd;
        var size = Math.Abs(dollars);
        return size switch
        {
            0 => "$0",
            >= 100 => $"${dollars.ToString("N0", Invariant)}",
            >= 0.01m => $"${dollars.ToString("N2", Invariant)}",
            // Three digits that are not nought, however small.
            _ => $"${dollars.ToString($"F{Math.Min(12, 2 - (int)Math.Floor(Math.Log10((double)size)))}", Invariant)}",
        };
    }

    public static string Time(TimeSpan time) =>
        time switch
        {
            { Ticks: 0 } => "0 ms",
            { TotalMilliseconds: < 10 } => $"{time.TotalMilliseconds.ToString("0.#", Invariant)} ms",
            { TotalSeconds: < 1 } => $"{time.TotalMilliseconds.ToString("0", Invariant)} ms",
            { TotalSeconds: < 10 } => $"{time.TotalSeconds.ToString("0.0", Invariant)} s",
            { TotalMinutes: < 1 } => $"{time.TotalSeconds.ToString("0", Invariant)} s",
            { TotalHours: < 1 } => $"{(int)time.TotalMinutes} min {time.Seconds} s",
            { TotalDays: < 1 } => $"{(int)time.TotalHours} h {time.Minutes} min",
            _ => $"{(int)time.TotalDays} d {time.Hours} h",
        };

    /// <summary>How long ago, or until when.</summary>
    public static string Since(DateTimeOffset moment, DateTimeOffset now) =>
        moment <= now ? $"{Time(now - moment)} ago" : $"in {Time(moment - now)}";

    /// <summary>To the second, in UTC.</summary>
    public static string Moment(DateTimeOffset moment) => moment.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss", Invariant);

    public static string Iso(DateTimeOffset moment) => moment.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", Invariant);

    /// <summary>The moment that an id which is a UUIDv7 begins with.</summary>
    public static DateTimeOffset MadeAt(Guid id) =>
        DateTimeOffset.FromUnixTimeMilliseconds(Convert.ToInt64(id.ToString("N", Invariant)[..12], 16));

    /// <summary>The end of an id: UUIDv7 of the same minute begin alike.</summary>
    public static string Short(Guid id) => $"…{id.ToString("N", Invariant)[^10..]}";

    /// <summary>Bytes of a task as text, cut to what a page takes.</summary>
    public static string Preview(ReadOnlySpan<byte> bytes, int max)
    {
        var text = System.Text.Encoding.UTF8.GetString(bytes[..Math.Min(bytes.Length, max)]);
        return bytes.Length > max ? $"{text}…" : text;
    }
}
