using System.Text.Json.Serialization;

namespace Pipeline.ResultsApi.Alerts;

/// <summary>How soon somebody must look. A higher value is worse.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<Severity>))]
public enum Severity
{
    /// <summary>Within a day or two: nothing is broken yet.</summary>
    [JsonStringEnumMemberName("info")]
    Info,

    /// <summary>Within the working day.</summary>
    [JsonStringEnumMemberName("warning")]
    Warning,

    /// <summary>Now.</summary>
    [JsonStringEnumMemberName("critical")]
    Critical,
}
