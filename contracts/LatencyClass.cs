using System.Text.Json.Serialization;

namespace Pipeline.Contracts;

/// <summary>The promise a client buys: how soon, at what price factor. What each class promises is in <see cref="LatencyClassOptions"/>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<LatencyClass>))]
public enum LatencyClass
{
    [JsonStringEnumMemberName("express")]
    Express,

    [JsonStringEnumMemberName("standard")]
    Standard,

    [JsonStringEnumMemberName("bulk")]
    Bulk,
}

/// <summary>A work queue of a worker. A class is a promise, a lane is a way.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<Lane>))]
public enum Lane
{
    [JsonStringEnumMemberName("express")]
    Express,

    [JsonStringEnumMemberName("bulk")]
    Bulk,
}

/// <summary>What a class promises. The target is the aim for one task or small job; the window is when unfinished work expires.</summary>
/// <param name="Target">Aim from acceptance to result.</param>
/// <param name="CompletionWindow">Deadline given to a job that names none; what has not ended by then ends <c>expired</c>.</param>
/// <param name="PriceFactor">What the class costs the tenant, relative to <c>bulk</c>.</param>
public sealed record LatencyClassOptions(TimeSpan Target, TimeSpan CompletionWindow, double PriceFactor);

/// <summary>Wire names and defaults of the classes and lanes.</summary>
public static class LatencyClasses
{
    public static IReadOnlyDictionary<LatencyClass, LatencyClassOptions> Defaults { get; } =
        new Dictionary<LatencyClass, LatencyClassOptions>
        {
            [LatencyClass.Express] = new(TimeSpan.FromMilliseconds(500), TimeSpan.FromMinutes(1), 4),
            [LatencyClass.Standard] = new(TimeSpan.FromSeconds(30), TimeSpan.FromHours(1), 2),
            [LatencyClass.Bulk] = new(TimeSpan.FromHours(1), TimeSpan.FromHours(24), 1),
        };

    /// <summary>What a class is charged where the price list has nothing to say, from what <c>bulk</c> is.</summary>
    public static long PriceOf(LatencyClass value, long bulkPico) =>
        (long)((Int128)bulkPico * (long)Math.Round(Defaults[value].PriceFactor * 1000) / 1000);

    public static string Name(this LatencyClass value) =>
        value switch
        {
            LatencyClass.Express => "express",
            LatencyClass.Standard => "standard",
            _ => "bulk",
        };

    public static string Name(this Lane value) => value == Lane.Express ? "express" : "bulk";

    public static bool TryParse(string? text, out LatencyClass value)
    {
        value = text switch
        {
            "express" => LatencyClass.Express,
            "standard" => LatencyClass.Standard,
            _ => LatencyClass.Bulk,
        };
        return text is "express" or "standard" or "bulk";
    }
}
