using Microsoft.Extensions.Configuration;

namespace Pipeline.Hosting.Telemetry;

/// <summary>
/// What a process tells of itself. Section <c>Telemetry</c>; where it goes is said by OpenTelemetry's own variables (<c>OTEL_…</c>), see
/// <see cref="OtelVariables"/>.
/// </summary>
public sealed record TelemetryOptions
{
    public const string Section = "Telemetry";

    /// <summary>False: nothing is measured, and there is no <c>/metrics</c>.</summary>
    public bool Metrics { get; init; } = true;

    /// <summary>True: <c>/metrics</c> wants an operator's API key. By default it is as open as the health endpoints beside it.</summary>
    public bool MetricsNeedKey { get; init; }

    /// <summary>Traces begun here that are recorded, of 1. A caller who sends a <c>traceparent</c> has decided for itself.</summary>
    public double SampleRatio { get; init; } = 0.01;

    /// <summary>
    /// Chunks of a traced job that have spans of their own, and tasks whose webhooks do: its first ones. Bounds a trace, however large the job.
    /// </summary>
    public int TracedChunksMax { get; init; } = 64;

    /// <summary>Models that metrics tell apart; later ones are counted together as <see cref="ModelLabels.Other"/>.</summary>
    public int ModelsMax { get; init; } = 50;

    /// <summary>Label combinations a metric may have; further ones are counted together (<c>otel_metric_overflow</c>).</summary>
    public int SeriesMax { get; init; } = 2000;

    /// <summary>How often the metrics that stand in PostgreSQL (open jobs, waiting webhooks) are read.</summary>
    public TimeSpan StoredEvery { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>True: the console has one JSON object a line, with trace ids.</summary>
    public bool JsonLogs { get; init; }

    /// <summary>What the chunk or task of this number carries of its job's trace; null beyond the first <see cref="TracedChunksMax"/>.</summary>
    public string? TraceOf(string? traceparent, int number) => number < TracedChunksMax ? traceparent : null;

    /// <summary>Reads and checks the options, reporting every mistake at once.</summary>
    /// <exception cref="OptionsException">One or more options are out of range.</exception>
    public static TelemetryOptions Read(IConfiguration configuration)
    {
        var options = configuration.GetSection(Section).Get<TelemetryOptions>() ?? new TelemetryOptions();
        var mistakes = new OptionsCheck(Section);
        mistakes.Expect(options.SampleRatio is >= 0 and <= 1, nameof(SampleRatio), "0 to 1", options.SampleRatio);
        mistakes.Expect(options.TracedChunksMax is >= 0 and <= 10_000, nameof(TracedChunksMax), "0 to 10000", options.TracedChunksMax);
        mistakes.Expect(options.ModelsMax is >= 1 and <= 1000, nameof(ModelsMax), "1 to 1000", options.ModelsMax);
        mistakes.Expect(options.SeriesMax is >= 100 and <= 100_000, nameof(SeriesMax), "100 to 100000", options.SeriesMax);
        mistakes.Expect(
            options.StoredEvery >= TimeSpan.FromMilliseconds(100) && options.StoredEvery <= TimeSpan.FromHours(1),
            nameof(StoredEvery),
            "100 ms to 1 hour",
            options.StoredEvery
        );
        mistakes.ThrowIfAny();
        return options;
    }
}
