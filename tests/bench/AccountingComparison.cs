using System.Diagnostics;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.GpuWorker;
using Pipeline.GpuWorker.Stages;
using Pipeline.Tests.Support;

namespace Pipeline.Bench;

/// <summary>
/// <c>bulk --accounting</c>: what the books cost. The product has no switch that leaves them out, and shall have none: who set it by mistake would
/// lose what cannot be had again. So the bench takes them out of its own private database: triggers let PostgreSQL drop the rows of
/// <c>ledger</c> and <c>batches</c> before they are written, with all that hangs on them (indexes, log, rollups, vacuum). What is left of
/// accounting then is the worker's arithmetic, which splits each batch's cost over its tasks; that is timed by itself, on one core, and added
/// as if nothing ran beside it.
/// </summary>
internal static class AccountingComparison
{
    private static readonly string[] Tables = ["ledger", "batches"];

    public static async Task<int> RunAsync(int tasks, int pairs, CancellationToken stop)
    {
        await using var without = await BulkPairs.StartAsync(null, stop);
        await DropRowsAsync(without.Storage, stop);
        await using var with = await BulkPairs.StartAsync(null, stop);
        var measured = await new BulkPairs(without, with, tasks, pairs).RunAsync(stop);
        var rows = BulkPairs.OverheadPct(measured);
        var bookingNs = BookingNsPerTask(await RowsPerBatchAsync(with.Storage, stop));
        var booking = BulkPairs.Median(measured.Select(m => 100 * bookingNs * m.On.Rate / 1e9));
        Figures.Report(
            new
            {
                benchmark = "bulk-accounting",
                accounting_overhead_pct = Math.Round(rows + booking, 2),
                rows_overhead_pct = rows,
                booking_pct = booking,
                booking_ns_per_task = Math.Round(bookingNs, 1),
                cpu_overhead_pct = BulkPairs.CpuOverheadPct(measured, static job => job.AllCpuUs),
                postgres_cpu_overhead_pct = BulkPairs.CpuOverheadPct(measured, static job => job.CpuUs["postgres"]),
                tasks_per_s = measured.Select(m => new { off = Math.Round(m.Off.Rate), on = Math.Round(m.On.Rate) }),
                settings = new
                {
                    tasks,
                    pairs,
                    cores = Environment.ProcessorCount,
                    durability = await Figures.DurabilityAsync(with, stop),
                },
            }
        );
        return 0;
    }

    private static async Task DropRowsAsync(NpgsqlDataSource storage, CancellationToken stop)
    {
        var triggers = Tables.Select(table =>
            $"CREATE TRIGGER bench_drop BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION bench_drop();"
        );
        await using var command = storage.CreateCommand(
            "CREATE FUNCTION bench_drop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';" + string.Concat(triggers)
        );
        await command.ExecuteNonQueryAsync(stop);
    }

    private static async Task<int> RowsPerBatchAsync(NpgsqlDataSource storage, CancellationToken stop)
    {
        await using var command = storage.CreateCommand("SELECT coalesce(round(avg(rows)), 1)::int FROM batches");
        return (int)(await command.ExecuteScalarAsync(stop))!;
    }

    /// <summary>Nanoseconds a task to split batches of that size, each of texts of all lengths, and to sum them up.</summary>
    private static double BookingNsPerTask(int rows)
    {
        const int Batches = 20_000;
        var random = new Random(1);
        var units = Enumerable.Range(0, rows).Select(_ => (long)random.Next(10, 90)).ToArray();
        var prices = new DevicePrices(new PriceStep(0, Cost.PicoPerUsd));
        var watch = new Stopwatch();

        // The first half warms.
        for (var i = 0; i < 2 * Batches; i++)
        {
            if (i == Batches)
            {
                watch.Start();
            }

            var span = new DeviceSpan(SpanKind.Batch, i * 1_000_000L, ((i + 1) * 1_000_000L) - 1);
            new BatchBooking(span, units, 90L * rows, prices, SplitMethod.Units).AddTo(new LedgerSums(), _ => true);
        }

        return watch.Elapsed.TotalNanoseconds / Batches / rows;
    }
}
