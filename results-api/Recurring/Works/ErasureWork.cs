using Npgsql;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Recurring.Works;

/// <summary>
/// Carries out erasures, the oldest first, in steps that commit by themselves: takes the jobs on (from then on nobody sees their data),
/// removes the rows, then what lies beside the jobs, and finishes. What cannot be done yet is left to the next run.
/// </summary>
internal sealed class ErasureWork(NpgsqlDataSource database, RecurringOptions options, TimeProvider time) : IRecurringWork
{
    /// <summary>The work's name, by which a request has it run at once.</summary>
    public const string WorkName = "erasures";

    /// <summary>A job that ended just now is in the rollups a second later, as a rule; that is waited for.</summary>
    private const int LooksMax = 20;
    private static readonly TimeSpan LookPause = TimeSpan.FromMilliseconds(250);

    public string Name => WorkName;
    public string Purpose => "Erases the data of jobs and tenants that was asked to be erased.";
    public Schedule Schedule { get; } = Schedule.Every(TimeSpan.FromMinutes(1));

    public async Task<IReadOnlyDictionary<string, long>> RunAsync(CancellationToken stop)
    {
        var (jobs, rows, finished) = (0L, 0L, 0L);
        foreach (var erasure in await Erasures.ReadOpenAsync(database, stop))
        {
            var (taken, all) = await TakeAsync(erasure, stop);
            jobs += taken;
            rows += await RemoveAsync(erasure, stop);
            if (all && await Erasures.FinishAsync(database, erasure.Id, time.GetUtcNow(), stop))
            {
                finished++;
            }
        }

        return new Dictionary<string, long>
        {
            ["jobs"] = jobs,
            ["rows"] = rows,
            ["finished"] = finished,
        };
    }

    /// <summary>True when all jobs of the erasure are taken on.</summary>
    private async Task<(long Jobs, bool All)> TakeAsync(Erasure erasure, CancellationToken stop)
    {
        var jobs = 0L;
        for (var looks = 0; looks < LooksMax; )
        {
            var (taken, more) = await Erasures.TakeAsync(database, erasure, options.StepJobsMax, time.GetUtcNow(), stop);
            jobs += taken;
            if (!more)
            {
                return (jobs, true);
            }

            if (taken == 0)
            {
                looks++;
                await Task.Delay(LookPause, time, stop);
            }
        }

        return (jobs, false);
    }

    private async Task<long> RemoveAsync(Erasure erasure, CancellationToken stop)
    {
        var removed = 0L;
        foreach (var kind in Enum.GetValues<RemovalKind>())
        {
            while (await JobRemovals.StepAsync(database, kind, erasure.Id, options.StepRowsMax, stop) is { } rows)
            {
                removed += rows;
            }
        }

        while (await Erasures.RemoveBesideAsync(database, erasure, options.StepRowsMax, stop) is > 0 and var rows)
        {
            removed += rows;
        }

        return removed;
    }
}
