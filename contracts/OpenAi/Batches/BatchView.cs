using System.Text.Json;
using System.Text.Json.Serialization;
using Pipeline.Contracts;

namespace Pipeline.OpenAi.Batches;

/// <summary>
/// A batch as OpenAI's clients read it. Beyond their fields: the service tier, the job behind it, when it should be done, what it cost.
/// Times are Unix seconds.
/// </summary>
internal sealed record BatchView
{
    public required string Id { get; init; }
    public string Object { get; } = "batch";
    public required string Endpoint { get; init; }
    public required string? Model { get; init; }
    public required BatchErrors? Errors { get; init; }
    public required string InputFileId { get; init; }
    public required string CompletionWindow { get; init; }
    public required string Status { get; init; }
    public required string? OutputFileId { get; init; }
    public required string? ErrorFileId { get; init; }
    public required long CreatedAt { get; init; }
    public required long? InProgressAt { get; init; }
    public required long ExpiresAt { get; init; }
    public required long? FinalizingAt { get; init; }
    public required long? CompletedAt { get; init; }
    public required long? FailedAt { get; init; }
    public required long? ExpiredAt { get; init; }
    public required long? CancellingAt { get; init; }
    public required long? CancelledAt { get; init; }
    public required BatchCounts RequestCounts { get; init; }
    public required BatchUsage? Usage { get; init; }
    public required JsonElement Metadata { get; init; }

    /// <summary>The tier it runs under: <c>priority</c>, <c>default</c> or <c>flex</c>.</summary>
    public required string ServiceTier { get; init; }

    /// <summary>The native job, for <c>/v1/jobs/{id}</c>; null until there is one.</summary>
    public required JobId? Job { get; init; }

    /// <summary>When it should be done, by its own pace or as predicted when it was accepted; null when nobody knows.</summary>
    public required long? PredictedAt { get; init; }

    /// <summary>
    /// Of a batch that waits to begin, where one batch is asked for: how many jobs of the same model and tier fall due before it, 10,000 at
    /// most.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? QueuePosition { get; init; }

    /// <summary>
    /// Of a batch that runs, where one batch is asked for: the file whose content grows with the lines that complete, in the order of the
    /// input, and is what the output file begins with.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? PartialOutputFileId { get; init; }
    public required decimal CostPicoUsd { get; init; }

    [JsonIgnore]
    public JobId Key { get; init; }

    [JsonIgnore]
    public bool IsEnd => Status is "failed" or "completed" or "expired" or "cancelled";
}

/// <summary>Lines by their end.</summary>
internal sealed record BatchCounts(int Total, int Completed, int Failed);

/// <summary>Units of the completed lines, which for a text model are tokens.</summary>
internal sealed record BatchUsage(long InputTokens)
{
    public CachedTokens InputTokensDetails { get; } = new(0);
    public long OutputTokens { get; }
    public ReasoningTokens OutputTokensDetails { get; } = new(0);
    public long TotalTokens => InputTokens;
}

internal sealed record CachedTokens([property: JsonPropertyName("cached_tokens")] int Count);

internal sealed record ReasoningTokens([property: JsonPropertyName("reasoning_tokens")] int Count);

/// <summary>What was wrong with a batch's input: the first mistakes in full, all of them counted.</summary>
internal sealed record BatchErrors(IReadOnlyList<BatchError> Data, long Total)
{
    public string Object { get; } = "list";
}

/// <param name="Line">Line of the input file, from 1; null where it is about the whole.</param>
internal sealed record BatchError(string Code, string Message, string? Param, long? Line);

/// <summary>OpenAI's service tiers and the classes they stand for.</summary>
internal static class ServiceTiers
{
    /// <summary>What a client may ask for, and be told.</summary>
    public const string Form = "priority, default, auto or flex";

    /// <param name="auto">What <c>auto</c>, and saying nothing, stands for.</param>
    public static bool TryParse(string? tier, LatencyClass auto, out LatencyClass value)
    {
        value = tier switch
        {
            "priority" => LatencyClass.Express,
            "default" => LatencyClass.Standard,
            "flex" => LatencyClass.Bulk,
            _ => auto,
        };
        return tier is null or "auto" or "priority" or "default" or "flex";
    }

    public static string NameOf(LatencyClass value) =>
        value switch
        {
            LatencyClass.Express => "priority",
            LatencyClass.Standard => "default",
            _ => "flex",
        };
}

/// <summary>A batch's id: <c>batch_</c> and the 32 hex digits of its job's.</summary>
internal static class BatchIds
{
    public const string Prefix = "batch_";

    public static string Of(JobId job) => $"{Prefix}{job.Value:N}";

    public static bool TryParse(string? text, out JobId job)
    {
        var value = Guid.Empty;
        var ok = text?.StartsWith(Prefix, StringComparison.Ordinal) == true && Guid.TryParseExact(text[Prefix.Length..], "N", out value);
        job = new JobId(value);
        return ok;
    }
}
