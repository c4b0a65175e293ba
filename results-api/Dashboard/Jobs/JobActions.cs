using System.Text.Json;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Dashboard.Jobs;

/// <summary>Who asks for an action, why, and from where.</summary>
internal sealed record Actor(Guid Id, string Name, string? Address, string Reason);

/// <summary>What came of an action on a job.</summary>
/// <param name="Detail">Why it was refused; of a retry the id of the new job.</param>
/// <param name="IsAway">True when ingest was not reachable: the same may be asked again.</param>
internal sealed record ActionOutcome(bool Done, string? Detail, bool IsAway = false);

/// <summary>Actions on jobs, one by one: sent to ingest, and audited whatever comes of them.</summary>
internal sealed class JobActions(IngestClient ingest, AuditLog audit, NpgsqlDataSource database)
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
    public async Task<ActionOutcome> PerformAsync(
        Actor actor,
        TenantId tenant,
        JobId job,
        string action,
        string idempotencyKey,
        CancellationToken stop
    )
    {
        if (await JobViews.FindAsync(database, tenant, job, stop) is not { } before)
        {
            return new(false, "There is no such job.");
        }

        var deed = new Deed($"job.{action.Replace('-', '_')}", "job", job.ToString())
        {
            Tenant = tenant,
            Reason = actor.Reason,
            Before = Brief(before),
        };
        var row = await audit.BeginAsync(actor.Id, actor.Name, actor.Address, deed, stop);
        try
        {
            var (status, body) = await ingest.PostAsync(tenant, $"v1/jobs/{job}/{action}", action == Retry ? idempotencyKey : null, stop);
            var done = (int)status is >= 200 and < 300;
            var detail = done ? (action == Retry ? Text(body, "id") : null) : Text(body, "detail") ?? $"ingest answered {(int)status}";
            await audit.CompleteAsync(row, done, detail, done ? await AfterAsync(tenant, job, body, action, stop) : null, stop);
            return new(done, detail);
        }
        catch (HttpRequestException e)
        {
            var detail = $"ingest is not reachable: {e.Message}";
            await audit.CompleteAsync(row, false, detail, null, stop);
            return new(false, detail, IsAway: true);
        }
    }

    private async Task<object?> AfterAsync(TenantId tenant, JobId job, JsonElement body, string action, CancellationToken stop) =>
        action == Retry ? new { retried_as = Text(body, "id"), tasks = body.GetProperty("tasks").GetInt32() }
        : await JobViews.FindAsync(database, tenant, job, stop) is { } after ? Brief(after)
        : new { state = "deleted" };

    private static object Brief(JobView job) =>
        new
        {
            state = job.State.Name(),
            paused = job.Paused,
            ended = job.Counts.Ended,
            failed = job.Counts.Failed,
        };

    private static string? Text(JsonElement body, string name) =>
        body.ValueKind == JsonValueKind.Object && body.TryGetProperty(name, out var value) ? value.ToString() : null;
}
