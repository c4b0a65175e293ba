using System.Diagnostics.Metrics;
using Npgsql;
using Pipeline.Hosting;
using Pipeline.Hosting.Telemetry;

namespace Pipeline.ResultsApi;

/// <summary>What metrics tell that stands in PostgreSQL and in no process, as it was read last.</summary>
internal sealed record StoredFigures
{
    public IReadOnlyList<Measurement<long>> Open { get; init; } = [];
    public IReadOnlyList<Measurement<double>> Oldest { get; init; } = [];
    public long Unannounced { get; init; }
    public long WebhooksPending { get; init; }
    public double WebhooksOldest { get; init; }
    public long EventsWaiting { get; init; }
}

/// <summary>Reads the stored figures now and then, by indexes on what is open: the cost is that of what waits, not of what has ended.</summary>
internal sealed partial class StoredFiguresReader(
    NpgsqlDataSource database,
    ResultsMetrics metrics,
    TelemetryOptions options,
    TimeProvider time,
    ILogger<StoredFiguresReader> log
) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (!options.Metrics)
        {
            return;
        }

        using var timer = new PeriodicTimer(options.StoredEvery, time);
        try
        {
            do
            {
                await TurnAsync(stoppingToken);
            } while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    /// <summary>Reads them once. While PostgreSQL is away the last ones stand.</summary>
    internal async Task TurnAsync(CancellationToken stop)
    {
        try
        {
            await using var batch = database.CreateBatch();
            batch.BatchCommands.Add(new(JobsSql));
            batch.BatchCommands.Add(new(RestSql));
            await using var reader = await batch.ExecuteReaderAsync(stop);
            metrics.Read(await ReadAsync(reader, stop));
        }
        catch (Exception e) when (Problems.IsLostServer(e) || e is TimeoutException or PostgresException)
        {
            LogAway(log, e.Message);
        }
    }

    private static async Task<StoredFigures> ReadAsync(NpgsqlDataReader reader, CancellationToken stop)
    {
        var open = new List<Measurement<long>>();
        var oldest = new Dictionary<string, double>();
        while (await reader.ReadAsync(stop))
        {
            var latencyClass = reader.GetString(0);
            open.Add(new Measurement<long>(reader.GetInt64(2), Class(latencyClass), new(Metrics.State, reader.GetString(1))));
            if (!reader.IsDBNull(3))
            {
                oldest[latencyClass] = Math.Max(oldest.GetValueOrDefault(latencyClass), reader.GetDouble(3));
            }
        }

        await reader.NextResultAsync(stop);
        await reader.ReadAsync(stop);
        return new StoredFigures
        {
            Open = open,
            Oldest = [.. oldest.Select(age => new Measurement<double>(age.Value, Class(age.Key)))],
            Unannounced = reader.GetInt64(0),
            EventsWaiting = reader.GetInt64(1),
            WebhooksPending = reader.GetInt64(2),
            WebhooksOldest = reader.GetDouble(3),
        };
    }

    private static KeyValuePair<string, object?> Class(string latencyClass) => new(Metrics.Class, latencyClass);

    private const string JobsSql = """
        SELECT class, state, count(*),
               extract(epoch FROM clock_timestamp() - min(queued_at) FILTER (WHERE state IN ('queued', 'running') AND NOT paused))::float8
        FROM jobs WHERE finished_at IS NULL GROUP BY class, state
        """;

    private const string RestSql = """
        SELECT (SELECT count(*) FROM chunks c JOIN jobs j ON j.id = c.job
                WHERE c.announced_at IS NULL AND c.remaining > 0 AND j.state IN ('queued', 'running')),
               (SELECT count(*) FROM events WHERE NOT fanned_out AND type <> 'job.queued'),
               d.pending, d.age
        FROM (SELECT count(*) AS pending, coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS age
              FROM webhook_deliveries WHERE state = 'pending') d
        """;

    [LoggerMessage(90, LogLevel.Warning, "Could not read the figures that stand in PostgreSQL, and will again: {Reason}")]
    private static partial void LogAway(ILogger log, string reason);
}
