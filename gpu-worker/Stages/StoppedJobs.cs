using Microsoft.Extensions.Logging;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.GpuWorker.Stages;

/// <summary>
/// Which jobs of a dispatch may not go on. Asked before every batch in which a job has a budget, and only then: each of those is committed
/// before the next is packed, so a worker runs one batch at most after the budget is used up.
/// </summary>
internal sealed class StoppedJobs(WorkerParts parts, ILogger log)
{
    /// <summary>For every slice whose job has a budget and was stopped: why its tasks do not run.</summary>
    public async Task<Dictionary<JobId, TaskFailure>> AskAsync(DispatchRun run, CancellationToken stop)
    {
        Dictionary<JobId, TaskFailure> stopped = [];
        await Patience.UntilAsync(async token => stopped = await ReadAsync(run, token), parts, log, stop);
        return stopped;
    }

    private async Task<Dictionary<JobId, TaskFailure>> ReadAsync(DispatchRun run, CancellationToken stop)
    {
        await using var command = parts.Database.CreateCommand(
            "SELECT id, cancel_reason IS NOT NULL FROM jobs WHERE id = ANY ($1) AND state NOT IN ('queued', 'running')"
        );
        var jobs = run.Slices.Where(s => s.HasBudget).Select(s => s.Slice.Job.Value).Distinct().ToArray();
        command.Parameters.Add(new() { Value = jobs, NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Uuid });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var stopped = new Dictionary<JobId, TaskFailure>();
        while (await reader.ReadAsync(stop))
        {
            stopped[new JobId(reader.GetGuid(0))] = reader.GetBoolean(1)
                ? new TaskFailure(FailureKind.BudgetExceeded, "The job came to its budget before this task ran.")
                : new TaskFailure(FailureKind.Cancelled, "The job was cancelled before this task ran.");
        }

        return stopped;
    }
}
