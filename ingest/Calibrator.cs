using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Ingest;

/// <summary>
/// Learns from jobs that have completed what forecasts of their class and model leave out (<see cref="Correction"/>), for the time and for
/// the cost. The last jobs of each are kept, from one look at the ends to the next; a new instance begins with the latest ends there are.
/// </summary>
internal sealed partial class Calibrator(NpgsqlDataSource database, IngestOptions options, TimeProvider time, ILogger<Calibrator> log)
    : BackgroundService
{
    private readonly Dictionary<(LatencyClass, ModelRef), Samples> _samples = [];
    private volatile IReadOnlyDictionary<(LatencyClass, ModelRef), Corrections> _corrections =
        new Dictionary<(LatencyClass, ModelRef), Corrections>();

    /// <summary>The last transaction that was looked at.</summary>
    private ulong _after;

    /// <summary>What is known of jobs of that kind; null members where too few have ended.</summary>
    public Corrections Of(LatencyClass latencyClass, ModelRef model) => _corrections.GetValueOrDefault((latencyClass, model));

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
            SELECT ((c.open::text::bigint - 1)::text)::xid8, j.class, j.model, j.model_version, j.forecast_us,
                   extract(epoch FROM j.finished_at - j.queued_at)::float8 * 1e6, j.forecast_cost_pico, j.cost_pico::float8
            FROM closed c
            LEFT JOIN (ended e JOIN jobs j ON j.id = e.job AND j.state = 'completed' AND j.forecast_us IS NOT NULL
                       AND NOT EXISTS (SELECT FROM events p WHERE p.job = j.id AND p.type = 'job.paused')) ON true
            ORDER BY e.xid
            """
        );
        command.Parameters.Add(new() { Value = _after, NpgsqlDbType = NpgsqlDbType.Xid8 });
        command.Parameters.Add(new() { Value = options.CalibrationRowsMax });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var changed = new HashSet<(LatencyClass, ModelRef)>();
        while (await reader.ReadAsync(stop))
        {
            _after = reader.GetFieldValue<ulong>(0);
            if (await reader.IsDBNullAsync(1, stop) || !LatencyClasses.TryParse(reader.GetString(1), out var latencyClass))
            {
                continue;
            }

            var key = (latencyClass, new ModelRef(reader.GetString(2), reader.GetString(3)));
            if (!_samples.TryGetValue(key, out var samples))
            {
                _samples[key] = samples = new Samples(options.CalibrationJobsMax);
            }

            samples.Add(
                (reader.GetInt64(4), reader.GetDouble(5)),
                await reader.IsDBNullAsync(6, stop) ? null : (reader.GetInt64(6), reader.GetDouble(7))
            );
            changed.Add(key);
        }

        if (changed.Count > 0)
        {
            _corrections = _samples.ToDictionary(
                known => known.Key,
                known => changed.Contains(known.Key) ? known.Value.Correct() : _corrections.GetValueOrDefault(known.Key)
            );
        }
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

    /// <summary>The last jobs of a class and model.</summary>
    private sealed class Samples(int most)
    {
        private readonly Queue<(double, double)> _times = [];
        private readonly Queue<(double, double)> _costs = [];

        public void Add((double Forecast, double Actual) took, (double Forecast, double Actual)? cost)
        {
            Add(_times, took);
            if (cost is { } known)
            {
                Add(_costs, known);
            }
        }

        public Corrections Correct() => new(Correction.Of(_times), Correction.Of(_costs));

        private void Add(Queue<(double, double)> samples, (double Forecast, double Actual) sample)
        {
            if (sample.Actual <= 0)
            {
                return;
            }

            samples.Enqueue(sample);
            if (samples.Count > most)
            {
                samples.Dequeue();
            }
        }
    }

    [LoggerMessage(34, LogLevel.Warning, "Cannot learn from jobs that have ended, and will again: {Reason}")]
    private static partial void LogNotLearned(ILogger log, string reason);
}

/// <summary>What forecasts of a class and model leave out: of the time, in microseconds, and of the cost, in pico-USD.</summary>
internal readonly record struct Corrections(Correction? Time, Correction? Cost);
