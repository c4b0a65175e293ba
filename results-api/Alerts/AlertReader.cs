using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Jobs;
using Pipeline.ResultsApi.Sla;
using Pipeline.ResultsApi.Sla.Objectives;
using Pipeline.ResultsApi.Webhooks;

namespace Pipeline.ResultsApi.Alerts;

/// <summary>
/// Gathers what a look judges. Minutes and hours are kept from look to look and only the new ones are read, with the last few again: tasks that
/// committed late are added to their minute.
/// </summary>
internal sealed class AlertReader(
    NpgsqlDataSource database,
    Forecasts forecasts,
    ObjectiveSet objectives,
    AlertOptions options,
    TimeProvider time
)
{
    private const int ProbeRunsMax = 120;
    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan Hour = TimeSpan.FromHours(1);
    private static readonly TimeSpan Day = TimeSpan.FromDays(1);

    /// <summary>What is read again of minutes that were read.</summary>
    private static readonly TimeSpan Late = TimeSpan.FromMinutes(5);

    /// <summary>Longer windows hardly change in this time, and are read no more often.</summary>
    private static readonly TimeSpan SlowWindow = TimeSpan.FromHours(6);
    private static readonly TimeSpan[] Lengths = [.. BurnWindows.Defaults.SelectMany(w => (TimeSpan[])[w.Long, w.Short]).Distinct()];
    private static readonly SlaTime[] ObjectiveTimes =
    [
        SlaTime.Queued,
        SlaTime.Device,
        SlaTime.Total,
        SlaTime.FirstResult,
        SlaTime.JobTotal,
    ];
    private static readonly SlaTime[] Times = [SlaTime.Queued, SlaTime.Device, SlaTime.Total, SlaTime.FirstResult];

    private readonly SlaHistory _minutes = new();
    private readonly SlaHistory _hours = new();
    private readonly Dictionary<TimeSpan, (Dictionary<SlaKey, SlaSums> Sums, Dictionary<SlaKey, EventCount> Doors)> _windows = [];
    private DateTimeOffset _minutesUntil = DateTimeOffset.UnixEpoch;
    private DateTimeOffset _hoursUntil = DateTimeOffset.UnixEpoch;
    private DateTimeOffset _windowsAt = DateTimeOffset.UnixEpoch;
    private DateTimeOffset _slowAt = DateTimeOffset.UnixEpoch;

    public async Task<AlertFacts> ReadAsync(CancellationToken stop)
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        var rolledUp = await SlaStore.RolledUpAsync(connection, stop);
        var clock = time.GetUtcNow();
        var now = SlaTables.Floor(SlaGrain.Minute, rolledUp < clock ? rolledUp : clock);
        await ReadMinutesAsync(connection, now, stop);
        await ReadHoursAsync(connection, now, stop);
        await ReadWindowsAsync(connection, now, stop);
        var (open, accepted) = await ReadAlertsAsync(connection, now, stop);
        return new AlertFacts
        {
            Now = now,
            Minutes = _minutes,
            Hours = _hours,
            Objectives = await WatchedAsync(connection, stop),
            Door = await ReadDoorAsync(connection, now, stop),
            Probes = await ReadProbesAsync(connection, stop),
            LateJobs = await ReadLateJobsAsync(connection, clock, stop),
            Open = open,
            Accepted = accepted,
        };
    }

    private async Task ReadMinutesAsync(NpgsqlConnection connection, DateTimeOffset now, CancellationToken stop)
    {
        var first = now - AlertFinder.MinutesBack;
        await ReadAsync(first, now, _minutesUntil - Late);

        // The same time yesterday, and a window's length later and earlier.
        var window = RegressionBounds.Default.Window;
        var (from, to) = (now - Day - (2 * window), now - Day + window);
        await ReadAsync(from, to, _minutesUntil - Day + window - Late);
        _minutes.Forget(DateTimeOffset.MinValue, from);
        _minutes.Forget(to, first);
        _minutesUntil = now;

        async Task ReadAsync(DateTimeOffset start, DateTimeOffset end, DateTimeOffset known)
        {
            var begin = known > start ? known : start;
            _minutes.Forget(begin, end);
            await SlaStore.ReadAsync(
                connection,
                new SlaSpan(SlaGrain.Minute, begin, end),
                null,
                Times,
                (at, key, row) => row.AddTo(_minutes.Of(at, new SeriesKey(key.Class, key.Model))),
                stop
            );
        }
    }

    private async Task ReadHoursAsync(NpgsqlConnection connection, DateTimeOffset now, CancellationToken stop)
    {
        // An hour is read a little after its end, so that what committed late is in it.
        var end = SlaTables.Floor(SlaGrain.Hour, now - Late);
        if (end == _hoursUntil)
        {
            return;
        }

        var first = end - AlertFinder.HoursBack;
        var begin = _hoursUntil > first ? _hoursUntil : first;
        _hours.Forget(begin, end);
        await SlaStore.ReadAsync(
            connection,
            new SlaSpan(SlaGrain.Hour, begin, end),
            null,
            Times,
            (at, key, row) => row.AddTo(_hours.Of(at, new SeriesKey(key.Class, key.Model))),
            stop
        );
        _hours.Forget(DateTimeOffset.MinValue, first);
        _hoursUntil = end;
    }

    private async Task ReadWindowsAsync(NpgsqlConnection connection, DateTimeOffset now, CancellationToken stop)
    {
        if (now == _windowsAt)
        {
            return; // There are several looks a minute, and minutes are whole.
        }

        var slowly = now - _slowAt >= Late;
        foreach (var length in Lengths)
        {
            if (length >= SlowWindow && !slowly)
            {
                continue;
            }

            var sums = new Dictionary<SlaKey, SlaSums>();
            foreach (var span in SlaSpan.Of(now - length, now))
            {
                await SlaStore.ReadAsync(connection, span, null, ObjectiveTimes, (_, key, row) => Add(sums, key, row), stop);
            }

            await using var command = new NpgsqlCommand(
                """
                SELECT tenant, class, model, sum(accepted)::bigint, sum(failed)::bigint
                FROM sla_doors WHERE at >= $1 AND at < $2 GROUP BY 1, 2, 3
                """,
                connection
            );
            command.Parameters.Add(DeliveryQueue.Moment(now - length));
            command.Parameters.Add(DeliveryQueue.Moment(now));
            var doors = new Dictionary<SlaKey, EventCount>();
            await using var reader = await command.ExecuteReaderAsync(stop);
            while (await reader.ReadAsync(stop))
            {
                var latencyClass = LatencyClasses.TryParse(reader.GetString(1), out var known) ? known : LatencyClass.Bulk;
                var (accepted, failed) = (reader.GetInt64(3), reader.GetInt64(4));
                doors[new SlaKey(new TenantId(reader.GetGuid(0)), latencyClass, reader.GetString(2))] = new EventCount(
                    accepted + failed,
                    failed
                );
            }

            _windows[length] = (sums, doors);
        }

        (_windowsAt, _slowAt) = (now, slowly ? now : _slowAt);

        static void Add(Dictionary<SlaKey, SlaSums> sums, SlaKey key, SlaRowReader row)
        {
            if (!sums.TryGetValue(key, out var sum))
            {
                sums[key] = sum = new SlaSums();
            }

            row.AddTo(sum);
        }
    }

    /// <summary>The objectives of the OpenSLO files. Callbacks have no sums by class here, and are watched by the reports alone.</summary>
    private async Task<List<WatchedObjective>> WatchedAsync(NpgsqlConnection connection, CancellationToken stop)
    {
        var names = new Dictionary<TenantId, string>();
        await using (var command = new NpgsqlCommand("SELECT id, name FROM tenants", connection))
        {
            await using var reader = await command.ExecuteReaderAsync(stop);
            while (await reader.ReadAsync(stop))
            {
                names[new TenantId(reader.GetGuid(0))] = reader.GetString(1);
            }
        }

        return
        [
            .. objectives
                .All.Where(o => o.Indicator != Indicator.Callbacks)
                .Select(o => new WatchedObjective(LabelsOf(o), o.Target, length => Count(o, length, names))),
        ];
    }

    private EventCount Count(Objective objective, TimeSpan length, Dictionary<TenantId, string> names)
    {
        var count = default(EventCount);
        var (sums, doors) = _windows[length];
        if (objective.Indicator == Indicator.Requests)
        {
            foreach (var (key, answered) in doors)
            {
                count += objective.Covers(key.Class, names.GetValueOrDefault(key.Tenant, ""), key.Model) ? answered : default;
            }

            return count;
        }

        foreach (var (key, sum) in sums)
        {
            if (objective.Covers(key.Class, names.GetValueOrDefault(key.Tenant, ""), key.Model))
            {
                var (good, total) = objective.Count(sum);
                count += new EventCount(total, total - good);
            }
        }

        return count;
    }

    private static Dictionary<string, string> LabelsOf(Objective objective)
    {
        var labels = new Dictionary<string, string> { ["slo"] = objective.Slo, ["objective"] = objective.Name };
        foreach (
            var (name, value) in new[] { ("class", objective.Class?.Name()), ("model", objective.Model), ("tenant", objective.Tenant) }
        )
        {
            if (value is not null)
            {
                labels[name] = value;
            }
        }

        return labels;
    }

    private static async Task<DoorCount> ReadDoorAsync(NpgsqlConnection connection, DateTimeOffset now, CancellationToken stop)
    {
        await using var command = new NpgsqlCommand(
            "SELECT coalesce(sum(accepted), 0)::bigint, coalesce(sum(failed), 0)::bigint FROM sla_doors WHERE at >= $1",
            connection
        );
        command.Parameters.Add(DeliveryQueue.Moment(now - (5 * Minute)));
        await using var reader = await command.ExecuteReaderAsync(stop);
        await reader.ReadAsync(stop);
        return new DoorCount(reader.GetInt64(0), reader.GetInt64(1));
    }

    private static async Task<List<ProbeFacts>> ReadProbesAsync(NpgsqlConnection connection, CancellationToken stop)
    {
        await using var command = new NpgsqlCommand(
            """
            SELECT p.name, p.model, r.outcome, r.detail
            FROM probes p CROSS JOIN LATERAL (SELECT * FROM probe_runs WHERE probe = p.name ORDER BY id DESC LIMIT $1) r
            WHERE p.enabled ORDER BY p.name, r.id DESC
            """,
            connection
        );
        command.Parameters.Add(new() { Value = ProbeRunsMax });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var probes = new List<ProbeFacts>();
        var runs = new List<(string, string?)>();
        while (await reader.ReadAsync(stop))
        {
            if (probes.LastOrDefault()?.Probe != reader.GetString(0))
            {
                runs = [];
                probes.Add(new ProbeFacts(reader.GetString(0), reader.GetString(1), runs));
            }

            runs.Add((reader.GetString(2), reader.IsDBNull(3) ? null : reader.GetString(3)));
        }

        return probes;
    }

    private async Task<List<LateJob>> ReadLateJobsAsync(NpgsqlConnection connection, DateTimeOffset now, CancellationToken stop)
    {
        var forecast = forecasts.Fresh;
        await using var command = new NpgsqlCommand(
            JobViews.SelectFrom(
                """
                (SELECT * FROM jobs WHERE finished_at IS NULL AND state IN ('queued', 'running') AND NOT paused ORDER BY deadline, id LIMIT $1)
                """
            ),
            connection
        );
        command.Parameters.Add(new() { Value = options.JobsMax });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var late = new List<LateJob>();
        while (await reader.ReadAsync(stop))
        {
            var job = JobViews.Read(reader);
            if (PredictedEnd.Of(job, forecast, now) is { } end && end > job.Deadline)
            {
                late.Add(new LateJob(job.Id, new SeriesKey(job.Class, job.Model.ToString()), job.Deadline, end));
            }
        }

        return late;
    }

    private static async Task<(Dictionary<string, DateTimeOffset> Open, Dictionary<string, DateTimeOffset> Accepted)> ReadAlertsAsync(
        NpgsqlConnection connection,
        DateTimeOffset now,
        CancellationToken stop
    )
    {
        await using var command = new NpgsqlCommand(
            """
            SELECT fingerprint, since, NULL::timestamptz FROM alerts WHERE state <> 'resolved'
            UNION ALL
            SELECT fingerprint, NULL, max(resolved_at) FROM alerts WHERE state = 'resolved' AND by_hand AND resolved_at > $1 GROUP BY fingerprint
            """,
            connection
        );
        command.Parameters.Add(DeliveryQueue.Moment(now - AlertFinder.HoursBack - Hour));
        await using var reader = await command.ExecuteReaderAsync(stop);
        var (open, accepted) = (new Dictionary<string, DateTimeOffset>(), new Dictionary<string, DateTimeOffset>());
        while (await reader.ReadAsync(stop))
        {
            if (reader.IsDBNull(1))
            {
                accepted[reader.GetString(0)] = reader.GetFieldValue<DateTimeOffset>(2);
            }
            else
            {
                open[reader.GetString(0)] = reader.GetFieldValue<DateTimeOffset>(1);
            }
        }

        return (open, accepted);
    }
}
