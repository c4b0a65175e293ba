using System.Globalization;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Layout;
using Pipeline.ResultsApi.Jobs;

namespace Pipeline.ResultsApi.Dashboard.TradeOff;

/// <summary>Batches of about one size, as they were measured.</summary>
/// <param name="Rows">Mean tasks of a batch.</param>
public sealed record MeasuredSize(double Rows, long Batches, TimeSpan BatchTime, double Throughput, decimal PicoPerThousand);

/// <summary>What was asked: which pool and model, and what if.</summary>
public sealed record TradeOffQuery(double BatchTimeMs, int Workers, decimal PriceOfHour, double TasksPerSecond);

/// <summary>Where a pool stands between throughput and interactivity with a model, and what moving along that curve would cost.</summary>
internal static class TradeOffPages
{
    private static readonly TimeSpan Window = TimeSpan.FromHours(24);

    /// <summary>The time cap that the question begins with, where the forecast does not tell the policy's own.</summary>
    private static readonly TimeSpan BatchTimeDefault = TimeSpan.FromMilliseconds(250);

    /// <summary>Batches looked at, the newest.</summary>
    private const int BatchesMax = 20_000;

    public static void MapTradeOff(this IEndpointRouteBuilder pages) => pages.MapGet("/trade-off", ShowAsync);

    private static async Task<IResult> ShowAsync(
        HttpContext http,
        NpgsqlDataSource database,
        Forecasts forecasts,
        DashboardOptions options,
        TimeProvider time
    )
    {
        var told = forecasts.Fresh?.Pools ?? [];
        var query = http.Request.Query;
        var chosen =
            told.FirstOrDefault(p => p.Pool == query["pool"] && p.Model.ToString() == query["model"])
            ?? await LastUsedAsync(database, told, http.RequestAborted);
        if (chosen is null)
        {
            return http.Page<TradeOffPage>(new { Known = told });
        }

        var (sizes, perTask) = await MeasuredAsync(database, chosen, time.GetUtcNow() - Window, options, http.RequestAborted);
        var curve = new BatchCurve(chosen, perTask ?? 32);
        var now = await ThroughputAsync(database, chosen, time.GetUtcNow(), options, http.RequestAborted);
        var asked = new TradeOffQuery(
            Number("batch_ms", Math.Round((chosen.BulkBatchTimeMax ?? BatchTimeDefault).TotalMilliseconds, 2), 0.01, 600_000),
            (int)Number("workers", Math.Max(1, chosen.Workers), 1, 100_000),
            (decimal)Number("price", (double)(chosen.PricePerHourPico ?? 0) / Cost.PicoPerUsd, 0, 100_000),
            Number("arrivals", Math.Round(now.Rate, 1), 0, 1e9)
        );
        return http.Page<TradeOffPage>(
            new
            {
                Known = told,
                Chosen = chosen,
                Curve = curve,
                Sizes = sizes,
                NowRows = now.Rows,
                NowRate = now.Rate,
                Asked = asked,
                Answer = WhatIf.Of(
                    curve,
                    TimeSpan.FromMilliseconds(asked.BatchTimeMs),
                    asked.Workers,
                    (double)asked.PriceOfHour * Cost.PicoPerUsd,
                    asked.TasksPerSecond
                ),
            }
        );

        double Number(string name, double otherwise, double min, double max) =>
            double.TryParse(query[name], NumberStyles.Float, CultureInfo.InvariantCulture, out var value) && double.IsFinite(value)
                ? Math.Clamp(value, min, max)
                : otherwise;
    }

    /// <summary>What ran last, to begin with; the first where nothing has run yet.</summary>
    private static async Task<PoolForecast?> LastUsedAsync(
        NpgsqlDataSource database,
        IReadOnlyList<PoolForecast> told,
        CancellationToken stop
    )
    {
        await using var command = database.CreateCommand(
            "SELECT w.pool, b.model FROM batches b JOIN workers w ON w.id = b.worker ORDER BY b.id DESC LIMIT 1"
        );
        await using var reader = await command.ExecuteReaderAsync(stop);
        var (pool, model) = await reader.ReadAsync(stop) ? (reader.GetString(0), reader.GetString(1)) : ("", "");
        return told.FirstOrDefault(p => p.Pool == pool && p.Model.ToString() == model) ?? (told.Count > 0 ? told[0] : null);
    }

    /// <summary>The newest batches, by powers of two of their tasks; and the units of a task, padding being in the forecast's β.</summary>
    private static async Task<(List<MeasuredSize> Sizes, double? UnitsPerTask)> MeasuredAsync(
        NpgsqlDataSource database,
        PoolForecast pool,
        DateTimeOffset since,
        DashboardOptions options,
        CancellationToken stop
    )
    {
        await using var command = Command(
            database,
            options,
            $"""
            SELECT avg(rows)::float8, count(*), avg(device_ns)::float8, sum(rows)::float8 / greatest(sum(device_ns), 1) * 1e9,
                   sum(cost_pico) * 1000 / sum(rows), sum(units)::float8, sum(rows)::float8
            FROM (
              SELECT b.rows, b.device_ns, b.cost_pico, b.units FROM batches b JOIN workers w ON w.id = b.worker
              WHERE b.id >= $1 AND b.model = $2 AND w.pool = $3 ORDER BY b.id DESC LIMIT {BatchesMax}
            ) b
            GROUP BY floor(log(2, rows)) ORDER BY 1
            """,
            pool,
            since
        );
        await using var reader = await command.ExecuteReaderAsync(stop);
        var sizes = new List<MeasuredSize>();
        var (units, rows) = (0.0, 0.0);
        while (await reader.ReadAsync(stop))
        {
            (units, rows) = (units + reader.GetDouble(5), rows + reader.GetDouble(6));
            sizes.Add(
                new MeasuredSize(
                    reader.GetDouble(0),
                    reader.GetInt64(1),
                    TimeSpan.FromMicroseconds(reader.GetDouble(2) / 1000),
                    reader.GetDouble(3),
                    reader.GetDecimal(4)
                )
            );
        }

        return (sizes, rows > 0 ? units / rows : null);
    }

    /// <summary>Tasks a second, and mean tasks a batch, over the last five minutes: where the pool stands.</summary>
    private static async Task<(double Rate, double? Rows)> ThroughputAsync(
        NpgsqlDataSource database,
        PoolForecast pool,
        DateTimeOffset now,
        DashboardOptions options,
        CancellationToken stop
    )
    {
        var window = TimeSpan.FromMinutes(5);
        await using var command = Command(
            database,
            options,
            """
            SELECT coalesce(sum(b.rows), 0)::float8, avg(b.rows)::float8 FROM batches b JOIN workers w ON w.id = b.worker
            WHERE b.id >= $1 AND b.model = $2 AND w.pool = $3
            """,
            pool,
            now - window
        );
        await using var reader = await command.ExecuteReaderAsync(stop);
        await reader.ReadAsync(stop);
        return (reader.GetDouble(0) / window.TotalSeconds, reader.IsDBNull(1) ? null : reader.GetDouble(1));
    }

    private static NpgsqlCommand Command(
        NpgsqlDataSource database,
        DashboardOptions options,
        string sql,
        PoolForecast pool,
        DateTimeOffset since
    )
    {
        var command = database.CreateCommand(options, sql);
        command.Parameters.Add(new() { Value = Partitions.LowerBound(since) });
        command.Parameters.Add(new() { Value = pool.Model.ToString() });
        command.Parameters.Add(new() { Value = pool.Pool });
        return command;
    }
}
