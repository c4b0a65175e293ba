using System.Collections.Concurrent;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Ingest;

/// <summary>
/// Learns from jobs that have completed what forecasts of their kind leave out (<see cref="Calibration"/>), for the time and for
/// the cost. The last jobs of each are kept, from one look at the ends to the next; a new instance begins with the latest ends there are.
/// </summary>
internal sealed partial class Calibrator(NpgsqlDataSource database, IngestOptions options, TimeProvider time, ILogger<Calibrator> log)
    : BackgroundService
{
    /// <summary>Express is refused by what became of the last of it only where many tell, and one of them just now.</summary>
    private const int ExpressJobsMin = 50;
    private static readonly TimeSpan ExpressAgeMax = TimeSpan.FromSeconds(30);

    private readonly Calibration _calibration = new(options.CalibrationJobsMax);

    /// <summary>When express of a model was last let in to see how long it takes now.</summary>
    private readonly ConcurrentDictionary<ModelRef, DateTimeOffset> _tries = new();

    /// <summary>The last transaction that was looked at.</summary>
    private ulong _after;

    /// <summary>What is known of jobs of that kind; null members where too few have ended.</summary>
    public Corrections Of(LatencyClass latencyClass, ModelRef model, ForecastTime forecast) =>
        _calibration.Of(latencyClass, model, forecast);

    /// <summary>When express that was estimated so is really done, and by when in 19 of 20 cases; null where too little tells.</summary>
    public Predicted? Express(in Estimated estimated, ModelRef model, DateTimeOffset now)
    {
        var forecast = ForecastTime.Of(estimated, now);
        var known = Of(LatencyClass.Express, model, forecast);
        if (known.Time is not { Samples: >= ExpressJobsMin } learned || now - known.NewestAt > ExpressAgeMax)
        {
            return null;
        }

        var us = forecast.By(learned);
        return new Predicted(now + TimeSpan.FromMicroseconds(us), now + TimeSpan.FromMicroseconds(us * learned.HighOfLast));
    }

    /// <summary>
    /// Who refuses all express by what became of the last of it learns nothing more, so now and then one is let in. True where it is time for
    /// the next of that model; it counts as let in.
    /// </summary>
    public bool MayTryExpress(ModelRef model, DateTimeOffset now) =>
        _tries.TryGetValue(model, out var last)
            ? now - last >= options.ExpressTryEvery && _tries.TryUpdate(model, now, last)
            : _tries.TryAdd(model, now);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(options.CalibrationEvery, time);
        try
        {
            do
            {
                await TryTurnAsync(stoppingToken);
            } while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    /// <summary>Takes the jobs that have ended since the last turn; of many the latest.</summary>
    internal async Task TurnAsync(CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            WITH closed AS (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS open), ended AS (
              SELECT e.job, e.xid FROM events e, closed c
              WHERE e.type IN ('job.completed', 'job.expired') AND e.xid > $1 AND e.xid < c.open ORDER BY e.xid DESC LIMIT $2
            )
            SELECT ((c.open::text::bigint - 1)::text)::xid8, j.class, j.model, j.model_version, j.forecast_us, j.forecast_wait_us,
                   extract(epoch FROM j.finished_at - j.queued_at)::float8 * 1e6, coalesce(j.finished_at < j.predicted_early_at, false),
                   coalesce(j.finished_at > j.predicted_late_at, false), j.forecast_cost_pico, j.cost_pico::float8, j.finished_at
            FROM closed c
            LEFT JOIN (ended e JOIN jobs j ON j.id = e.job AND j.state = 'completed' AND j.forecast_us IS NOT NULL AND j.route IS NULL
                       AND NOT EXISTS (SELECT FROM events p WHERE p.job = j.id AND p.type = 'job.paused')) ON true
            ORDER BY e.xid
            """
        );
        command.Parameters.Add(new() { Value = _after, NpgsqlDbType = NpgsqlDbType.Xid8 });
        command.Parameters.Add(new() { Value = options.CalibrationRowsMax });
        await using var reader = await command.ExecuteReaderAsync(stop);
        while (await reader.ReadAsync(stop))
        {
            _after = reader.GetFieldValue<ulong>(0);
            if (!await reader.IsDBNullAsync(1, stop) && LatencyClasses.TryParse(reader.GetString(1), out var latencyClass))
            {
                _calibration.Observe(await ReadAsync(reader, latencyClass, stop));
            }
        }

        _calibration.Learn();
    }

    private static async ValueTask<EndedJob> ReadAsync(NpgsqlDataReader row, LatencyClass latencyClass, CancellationToken stop)
    {
        long? waitUs = await row.IsDBNullAsync(5, stop) ? null : row.GetInt64(5);
        var hasCost = !await row.IsDBNullAsync(9, stop);
        return new EndedJob(
            latencyClass,
            new ModelRef(row.GetString(2), row.GetString(3)),
            new ForecastTime(waitUs, row.GetInt64(4)),
            row.GetDouble(6),
            row.GetBoolean(7),
            row.GetBoolean(8),
            hasCost ? row.GetInt64(9) : null,
            hasCost ? row.GetDouble(10) : null,
            row.GetFieldValue<DateTimeOffset>(11)
        );
    }

    private async Task TryTurnAsync(CancellationToken stop)
    {
        try
        {
            await TurnAsync(stop);
        }
        catch (Exception e) when (e is NpgsqlException or TimeoutException)
        {
            LogNotLearned(log, e.Message);
        }
    }

    [LoggerMessage(34, LogLevel.Warning, "Cannot learn from jobs that have ended, and will again: {Reason}")]
    private static partial void LogNotLearned(ILogger log, string reason);
}
