using System.Text.Json.Serialization;
using Pipeline.Contracts;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Sla;

/// <summary>
/// A report as it is answered, stored, and shown. It is made of nothing but the rows it is about: the same rows give the same bytes. Shares
/// are parts of 1, null where there is nothing to divide by.
/// </summary>
internal sealed record SlaReport
{
    public string Object { get; } = "sla_report";

    /// <summary>Version of the method; another one may say something else of the same rows.</summary>
    public required string Method { get; init; }

    /// <summary>SHA-256 over the rows it was made of, and the objectives.</summary>
    public required string SourceSha256 { get; init; }
    public required DateTimeOffset From { get; init; }

    /// <summary>The end, not included.</summary>
    public required DateTimeOffset To { get; init; }
    public required string TimeZone { get; init; }

    /// <summary>Hours that count: the window without what is excluded.</summary>
    public required double Hours { get; init; }

    /// <summary>False while the window is not over, or not all of it is rolled up.</summary>
    public required bool Complete { get; init; }

    /// <summary>The tenant it is about; null for all.</summary>
    public required string? Tenant { get; init; }
    public required IReadOnlyList<ObjectiveView> Objectives { get; init; }

    /// <summary>The window by class, tenant and model, as it was asked for.</summary>
    public required IReadOnlyList<SlaRowView> Rows { get; init; }

    /// <summary>Days, weeks or months, by class.</summary>
    public required IReadOnlyList<PeriodView> Periods { get; init; }

    /// <summary>Where the time of succeeded tasks goes, by class, and what making a stage faster would bring.</summary>
    public required IReadOnlyList<StageView> Stages { get; init; }

    /// <summary>How succeeded tasks, and clients that did not wait, spread over what people perceive as instant, prompt, noticeable, and a pause.</summary>
    public required IReadOnlyList<BandView> Bands { get; init; }

    /// <summary>What became of groups whose outcome was reported, by how long they took.</summary>
    public required IReadOnlyList<OutcomeBandView> Outcomes { get; init; }
    public required IReadOnlyList<DoorView> Acceptance { get; init; }

    /// <summary>The same by class and model. Reports that were kept before <c>sla.v3</c> have none.</summary>
    public IReadOnlyList<ModelDoorView> AcceptanceByModel { get; init; } = [];
    public required CallbacksView Callbacks { get; init; }
    public required BreachesView Breaches { get; init; }
    public required IReadOnlyList<ExclusionView> Exclusions { get; init; }
}

/// <summary>An objective against what was attained.</summary>
internal sealed record ObjectiveView
{
    public required string Slo { get; init; }
    public required string Name { get; init; }
    public required string Indicator { get; init; }
    public required LatencyClass? Class { get; init; }
    public required string? Tenant { get; init; }
    public required string? Model { get; init; }

    /// <summary>Of a time: the limit.</summary>
    public required double? LimitMs { get; init; }
    public required double Target { get; init; }
    public required long Good { get; init; }
    public required long Total { get; init; }
    public required double? Attained { get; init; }

    /// <summary>Null where nothing happened.</summary>
    public required bool? Met { get; init; }

    /// <summary>The part of the error budget that is left: 1 where nothing was bad, below 0 where more was than the target allows.</summary>
    public required double? BudgetLeft { get; init; }

    /// <summary>How many times as fast as the target allows the budget was spent over the window.</summary>
    public required double? Burn { get; init; }
}

/// <summary>How a time spreads, in milliseconds; percentiles are off by at most 0.79 %.</summary>
internal sealed record TimesView
{
    public required long Count { get; init; }
    public required double? Mean { get; init; }
    public required double? P50 { get; init; }
    public required double? P90 { get; init; }
    public required double? P95 { get; init; }
    public required double? P99 { get; init; }

    [JsonPropertyName("p99_9")]
    public required double? P999 { get; init; }
    public required double? Max { get; init; }

    public static TimesView Of(LatencyHistogram times) =>
        new()
        {
            Count = times.Count,
            Mean = Ms(times.Mean),
            P50 = Ms(times.Percentile(50)),
            P90 = Ms(times.Percentile(90)),
            P95 = Ms(times.Percentile(95)),
            P99 = Ms(times.Percentile(99)),
            P999 = Ms(times.Percentile(99.9)),
            Max = times.Count == 0 ? null : Ms(times.Max),
        };

    internal static double? Ms(double? microseconds) => microseconds is { } us ? Math.Round(us / 1000, 3) : null;
}

/// <summary>What tasks and jobs came to. Keys that were not asked for are null.</summary>
internal sealed record SlaRowView
{
    public required LatencyClass? Class { get; init; }
    public required string? Tenant { get; init; }

    /// <summary>The version that ran, <c>name@version</c>.</summary>
    public required string? Model { get; init; }
    public required long Succeeded { get; init; }
    public required long Failed { get; init; }

    /// <summary>Of the failed, those by their client's fault.</summary>
    public required long ClientFaults { get; init; }
    public required long Expired { get; init; }
    public required long Cancelled { get; init; }

    /// <summary>Tasks done within their class's target, of those that we answer for: all but cancelled ones and faults of clients.</summary>
    public required double? TasksWithin { get; init; }
    public required long JobsCompleted { get; init; }
    public required long JobsExpired { get; init; }

    /// <summary>Jobs done within their class's target, of those that ended by themselves.</summary>
    public required double? JobsWithin { get; init; }
    public required TimesView QueueWaitMs { get; init; }
    public required TimesView DeviceMs { get; init; }

    /// <summary>From acceptance to result, of tasks that succeeded.</summary>
    public required TimesView EndToEndMs { get; init; }

    /// <summary>From a job's acceptance to its first result, and to its end.</summary>
    public required TimesView FirstResultMs { get; init; }
    public required TimesView JobEndToEndMs { get; init; }

    /// <summary>Succeeded tasks a second, over the hours that count.</summary>
    public required double TasksPerSecond { get; init; }

    /// <summary>Requests for work that were taken, of those that were no fault of their client and within the limits; null where rows are by model.</summary>
    public required double? Availability { get; init; }
    public required long CostPicoUsd { get; init; }
    public required long PricePicoUsd { get; init; }

    /// <summary>Cost of an ended task, in pico-USD.</summary>
    public required double? CostPerTaskPicoUsd { get; init; }

    /// <summary>Succeeded tasks whose result was made for another one, in the same job or taken from the cache.</summary>
    public required double? ReusedShare { get; init; }
    public required double? CacheShare { get; init; }
    public required long SavedPicoUsd { get; init; }

    /// <summary>Tasks in a batch, as the average task found it, and what of the device's units was padding.</summary>
    public required double? TasksPerBatch { get; init; }
    public required double? PaddingShare { get; init; }
}

/// <summary>A class in a period.</summary>
internal sealed record PeriodView
{
    public required string Period { get; init; }
    public required DateTimeOffset From { get; init; }
    public required DateTimeOffset To { get; init; }

    /// <summary>Hours that count.</summary>
    public required double Hours { get; init; }
    public required LatencyClass Class { get; init; }
    public required long Ended { get; init; }
    public required long Expired { get; init; }
    public required double? TasksWithin { get; init; }
    public required double? JobsWithin { get; init; }
    public required TimesView EndToEndMs { get; init; }
    public required double TasksPerSecond { get; init; }
    public required double? CostPerTaskPicoUsd { get; init; }
}

/// <summary>A stage of a class's tasks, and how many times as fast they would be done, on average, were it so much faster.</summary>
internal sealed record StageView
{
    public required LatencyClass Class { get; init; }

    /// <summary><c>waiting</c>, <c>staged</c>, <c>device</c> or <c>writing</c>.</summary>
    public required string Stage { get; init; }
    public required TimesView Ms { get; init; }
    public required double Share { get; init; }

    [JsonPropertyName("gain_2x")]
    public required double? Gain2 { get; init; }

    [JsonPropertyName("gain_10x")]
    public required double? Gain10 { get; init; }

    /// <summary>Null where nothing else would be left.</summary>
    public required double? GainInfinite { get; init; }
}

/// <summary>A class's tasks and clients in a band of time.</summary>
internal sealed record BandView
{
    public required LatencyClass Class { get; init; }

    /// <summary>The band's end; null for the last, which has none.</summary>
    public required double? UpToMs { get; init; }
    public required long Tasks { get; init; }
    public required double? Share { get; init; }

    /// <summary>Clients that had gone after so long a wait.</summary>
    public required long Disconnects { get; init; }
}

/// <summary>Groups whose tasks took so long, from the first acceptance to the last end.</summary>
internal sealed record OutcomeBandView
{
    public required double? UpToMs { get; init; }
    public required long Groups { get; init; }

    /// <summary>Those with a reported outcome, and of these the accepted ones.</summary>
    public required long Reported { get; init; }
    public required long Accepted { get; init; }
    public required double? AcceptanceRate { get; init; }

    /// <summary>Sum of the reported values; null where none was reported.</summary>
    public required double? Value { get; init; }
}

/// <summary>How requests for work were answered.</summary>
internal sealed record DoorView
{
    /// <summary>By the address that was called: what answers at once is express, a batch is bulk.</summary>
    public required LatencyClass Class { get; init; }
    public required long Accepted { get; init; }

    /// <summary>Refused by a limit or for lack of capacity (429): stated apart, in no other figure.</summary>
    public required long Limited { get; init; }
    public required long ClientFaults { get; init; }
    public required long Failed { get; init; }
    public required long Disconnects { get; init; }
    public required double? Availability { get; init; }
}

/// <summary>How requests for work of a model were answered.</summary>
internal sealed record ModelDoorView
{
    public required LatencyClass Class { get; init; }

    /// <summary>Of a route its first variant; null for requests that named no model, or were answered before it was read which.</summary>
    public required string? Model { get; init; }
    public required long Accepted { get; init; }
    public required long Limited { get; init; }
    public required long ClientFaults { get; init; }
    public required long Failed { get; init; }
    public required long Disconnects { get; init; }
    public required double? Availability { get; init; }
}

/// <summary>Webhook deliveries that ended.</summary>
internal sealed record CallbacksView
{
    public required long Delivered { get; init; }

    /// <summary>Of the delivered, those that came soon enough after their event.</summary>
    public required long Punctual { get; init; }
    public required long Failed { get; init; }

    /// <summary>The punctual of all.</summary>
    public required double? Punctuality { get; init; }
}

internal sealed record BreachesView
{
    /// <summary>All of the window, as far as they were counted.</summary>
    public required long Total { get; init; }

    /// <summary>False where there are more than are counted at most.</summary>
    public required bool CountedAll { get; init; }
    public required IReadOnlyList<CauseView> Causes { get; init; }

    /// <summary>The first of them, in order of time.</summary>
    public required IReadOnlyList<BreachView> Data { get; init; }
}

internal sealed record CauseView
{
    public required string Cause { get; init; }
    public required long Breaches { get; init; }
}

/// <summary>A job that missed its class's target or expired, or whose callback was late.</summary>
internal sealed record BreachView
{
    public required JobId Job { get; init; }
    public required DateTimeOffset At { get; init; }
    public required LatencyClass Class { get; init; }
    public required string Tenant { get; init; }
    public required string Model { get; init; }

    /// <summary>The job's end; of a callback <c>delivered</c> or <c>failed</c>.</summary>
    public required string State { get; init; }
    public required string Cause { get; init; }
    public required double TargetMs { get; init; }
    public required double TotalMs { get; init; }

    /// <summary>Of the task that ended last; null for a callback.</summary>
    public required double? WaitingMs { get; init; }
    public required double? StagedMs { get; init; }
    public required double? DeviceMs { get; init; }
    public required double? WritingMs { get; init; }
}

/// <summary>Time that was left out.</summary>
internal sealed record ExclusionView
{
    public required Guid Id { get; init; }
    public string Object { get; } = "sla_exclusion";
    public required DateTimeOffset From { get; init; }
    public required DateTimeOffset To { get; init; }
    public required string Reason { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>When it ceased to hold; what was reported before then left it out.</summary>
    public DateTimeOffset? WithdrawnAt { get; init; }

    public static ExclusionView Of(SlaExclusionRow row) =>
        new()
        {
            Id = row.Id,
            From = row.FromAt,
            To = row.ToAt,
            Reason = row.Reason,
            CreatedAt = row.CreatedAt,
            WithdrawnAt = row.WithdrawnAt,
        };
}
