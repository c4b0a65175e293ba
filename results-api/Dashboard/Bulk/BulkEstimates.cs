using System.Collections.Concurrent;
using Pipeline.Contracts;
using Pipeline.ResultsApi.Dashboard.Jobs;
using Pipeline.ResultsApi.Jobs;

namespace Pipeline.ResultsApi.Dashboard.Bulk;

/// <summary>What another class or deadline would mean for jobs, as far as ingest was asked. Sums are of those that would be taken.</summary>
public sealed record BulkEstimate
{
    /// <summary>Jobs that ingest told of, those that it would refuse among them.</summary>
    public int Told { get; init; }
    public int Refused { get; init; }

    /// <summary>Of those that would be taken: how many are predicted to miss their deadline, and how many nothing is predicted of.</summary>
    public int Late { get; init; }
    public int Unpredicted { get; init; }

    /// <summary>When the last of them is predicted to end, and by when it has in 19 of 20 cases.</summary>
    public DateTimeOffset? CompletedAt { get; init; }
    public DateTimeOffset? LateAt { get; init; }

    /// <summary>What their rest is charged as things are, and would be.</summary>
    public decimal PriceNowPico { get; init; }
    public decimal PriceThenPico { get; init; }

    /// <summary>Why ingest told nothing of a job, where it could not.</summary>
    public string? Unknown { get; init; }

    /// <summary>With one job more.</summary>
    internal BulkEstimate With(EstimatedJob job, JobChangeAsk change, RestEstimate rest)
    {
        var then = rest.Classes.Single(c => c.Class == (change.Class ?? job.Class));
        var moves = then.Class != job.Class;
        if (IsRefused(change, moves, then, rest))
        {
            return this with { Told = Told + 1, Refused = Refused + 1 };
        }

        // A price is fixed when a job is accepted, and stays where the class does.
        var now = job.PerMillionUnitsPico is { } fixedPrice
            ? Cost.PriceOf(rest.Units, fixedPrice)
            : rest.Classes.Single(c => c.Class == job.Class).PricePico;
        return this with
        {
            Told = Told + 1,
            Late = Late + (then.CompletedAt > rest.Deadline ? 1 : 0),
            Unpredicted = Unpredicted + (then.CompletedAt is null ? 1 : 0),
            CompletedAt = Later(CompletedAt, then.CompletedAt),
            LateAt = Later(LateAt, then.LateAt),
            PriceNowPico = PriceNowPico + now,
            PriceThenPico = PriceThenPico + (moves ? then.PricePico : now),
        };
    }

    /// <summary>
    /// As ingest decides on a change: by the deadline where one is given, by the target where the class becomes express. A job that stays in
    /// its class is only asked for the deadline, as bulk is.
    /// </summary>
    private static bool IsRefused(JobChangeAsk change, bool moves, RestInClass then, RestEstimate rest) =>
        moves
            ? then.Admission != RestInClass.Accepted && (change.Deadline is not null || then.Class == LatencyClass.Express.Name())
            : change.Deadline is not null
                && rest.Classes.Single(c => c.Class == LatencyClass.Bulk.Name()).Admission != RestInClass.Accepted;

    private static DateTimeOffset? Later(DateTimeOffset? a, DateTimeOffset? b) => a is null || b > a ? b ?? a : a;
}

/// <summary>A job that is asked about.</summary>
/// <param name="PerMillionUnitsPico">What it was accepted at; null where it was accepted before that was kept.</param>
internal sealed record EstimatedJob(Guid Id, TenantId Tenant, string Class, long? PerMillionUnitsPico);

/// <summary>
/// Asks ingest what a change of many jobs would take, job by job as it would be asked for one: of up to
/// <see cref="DashboardOptions.EstimateJobsMax"/> of them, for <see cref="DashboardOptions.EstimateTimeMax"/>. They are drawn from all that
/// would be changed, in an order that has to do with nothing, so those that there was time for stand for the others.
/// </summary>
internal sealed class BulkEstimates(BulkActions actions, IngestClient ingest, DashboardOptions options, TimeProvider time)
{
    public async Task<BulkEstimate> OfAsync(JobFilter filter, JobChangeAsk change, CancellationToken stop)
    {
        var waiting = new ConcurrentQueue<EstimatedJob>(await actions.DrawAsync(filter, JobActions.Change, options.EstimateJobsMax, stop));
        var gate = new Lock();
        var all = new BulkEstimate();
        using var timeIsUp = new CancellationTokenSource(options.EstimateTimeMax, time);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(stop, timeIsUp.Token);
        try
        {
            await Task.WhenAll(Enumerable.Range(0, options.BulkParallel).Select(_ => AskAsync()));
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            // What was told in time counts.
        }

        return all;

        async Task AskAsync()
        {
            while (waiting.TryDequeue(out var job))
            {
                end.Token.ThrowIfCancellationRequested();
                var answer = await RestEstimate.AskAsync(ingest, job.Tenant, job.Id, change.Deadline, end.Token);
                lock (gate)
                {
                    all =
                        answer.Rest is { } rest ? all.With(job, change, rest)
                        : answer.IsRefusal ? all with { Told = all.Told + 1, Refused = all.Refused + 1 }
                        : all with { Unknown = answer.Unknown };
                }

                if (answer is { Rest: null, IsRefusal: false })
                {
                    // It cannot tell of this one now, so it cannot tell of any.
                    waiting.Clear();
                }
            }
        }
    }
}
