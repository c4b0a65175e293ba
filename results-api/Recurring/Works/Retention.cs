using Npgsql;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Recurring.Works;

/// <summary>
/// Removes what has been kept long enough: inputs, outputs and logs of ended jobs, each by its own age, and whole partitions where all of a
/// day is gone. Numbers stay: jobs with their counts and sums, batches, ledger and rollups.
/// </summary>
internal sealed class Retention(NpgsqlDataSource database, RetentionOptions ages, RecurringOptions options, TimeProvider time)
    : IRecurringWork
{
    /// <summary>Jobs of the last days may still be running into their partition.</summary>
    private const int PartitionDaysMin = 2;

    public string Name => "retention";
    public string Purpose =>
        "Removes inputs, outputs and logs of ended jobs that have been kept for as long as their tenant and class has them kept.";
    public Schedule Schedule { get; } = Schedule.Cron("0 22 * * * ?");

    public async Task<IReadOnlyDictionary<string, long>> RunAsync(CancellationToken stop)
    {
        var counts = new Dictionary<string, long>();
        foreach (var kind in Enum.GetValues<RemovalKind>())
        {
            counts[$"jobs_{kind.Name()}"] = await MarkAsync(kind, stop);
        }

        var before = DateOnly.FromDateTime(time.GetUtcNow().UtcDateTime).AddDays(-PartitionDaysMin);
        counts["partitions_dropped"] = (await Partitions.DropRemovedAsync(database, before, stop)).Count;
        foreach (var kind in Enum.GetValues<RemovalKind>())
        {
            counts[$"rows_{kind.Name()}"] = await RemoveAsync(kind, stop);
        }

        counts["rows_logs"] += await RemoveJoblessAsync(stop);
        counts["runs_forgotten"] = await ForgetRunsAsync(stop);
        return counts;
    }

    private async Task<long> MarkAsync(RemovalKind kind, CancellationToken stop)
    {
        var marked = 0L;
        while (true)
        {
            var jobs = await JobRemovals.MarkDueAsync(database, kind, ages.Of(kind), options.StepRowsMax, time.GetUtcNow(), stop);
            marked += jobs;
            if (jobs < options.StepRowsMax)
            {
                return marked;
            }
        }
    }

    private async Task<long> RemoveAsync(RemovalKind kind, CancellationToken stop)
    {
        var removed = 0L;
        while (await JobRemovals.StepAsync(database, kind, null, options.StepRowsMax, stop) is { } rows)
        {
            removed += rows;
        }

        return removed;
    }

    private async Task<long> RemoveJoblessAsync(CancellationToken stop)
    {
        var removed = 0L;
        while (
            await JobRemovals.RemoveJoblessLogsAsync(database, ages.Logs, options.StepRowsMax, time.GetUtcNow(), stop) is > 0 and var rows
        )
        {
            removed += rows;
        }

        return removed;
    }

    private async Task<long> ForgetRunsAsync(CancellationToken stop)
    {
        await using var command = database.CreateCommand("DELETE FROM recurring_runs WHERE ended_at < $1");
        command.Parameters.Add(new NpgsqlParameter<DateTime> { TypedValue = (time.GetUtcNow() - ages.Logs).UtcDateTime });
        return await command.ExecuteNonQueryAsync(stop);
    }
}
