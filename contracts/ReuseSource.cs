using System.Text.Json.Serialization;

namespace Pipeline.Contracts;

/// <summary>Where a result comes from that no model execution of its task made.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<ReuseSource>))]
public enum ReuseSource
{
    /// <summary>A task of the same job with the same input.</summary>
    [JsonStringEnumMemberName("job")]
    Job,

    /// <summary>The tenant's cache: an earlier job's task with the same input, answered by the same model.</summary>
    [JsonStringEnumMemberName("cache")]
    Cache,
}

/// <summary>Their names, as in tables and answers.</summary>
public static class ReuseSources
{
    public static string Name(this ReuseSource source) => source == ReuseSource.Job ? "job" : "cache";
}
