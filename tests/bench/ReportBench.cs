using System.CommandLine;
using System.Diagnostics;
using System.Text.Json;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Sla;
using Pipeline.ResultsApi.Sla.Objectives;
using Pipeline.Standalone;

namespace Pipeline.Bench;

internal sealed record ReportSettings
{
    /// <summary>Tasks of the month, and raw rows of the query beside it.</summary>
    public long Tasks { get; init; } = 50_000_000;
    public int RawTasks { get; init; } = 2_000_000;
    public int Days { get; init; } = 30;
    public int Tenants { get; init; } = 20;
    public int Models { get; init; } = 10;

    /// <summary>In how many minutes of an hour a tenant's class and model has tasks, on average.</summary>
    public double ActiveMinutes { get; init; } = 1.7;
    public int Rounds { get; init; } = 3;
}

/// <summary>
/// <c>report</c>: a month of synthetic history by the minute (with its hours and days) of 20 tenants, 10 models and 3 classes, and reports of it: all keys,
/// all objectives, every period, as JSON. In UTC, and in a zone whose days begin within one of UTC. Beside it the same percentiles from raw rows, of
/// as many as is feasible.
/// </summary>
internal static class ReportBench
{
    private static readonly DateTimeOffset Start = new(2026, 9, 1, 0, 0, 0, TimeSpan.Zero);

    public static Command Create()
    {
        var usual = new ReportSettings();
        var tasks = new Option<long>("--tasks") { Description = "Tasks of the month", DefaultValueFactory = _ => usual.Tasks };
        var raw = new Option<int>("--raw-tasks")
        {
            Description = "Raw rows of the query beside it",
            DefaultValueFactory = _ => usual.RawTasks,
        };
        var command = new Command("report", "An SLA report of a month of minute histograms, and the same query over raw rows.")
        {
            tasks,
            raw,
        };
        command.SetAction((parsed, stop) => RunAsync(usual with { Tasks = parsed.GetValue(tasks), RawTasks = parsed.GetValue(raw) }, stop));
        return command;
    }

    public static async Task<int> RunAsync(ReportSettings settings, CancellationToken stop)
    {
        var folder = TemporaryFolder.Create("pipeline-bench-report-");
        try
        {
            await using var postgres = await PrivatePostgres.StartAsync(
                new PrivatePostgresOptions { Folder = Path.Combine(folder, "postgres") },
                NullLogger.Instance,
                stop
            );
            await Migrator.MigrateAsync(postgres.ConnectionString, NullLogger.Instance, TimeSpan.FromSeconds(60), stop);
            await using var storage = NpgsqlDataSource.Create(
                new NpgsqlConnectionStringBuilder(postgres.ConnectionString) { CommandTimeout = 0 }
            );
            return await MeasureAsync(storage, settings, stop);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<int> MeasureAsync(NpgsqlDataSource storage, ReportSettings settings, CancellationToken stop)
    {
        var clock = Stopwatch.StartNew();
        var history = new History(storage, settings);
        var rows = await history.WriteAsync(stop);
        Figures.Say($"{rows:N0} minute rows of {history.Tasks:N0} tasks in {clock.Elapsed.TotalSeconds:F0} s");

        var options = new SlaOptions();
        using var reports = new SlaReports(
            storage,
            new ReportReader(storage, options),
            ObjectiveSet.Read(options.ObjectivesFolder),
            options,
            TimeProvider.System
        );
        var (utc, bytes) = await ReportAsync(reports, history, "UTC", stop);
        var (berlin, _) = await ReportAsync(reports, history, "Europe/Berlin", stop);
        await history.WriteRawAsync(stop);
        var raw = await RawAsync(storage, stop);
        Figures.Report(
            new
            {
                benchmark = "report",
                seconds = Math.Round(utc, 3),
                seconds_berlin = Math.Round(berlin, 3),
                raw_seconds = Math.Round(raw, 3),
                raw_tasks = settings.RawTasks,
                tasks = history.Tasks,
                minute_rows = rows,
                report_bytes = bytes,
                cores = Environment.ProcessorCount,
            }
        );
        return 0;
    }

    /// <summary>The median of the rounds, after one that warms everything up.</summary>
    private static async Task<(double Seconds, int Bytes)> ReportAsync(
        SlaReports reports,
        History history,
        string zone,
        CancellationToken stop
    )
    {
        var window = new ReportWindow(
            Start,
            Start.AddDays(history.Days),
            ReportCalendar.Zone(zone)!,
            CalendarUnit.Day,
            ByClass: true,
            ByTenant: true,
            ByModel: true
        );
        var (seconds, bytes) = (new List<double>(), 0);
        for (var round = 0; round <= history.Rounds; round++)
        {
            var clock = Stopwatch.StartNew();
            var report = await reports.TryMakeAsync(window, tenant: null, stop);
            bytes = JsonSerializer.SerializeToUtf8Bytes(report, ApiJson.Options).Length;
            var tasks = report!.Rows.Sum(r => r.Succeeded);
            Figures.Say($"{zone}: {clock.Elapsed.TotalSeconds:F3} s, {report.Rows.Count} rows, {tasks:N0} tasks, {bytes:N0} bytes");
            if (tasks != history.Tasks)
            {
                throw new InvalidOperationException($"The report has {tasks} tasks, {history.Tasks} were written.");
            }

            if (round > 0)
            {
                seconds.Add(clock.Elapsed.TotalSeconds);
            }
        }

        return (seconds.Order().ElementAt(seconds.Count / 2), bytes);
    }

    private static async Task<double> RawAsync(NpgsqlDataSource storage, CancellationToken stop)
    {
        var clock = Stopwatch.StartNew();
        await using var command = storage.CreateCommand(
            """
            SELECT j.class, j.tenant, r.model, count(*), sum(r.cost_pico),
                   percentile_disc(ARRAY[0.5, 0.9, 0.95, 0.99, 0.999]) WITHIN GROUP (ORDER BY r.queued_us),
                   percentile_disc(ARRAY[0.5, 0.9, 0.95, 0.99, 0.999]) WITHIN GROUP (ORDER BY r.device_us),
                   percentile_disc(ARRAY[0.5, 0.9, 0.95, 0.99, 0.999]) WITHIN GROUP (ORDER BY r.total_us)
            FROM results r JOIN jobs j ON j.id = r.job GROUP BY 1, 2, 3
            """
        );
        await using var reader = await command.ExecuteReaderAsync(stop);
        var groups = 0;
        while (await reader.ReadAsync(stop))
        {
            groups++;
        }

        Figures.Say($"raw rows: {clock.Elapsed.TotalSeconds:F3} s, {groups} groups");
        return clock.Elapsed.TotalSeconds;
    }

    /// <summary>The month, written in order of time as the rollups would.</summary>
    private sealed class History(NpgsqlDataSource storage, ReportSettings settings)
    {
        private readonly Random _random = new(1);
        private readonly List<SlaKey> _keys = [];

        public long Tasks { get; private set; }
        public int Days => settings.Days;
        public int Rounds => settings.Rounds;

        public async Task<long> WriteAsync(CancellationToken stop)
        {
            for (var i = 0; i < settings.Tenants; i++)
            {
                var tenant = await Tenants.EnsureAsync(storage, $"tenant-{i:00}", stop);
                _keys.AddRange(
                    LatencyClasses.Defaults.Keys.SelectMany(c =>
                        Enumerable.Range(0, settings.Models).Select(m => new SlaKey(tenant, c, $"model-{m}@1.0.0"))
                    )
                );
            }

            var rows = 0L;
            await using var minutes = await Copy.StartAsync(storage, SlaGrain.Minute, stop);
            await using var hours = await Copy.StartAsync(storage, SlaGrain.Hour, stop);
            await using var days = await Copy.StartAsync(storage, SlaGrain.Day, stop);
            var perMinute = settings.Tasks / (_keys.Count * settings.Days * 24 * settings.ActiveMinutes);
            for (var day = Start; day < Start.AddDays(settings.Days); day = day.AddDays(1))
            {
                var ofDay = _keys.ToDictionary(key => key, _ => new SlaSums());
                for (var hour = day; hour < day.AddDays(1); hour = hour.AddHours(1))
                {
                    var ofHour = new Dictionary<SlaKey, SlaSums>();
                    for (var minute = hour; minute < hour.AddHours(1); minute = minute.AddMinutes(1))
                    {
                        foreach (var key in _keys.Where(_ => _random.NextDouble() < settings.ActiveMinutes / 60))
                        {
                            var sums = Minute(key, perMinute);
                            (ofHour.TryGetValue(key, out var found) ? found : ofHour[key] = new SlaSums()).Add(sums);
                            await minutes.WriteAsync(minute, key, sums, stop);
                            rows++;
                        }
                    }

                    foreach (var (key, sums) in ofHour)
                    {
                        ofDay[key].Add(sums);
                        await hours.WriteAsync(hour, key, sums, stop);
                    }
                }

                foreach (var (key, sums) in ofDay)
                {
                    await days.WriteAsync(day, key, sums, stop);
                }
            }

            await minutes.CompleteAsync(stop);
            await hours.CompleteAsync(stop);
            await days.CompleteAsync(stop);
            foreach (var table in new[] { "sla_minutes", "sla_hours", "sla_days" })
            {
                await using var vacuum = storage.CreateCommand($"VACUUM ANALYZE {table}");
                await vacuum.ExecuteNonQueryAsync(stop);
            }

            return rows;
        }

        /// <summary>Results as workers write them: a job for each key, ended by plain rows.</summary>
        public async Task WriteRawAsync(CancellationToken stop)
        {
            var each = settings.RawTasks / _keys.Count;
            await using var connection = await storage.OpenConnectionAsync(stop);
            var jobs = new Dictionary<SlaKey, JobId>();
            foreach (var key in _keys)
            {
                jobs[key] = JobId.New(DateTimeOffset.UtcNow);
                await using var insert = new NpgsqlCommand(
                    """
                    INSERT INTO jobs (id, tenant, model, model_version, class, state, tasks, deadline, created_at, queued_at, started_at, finished_at,
                                      succeeded, failed, expired, cancelled, cost_pico)
                    VALUES ($1, $2, $3, '1.0.0', $4, 'completed', $5, now(), now(), now(), now(), now(), $5, 0, 0, 0, 0)
                    """,
                    connection
                );
                insert.Parameters.Add(new() { Value = jobs[key].Value });
                insert.Parameters.Add(new() { Value = key.Tenant.Value });
                insert.Parameters.Add(new() { Value = key.Model.Split('@')[0] });
                insert.Parameters.Add(new() { Value = key.Class.Name() });
                insert.Parameters.Add(new() { Value = each });
                await insert.ExecuteNonQueryAsync(stop);
            }

            await using (
                var copy = await connection.BeginBinaryImportAsync(
                    """
                    COPY results (job, seq, chunk, custom_id, status, output, content_type, model, turns, cost_pico, units, queued_us, staged_us,
                                  device_us, total_us, finished_at) FROM STDIN (FORMAT BINARY)
                    """,
                    stop
                )
            )
            {
                var output = "{\"labels\":[{\"label\":\"en\",\"score\":0.98}]}"u8.ToArray();
                foreach (var (key, job) in jobs)
                {
                    for (var seq = 0; seq < each; seq++)
                    {
                        var (queued, staged, device, total) = Times(key.Class);
                        await copy.StartRowAsync(stop);
                        await copy.WriteAsync(job.Value, stop);
                        await copy.WriteAsync(seq, stop);
                        await copy.WriteAsync(seq / 512, stop);
                        await copy.WriteAsync($"t-{seq}", stop);
                        await copy.WriteAsync("succeeded", stop);
                        await copy.WriteAsync(output, stop);
                        await copy.WriteAsync("application/json", stop);
                        await copy.WriteAsync(key.Model, stop);
                        await copy.WriteAsync((short)1, stop);
                        await copy.WriteAsync(500L, stop);
                        await copy.WriteAsync(12, stop);
                        await copy.WriteAsync(queued, stop);
                        await copy.WriteAsync((int)staged, stop);
                        await copy.WriteAsync((int)device, stop);
                        await copy.WriteAsync(total, stop);
                        await copy.WriteAsync(Start.UtcDateTime, NpgsqlDbType.TimestampTz, stop);
                    }
                }

                await copy.CompleteAsync(stop);
            }

            await using var vacuum = new NpgsqlCommand("VACUUM ANALYZE results", connection);
            await vacuum.ExecuteNonQueryAsync(stop);
        }

        /// <summary>Some tasks in batches of a few, whose times they share; one job.</summary>
        private SlaSums Minute(SlaKey key, double mean)
        {
            var sums = new SlaSums();
            var left = (int)Math.Max(1, Math.Round(mean * (0.5 + _random.NextDouble())));
            Tasks += left;
            sums[SlaCount.Succeeded] = left;
            sums[SlaCount.Ran] = left;
            sums[SlaCount.Units] = left * 12;
            sums[SlaCount.PaddedUnits] = left * 13;
            sums[SlaCount.CostPico] = left * 500;
            while (left > 0)
            {
                var batch = Math.Min(left, key.Class == LatencyClass.Express ? 2 : 16);
                var (queued, staged, device, total) = Times(key.Class);
                sums.AddSucceeded(key.Class, batch, queued, staged, device, total);
                sums[SlaCount.BatchRows] += batch * batch;
                left -= batch;
            }

            sums.AddJob(key.Class, completed: true, firstResultUs: 20_000, totalUs: 400_000);
            return sums;
        }

        private (long Queued, long Staged, long Device, long Total) Times(LatencyClass latencyClass)
        {
            double Draw(double median) =>
                median * Math.Exp(0.8 * Math.Sqrt(-2 * Math.Log(1 - _random.NextDouble())) * Math.Cos(2 * Math.PI * _random.NextDouble()));
            var queued = (long)Draw(
                latencyClass switch
                {
                    LatencyClass.Express => 8_000,
                    LatencyClass.Standard => 2_000_000,
                    _ => 300_000_000,
                }
            );
            var (staged, device, writing) = ((long)Draw(900), (long)Draw(5_000), (long)Draw(12_000));
            return (queued, staged, device, queued + staged + device + writing);
        }
    }

    /// <summary>A table of sums, filled as it comes.</summary>
    private sealed class Copy(NpgsqlConnection connection, NpgsqlBinaryImporter importer) : IAsyncDisposable
    {
        public static async Task<Copy> StartAsync(NpgsqlDataSource storage, SlaGrain grain, CancellationToken stop)
        {
            var connection = await storage.OpenConnectionAsync(stop);
            var importer = await connection.BeginBinaryImportAsync(
                $"COPY {SlaTables.Name(grain)} (at, tenant, class, model, {string.Join(", ", SlaTables.Columns)}) FROM STDIN (FORMAT BINARY)",
                stop
            );
            return new Copy(connection, importer);
        }

        public async Task WriteAsync(DateTimeOffset at, SlaKey key, SlaSums sums, CancellationToken stop)
        {
            await importer.StartRowAsync(stop);
            await importer.WriteAsync(at.UtcDateTime, NpgsqlDbType.TimestampTz, stop);
            await importer.WriteAsync(key.Tenant.Value, stop);
            await importer.WriteAsync(key.Class.Name(), stop);
            await importer.WriteAsync(key.Model, stop);
            foreach (var count in SlaSums.Counts)
            {
                await importer.WriteAsync(sums[count], stop);
            }

            foreach (var time in SlaSums.Times)
            {
                await importer.WriteAsync(sums[time].ToBytes(), stop);
            }
        }

        public async Task CompleteAsync(CancellationToken stop) => await importer.CompleteAsync(stop);

        public async ValueTask DisposeAsync()
        {
            await importer.DisposeAsync();
            await connection.DisposeAsync();
        }
    }
}
