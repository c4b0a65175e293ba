using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Dashboard.Jobs;

/// <summary>What is to be changed of a job, as it is sent; null for what stays.</summary>
internal sealed record JobChangeAsk(string? Class, string? Deadline);

/// <summary>Actions on jobs, one by one: sent to ingest, and audited whatever comes of them.</summary>
internal sealed class JobActions(AuditedIngest ingest, NpgsqlDataSource database)
{
    public const string Retry = "retry-failed";

    /// <summary>Every action by its name in the API, as people read it.</summary>
    public static readonly IReadOnlyDictionary<string, string> All = new Dictionary<string, string>
    {
        ["cancel"] = "Cancel",
        ["pause"] = "Pause",
        ["resume"] = "Resume",
        [Retry] = "Retry failed",
    };

    /// <param name="action">A key of <see cref="All"/>.</param>
    /// <param name="idempotencyKey">The same for the same action, so that a retry that is tried again makes no second job.</param>
    public Task<ActionOutcome> PerformAsync(
        Actor actor,
        TenantId tenant,
        JobId job,
        string action,
        string idempotencyKey,
        CancellationToken stop
    ) =>
        AskAsync(
            actor,
            tenant,
            job,
            action,
            new(HttpMethod.Post, $"v1/jobs/{job}/{action}") { Tenant = tenant, IdempotencyKey = action == Retry ? idempotencyKey : null },
            stop
        );

    /// <summary>Another class or deadline for what has not ended.</summary>
    public Task<ActionOutcome> ChangeAsync(Actor actor, TenantId tenant, JobId job, JobChangeAsk change, CancellationToken stop) =>
        AskAsync(actor, tenant, job, "change", new(HttpMethod.Patch, $"v1/jobs/{job}") { Tenant = tenant, Body = change }, stop);

    private async Task<ActionOutcome> AskAsync(
        Actor actor,
        TenantId tenant,
        JobId job,
        string action,
        IngestRequest request,
        CancellationToken stop
    )
    {
        if (await JobViews.FindAsync(database, tenant, job, stop) is not { } before)
        {
            return new(false, "There is no such job.");
        }

        var deed = new Deed($"job.{action.Replace('-', '_')}", "job", job.ToString()) { Tenant = tenant, Before = Brief(before) };
        return await ingest.AskAsync(
            actor,
            deed,
            request,
            async body =>
                action == Retry && AuditedIngest.Text(body, "id") is { } retried
                    ? (retried, new { retried_as = retried, tasks = body.GetProperty("tasks").GetInt32() })
                    : (null, await JobViews.FindAsync(database, tenant, job, stop) is { } after ? Brief(after) : new { state = "deleted" }),
            stop
        );
    }

    private static object Brief(JobView job) =>
        new
        {
            state = job.State.Name(),
            paused = job.Paused,
            @class = job.Class.Name(),
            deadline = job.Deadline,
            ended = job.Counts.Ended,
            failed = job.Counts.Failed,
        };
}
