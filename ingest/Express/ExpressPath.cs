using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Telemetry;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Storage;
using Pipeline.Ingest.Tasks;
using Pipeline.Migrations;

namespace Pipeline.Ingest.Express;

/// <summary>What makes a request one that came before: its <c>Idempotency-Key</c>, and a hash of all else it says.</summary>
internal sealed record RequestIdentity(string Key, byte[] Fingerprint)
{
    /// <summary>Of a request that says all in its body.</summary>
    /// <param name="route">Method and path: a key that came with another kind of request is another request.</param>
    /// <returns>Null without a key.</returns>
    public static RequestIdentity? Of(string? key, string route, ReadOnlySpan<byte> body, JobParameters? parameters = null)
    {
        if (key is null)
        {
            return null;
        }

        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes($"{route}\n"));
        parameters?.AddTo(hash);
        hash.AppendData(body);
        return new RequestIdentity(key, hash.GetHashAndReset());
    }
}

/// <summary>How a submission ended: exactly one of the two is there.</summary>
internal sealed record ExpressOutcome(ExpressAccepted? Accepted, ProblemResult? Refused);

/// <summary>
/// The way of work that is waited for, whatever kind of request it came with: let in, stored with others in one commit, announced at once, and
/// its results handed over as they land. Everything as for any other job; only that somebody waits.
/// </summary>
internal sealed class ExpressPath(
    JobGate gate,
    Idempotency keys,
    PriceList prices,
    BrokerGate broker,
    GroupCommit commit,
    JobStore store,
    ChunkPublisher publisher,
    Waiters waiters,
    LostAnswers lost,
    NpgsqlDataSource database,
    IngestMetrics metrics,
    IngestOptions options,
    TelemetryOptions telemetry,
    TimeProvider time
)
{
    /// <summary>
    /// Accepts the work, or says why not; with a key that came before, finds what was accepted then. Once accepted it goes on whatever
    /// becomes of the caller.
    /// </summary>
    /// <param name="order">As <see cref="Admission"/> checked it.</param>
    /// <param name="tasks">Its inputs; at least one, and no mistake among them.</param>
    /// <param name="identity">Null for a request without an <c>Idempotency-Key</c>.</param>
    /// <param name="tellsAtOnce">True where the caller is told that the work is accepted before it has results.</param>
    /// <param name="stop">Gives up before the work is accepted.</param>
    public async Task<ExpressOutcome> AcceptAsync(
        JobOrder order,
        ExpressTasks tasks,
        RequestIdentity? identity,
        bool tellsAtOnce,
        CancellationToken stop
    )
    {
        if (identity is null)
        {
            return await SubmitAsync(order, tasks, null, null, tellsAtOnce, stop);
        }

        await using var claim = await keys.ClaimAsync(order.Tenant, identity.Key, stop);
        if (claim.IsInProgress)
        {
            return Refused(FailureKind.IdempotencyInProgress, "The first request with this key has not been accepted yet.");
        }

        if (claim.Answer is not { } earlier)
        {
            return await SubmitAsync(order, tasks, claim, identity.Fingerprint, tellsAtOnce, stop);
        }

        if (!identity.Fingerprint.AsSpan().SequenceEqual(earlier.Fingerprint))
        {
            return Refused(
                FailureKind.IdempotencyConflict,
                "This key came before with other parameters or another body. Use a new key for a new request."
            );
        }

        var job = JobId.From(JsonElement.Parse(earlier.Body).GetProperty("id").GetGuid());
        return await AttachAsync(order.Tenant, job, stop) ?? new ExpressOutcome(null, JobCommands.Unknown(job.ToString()));
    }

    private static ExpressOutcome Refused(FailureKind kind, string detail) => new(null, Problems.Result(kind, detail, Idempotency.Header));

    private async Task<ExpressOutcome> SubmitAsync(
        JobOrder order,
        ExpressTasks tasks,
        KeyClaim? claim,
        byte[]? fingerprint,
        bool onDisk,
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

        var ruling = gate.Rule(order, tasks.Size, now);
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

        var view = SubmitJob.View(order, tasks.Count, tasks.Size.Units, now) with { RequestedClass = asked == order.Class ? null : asked };
        var accepted = new ExpressAccepted(view, waiter, waiters, isRepeat: false, onDisk ? null : store, time);
        try
        {
            await StoreAsync(order, tasks, view, claim, fingerprint, onDisk, stop);
            waiter.Stored();
            metrics.Accepted(order, tasks.Count);
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

        if (view.Tasks == 0 || view.Tasks > options.ExpressInputsMax)
        {
            var detail = $"Job {job} has {view.Tasks} tasks; the results of large jobs are read from {view.Links.Results}.";
            return new ExpressOutcome(null, Problems.Result(FailureKind.InvalidState, detail, "id"));
        }

        if (JobViews.Removed(job, "results", view.OutputsRemovedAt) is { } removed)
        {
            return new ExpressOutcome(null, removed);
        }

        if (waiters.TryAdd(job, view.Tasks, options.AnswerLookAfter) is not { } waiter)
        {
            return new ExpressOutcome(null, Full());
        }

        var accepted = new ExpressAccepted(view, waiter, waiters, isRepeat: true, store, time);
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
        bool onDisk,
        CancellationToken stop
    )
    {
        var chunks = tasks.Finish();
        var kept = claim is null
            ? null
            : new KeptAnswer(
                claim.Key,
                fingerprint!,
                StatusCodes.Status202Accepted,
                JsonSerializer.SerializeToUtf8Bytes(view, ApiJson.Options)
            );
        var totals = new JobTotals(tasks.Count, tasks.Units, chunks.Count);
        var queuedAt = view.QueuedAt!.Value;
        using (Traces.Start("store job"))
        {
            await commit.StoreAsync(new QueuedJob(order, totals, chunks, [], queuedAt, kept), onDisk, stop);
        }

        publisher.AnnounceAtOnce(order.Id, [.. chunks.Select(c => Announcement(order, c.Header, c.Payload, queuedAt))]);
    }

    private ChunkSubmitted Announcement(JobOrder order, ChunkHeader header, byte[] payload, DateTimeOffset queuedAt) =>
        new()
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
            Step = order.Route?.StepOf(1),
            Traceparent = telemetry.TraceOf(order.Traceparent, header.No),
            // Where the tenant has a cache the worker reads the row, which says so.
            Payload = payload.Length <= options.InlinePayloadBytesMax && !order.UsesCache ? payload : null,
        };

    private ProblemResult Full() =>
        Problems.Result(
            FailureKind.RateLimited,
            $"As many requests wait for their answers here as may ({options.ExpressWaitersMax}, with {options.ExpressResultsMax} inputs). Send this one again soon, or as a job."
        );
}

/// <summary>Work that was accepted, and the results as they land. Disposing of it ends the wait, not the work.</summary>
/// <param name="unsettled">What knows whether the work is on the disk; null where it is known to be.</param>
internal sealed class ExpressAccepted(JobView job, JobWaiter waiter, Waiters waiters, bool isRepeat, JobStore? unsettled, TimeProvider time)
    : IDisposable
{
    private JobStore? _unsettled = unsettled;
    private int _left;

    /// <summary>The job as it was accepted.</summary>
    public JobView Job => job;

    /// <summary>Says in the answer when the work had been accepted by an earlier request.</summary>
    public void TellRepeat(HttpResponse response)
    {
        if (isRepeat)
        {
            response.Headers[Idempotency.ReplayedHeader] = "true";
        }
    }

    /// <summary>True when nothing more will come.</summary>
    public bool IsComplete => waiter.IsComplete || waiter.IsGone;

    /// <summary>Waits until every task has its result.</summary>
    /// <returns>False when that took longer than <paramref name="waitMax"/>: the work goes on, and can be fetched by the job's id.</returns>
    /// <inheritdoc cref="SettleAsync" path="/exception"/>
    public async Task<bool> CompleteAsync(TimeSpan waitMax, CancellationToken stop)
    {
        using var waits = Traces.Start("await results");
        try
        {
            return await waiter.CompleteAsync(waitMax, time, stop);
        }
        finally
        {
            await SettleAsync();
        }
    }

    /// <summary>
    /// Before anybody is told that the work is accepted, or leaves without all results: it has to be on the disk. Commits of results wait
    /// for that themselves.
    /// </summary>
    /// <exception cref="NpgsqlException">The work was lost before it was on the disk, or nobody knows whether it was.</exception>
    public async Task SettleAsync()
    {
        if (!waiter.IsComplete && Interlocked.Exchange(ref _unsettled, null) is { } store)
        {
            if (waiter.IsGone && !isRepeat && waiter.Landed().Count == 0)
            {
                throw new NpgsqlException($"The server ended before job {job.Id} was on its disk.");
            }

            await store.SettleAsync(CancellationToken.None);
        }
    }

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
