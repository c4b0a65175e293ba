using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Storage;
using Pipeline.Ingest.Tasks;
using Pipeline.Migrations;

namespace Pipeline.Ingest.Express;

/// <summary>How a submission ended: exactly one of the two is there.</summary>
internal sealed record ExpressOutcome(ExpressAccepted? Accepted, ProblemResult? Refused);

/// <summary>
/// The way of work that is waited for, whatever kind of request it came with: let in, stored with others in one commit, announced at once, and
/// its results handed over as they land. Everything as for any other job; only that somebody waits.
/// </summary>
internal sealed class ExpressPath(
    JobGate gate,
    PriceList prices,
    BrokerGate broker,
    ExpressWriter writer,
    ChunkPublisher publisher,
    Waiters waiters,
    LostAnswers lost,
    NpgsqlDataSource database,
    IngestOptions options,
    TimeProvider time
)
{
    /// <summary>Accepts the work, or says why not. Once accepted it goes on whatever becomes of the caller.</summary>
    /// <param name="order">As <see cref="Admission"/> checked it.</param>
    /// <param name="tasks">Its inputs; at least one, and no mistake among them.</param>
    /// <param name="claim">The request's hold on its <c>Idempotency-Key</c>, with <paramref name="fingerprint"/>; null without one.</param>
    /// <param name="stop">Gives up before the work is accepted.</param>
    public async Task<ExpressOutcome> SubmitAsync(
        JobOrder order,
        ExpressTasks tasks,
        KeyClaim? claim,
        byte[]? fingerprint,
        CancellationToken stop
    )
    {
        if (broker.Refusal() is { } away)
        {
            return new ExpressOutcome(null, away);
        }

        var now = Moments.Now(time);
        if (order.Deadline <= now)
        {
            var late = new Mistakes(1);
            late.Add(JobParameters.Deadline, "a moment after the body has ended", order.Deadline.ToString("O"));
            return new ExpressOutcome(null, Admission.Refuse(late));
        }

        var ruling = gate.Rule(order, tasks.Units, tasks.Count, now);
        if (ruling.Refused is { } refused)
        {
            return new ExpressOutcome(null, refused);
        }

        var asked = order.Class;
        (order, var tooDear) = await prices.PriceAsync(ruling.Order, tasks.Units, now, stop);
        if (tooDear is not null)
        {
            return new ExpressOutcome(null, tooDear);
        }

        if (waiters.TryAdd(order.Id, tasks.Count, options.AnswerLookAfter, isStored: false) is not { } waiter)
        {
            return new ExpressOutcome(null, Full());
        }

        var view = SubmitJob.View(order, tasks.Count, tasks.Units, now, ruling.PredictedAt) with
        {
            RequestedClass = asked == order.Class ? null : asked,
        };
        var accepted = new ExpressAccepted(view, waiter, waiters, isRepeat: false, time);
        try
        {
            await StoreAsync(order, tasks, view, claim, fingerprint, stop);
            waiter.Stored();
        }
        catch (PostgresException e) when (e.SqlState == TenantBudgets.ExceededSqlState)
        {
            accepted.Dispose();
            return new ExpressOutcome(null, PriceList.Refuse(order, e));
        }
        catch
        {
            accepted.Dispose();
            throw;
        }

        return new ExpressOutcome(accepted, null);
    }

    /// <summary>Waits for work that was accepted before; null when there is no such job of this tenant.</summary>
    public async Task<ExpressOutcome?> AttachAsync(TenantId tenant, JobId job, CancellationToken stop)
    {
        if (await JobViews.FindAsync(database, tenant, job, stop) is not { } view)
        {
            return null;
        }

        if (view.Tasks is 0 or > ChunkPayload.TasksMax)
        {
            var detail = $"Job {job} has {view.Tasks} tasks; the results of large jobs are read from {view.Links.Results}.";
            return new ExpressOutcome(null, Problems.Result(FailureKind.InvalidState, detail, "id"));
        }

        if (waiters.TryAdd(job, view.Tasks, options.AnswerLookAfter) is not { } waiter)
        {
            return new ExpressOutcome(null, Full());
        }

        var accepted = new ExpressAccepted(view, waiter, waiters, isRepeat: true, time);
        try
        {
            // Its results may have landed long ago, or be sent to another instance.
            waiters.Take((await lost.ReadAsync([job], stop)).Answers);
        }
        catch
        {
            accepted.Dispose();
            throw;
        }

        return new ExpressOutcome(accepted, null);
    }

    private async Task StoreAsync(
        JobOrder order,
        ExpressTasks tasks,
        JobView view,
        KeyClaim? claim,
        byte[]? fingerprint,
        CancellationToken stop
    )
    {
        var (header, payload) = tasks.Finish();
        var kept = claim is null
            ? null
            : new KeptAnswer(
                claim.Key,
                fingerprint!,
                StatusCodes.Status202Accepted,
                JsonSerializer.SerializeToUtf8Bytes(view, ApiJson.Options)
            );
        var totals = new JobTotals(header.Tasks, header.Units, 1);
        var queuedAt = view.QueuedAt!.Value;
        await writer.StoreAsync(new QueuedJob(order, totals, [(header, payload)], queuedAt, view.PredictedAt, kept), stop);
        publisher.AnnounceAtOnce(
            new ChunkSubmitted
            {
                Job = order.Id,
                No = header.No,
                Tenant = order.Tenant,
                Model = order.Model.Ref,
                Class = order.Class,
                Deadline = order.Deadline,
                QueuedAt = queuedAt,
                FirstSeq = header.FirstSeq,
                Tasks = header.Tasks,
                Units = header.Units,
                UnitsMax = header.UnitsMax,
                ReplyTo = waiters.Instance,
                Payload = payload.Length <= options.InlinePayloadBytesMax ? payload : null,
                Step = order.Route?.StepOf(1),
            }
        );
    }

    private ProblemResult Full() =>
        Problems.Result(
            FailureKind.RateLimited,
            $"{options.ExpressWaitersMax} requests wait for their answers here already. Send this one again soon, or as a job."
        );
}

/// <summary>Work that was accepted, and the results as they land. Disposing of it ends the wait, not the work.</summary>
internal sealed class ExpressAccepted(JobView job, JobWaiter waiter, Waiters waiters, bool isRepeat, TimeProvider time) : IDisposable
{
    private int _left;

    /// <summary>The job as it was accepted.</summary>
    public JobView Job => job;

    /// <summary>True when it had been accepted by an earlier request.</summary>
    public bool IsRepeat => isRepeat;

    /// <summary>True when nothing more will come.</summary>
    public bool IsComplete => waiter.IsComplete || waiter.IsGone;

    /// <summary>Waits until every task has its result.</summary>
    /// <returns>False when that took longer than <paramref name="waitMax"/>: the work goes on, and can be fetched by the job's id.</returns>
    public Task<bool> CompleteAsync(TimeSpan waitMax, CancellationToken stop) => waiter.CompleteAsync(waitMax, time, stop);

    /// <summary>Waits until more than <paramref name="seen"/> results have landed, or nothing more will come.</summary>
    /// <returns>False when that took longer than <paramref name="waitMax"/>.</returns>
    public Task<bool> MoreAsync(int seen, TimeSpan waitMax, CancellationToken stop) => waiter.MoreAsync(seen, waitMax, time, stop);

    /// <summary>Results from <paramref name="from"/> on, in the order in which they landed.</summary>
    public IReadOnlyList<TaskAnswer> Landed(int from = 0) => waiter.Landed(from);

    /// <summary>All that has landed, in the order of the inputs.</summary>
    public IReadOnlyList<TaskAnswer> Results() => [.. waiter.Landed().OrderBy(answer => answer.Seq)];

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _left, 1) == 0)
        {
            waiters.Leave(waiter);
        }
    }
}
