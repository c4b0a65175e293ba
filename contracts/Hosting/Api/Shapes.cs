using System.Text.Json;
using System.Text.Json.Serialization;
using Pipeline.Contracts;

namespace Pipeline.Hosting.Api;

/// <summary>The shape of a task's result as <see cref="ResultJson"/> writes it, for the API's document.</summary>
public sealed record TaskResult
{
    public required string CustomId { get; init; }
    public required int Seq { get; init; }
    public required TaskOutcome Status { get; init; }

    /// <summary>Of a task that succeeded; what is in it depends on the model.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public JsonElement? Output { get; init; }

    /// <summary>Of a task that did not.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public TaskError? Error { get; init; }
    public required ModelRef Model { get; init; }

    /// <summary>How often it was on a device.</summary>
    public required int Turns { get; init; }

    /// <summary>
    /// <c>job</c> or <c>cache</c> where it was not: the result of an equal input of the job, or of an earlier job from the tenant's cache. It
    /// costs nothing, and is charged as any other.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public ReuseSource? Reused { get; init; }
    public required long CostPicoUsd { get; init; }
    public required TaskLatency LatencyMs { get; init; }

    /// <summary>With <c>order=completed</c>: where to read on.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Cursor { get; init; }
}

/// <summary>Why a task did not succeed.</summary>
public sealed record TaskError(string Code, string Message);

/// <summary>Milliseconds until it was dispatched, from there to the device, on it, and all together.</summary>
public sealed record TaskLatency(double Queued, double Staged, double Device, double Total);
