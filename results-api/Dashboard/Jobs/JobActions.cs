using System.Globalization;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Failures;
using Pipeline.ResultsApi.Jobs;

namespace Pipeline.ResultsApi.Dashboard.Jobs;

/// <summary>What is to be changed of a job, as it is sent; null for what stays.</summary>
public sealed record JobChangeAsk(string? Class, string? Deadline)
{
    /// <summary>Reads a form; null where it asks for nothing.</summary>
    public static JobChangeAsk? Read(IFormCollection form) => Of(form["class"], form["deadline"]);

    /// <summary>The same of what a form has, empty where it has nothing.</summary>
    public static JobChangeAsk? Of(string? @class, string? deadline)
    {
        (@class, deadline) = (Given(@class), Given(deadline));
        return @class is null && deadline is null ? null : new(@class, deadline);

        static string? Given(string? text) => text?.Trim() is { Length: > 0 } given ? given : null;
    }

    /// <summary>What ingest would refuse of any job; null where it may take it. A method, since properties are sent to ingest.</summary>
    public string? FindMistake() =>
        Class is not null && !JobFilter.Classes.Contains(Class) ? $"There is no class \"{Class}\"."
        : Deadline is null || Durations.TryParse(Deadline, out _) || IsMoment(Deadline) ? null
        : "A deadline is a moment (RFC 3339) or a time from now like 90s, 30m, 2h or 7d.";

    public override string ToString() =>
        string.Join(", ", new[] { Class is null ? null : $"class {Class}", Deadline is null ? null : $"due {Deadline}" }.OfType<string>());

    private static bool IsMoment(string text) =>
        DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out _);
}

/// <summary>One action on a job.</summary>
/// <param name="Action">A key of <see cref="JobActions.All"/>.</param>
/// <param name="IdempotencyKey">The same for the same action, so that a retry that is tried again makes no second job.</param>
internal sealed record JobAsk(string Action, string IdempotencyKey)
{
    /// <summary>Of <see cref="JobActions.Change"/>.</summary>
    public JobChangeAsk? Change { get; init; }

    /// <summary>Of <see cref="JobActions.Dismiss"/>: which failures; all of the job's where it says nothing.</summary>
    public FailureFilter Failed { get; init; } = new();
}

/// <summary>Actions on jobs, one by one: sent to ingest, and audited whatever comes of them.</summary>
internal sealed class JobActions(AuditedIngest ingest, DismissedFailures dismissed, NpgsqlDataSource database)
{
    public const string Change = "change";
    public const string Retry = "retry-failed";
    public const string Dismiss = "dismiss";

    /// <summary>Every action by its name in the API, as people read it.</summary>
    public static readonly IReadOnlyDictionary<string, string> All = new Dictionary<string, string>
    {
        ["cancel"] = "Cancel",
        ["pause"] = "Pause",
        ["resume"] = "Resume",
        [Change] = "Change class or deadline",
        [Retry] = "Retry failed",
        [Dismiss] = "Dismiss failures",
    };

    public Task<ActionOutcome> PerformAsync(Actor actor, TenantId tenant, JobId job, JobAsk ask, CancellationToken stop) =>
        ask.Action switch
        {
            // It changes nothing of the job: only which failures the dashboard lists as open.
            Dismiss => dismissed.AddAsync(actor, tenant, job, ask.Failed, stop),
            Change => AskAsync(
                actor,
                tenant,
                job,
                Change,
                new(HttpMethod.Patch, $"v1/jobs/{job}") { Tenant = tenant, Body = ask.Change },
                stop
            ),
            var action => AskAsync(
                actor,
                tenant,
                job,
                action,
                new(HttpMethod.Post, $"v1/jobs/{job}/{action}")
                {
                    Tenant = tenant,
                    IdempotencyKey = action == Retry ? ask.IdempotencyKey : null,
                },
                stop
            ),
        };

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
