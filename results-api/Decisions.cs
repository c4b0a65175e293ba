using MassTransit;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.ResultsApi.Jobs;

namespace Pipeline.ResultsApi;

/// <summary>
/// <c>GET /v1/jobs/{id}/decisions</c>: what the scheduler decided about a job lately, and why. PostgreSQL knows whose job it is; the
/// decisions are asked from the active scheduler, which keeps them in memory.
/// </summary>
internal static class Decisions
{
    /// <summary>As many as a scheduler tells at once.</summary>
    public const int LimitMax = 64;

    public static void MapDecisions(this IEndpointRouteBuilder v1) =>
        v1.MapGet("/jobs/{id}/decisions", Handle).Describe(ReadOperations.GetDecisions);

    private static async Task<Results<JsonHttpResult<DecisionsView>, ProblemResult>> Handle(
        string id,
        HttpContext http,
        NpgsqlDataSource database,
        IBus bus,
        ResultsApiOptions options
    )
    {
        var query = new QueryParameters(http.Request.Query);
        var limit = query.Whole("limit", 1, LimitMax) ?? LimitMax;
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        if (await GetJob.FindAsync(database, http, id) is not { } job)
        {
            return GetJob.Unknown(id);
        }

        return await AskAsync(bus, options, job.Id, limit, http.RequestAborted) is { } told
            ? TypedResults.Json(DecisionsView.Of(told), ApiJson.Options)
            : Problems.Result(FailureKind.Unavailable, NoAnswer(options));
    }

    /// <summary>What the active scheduler remembers of a job, newest first; null when none answers in time.</summary>
    public static async Task<JobDecisions?> AskAsync(IBus bus, ResultsApiOptions options, JobId job, int most, CancellationToken stop)
    {
        var scheduler = bus.CreateRequestClient<AskJobDecisions>(RequestTimeout.After(ms: (int)options.DecisionsWaitMax.TotalMilliseconds));
        try
        {
            return (await scheduler.GetResponse<JobDecisions>(new() { Job = job, Most = most }, stop)).Message;
        }
        catch (RequestTimeoutException)
        {
            return null;
        }
    }

    public static string NoAnswer(ResultsApiOptions options) =>
        $"No scheduler answered within {options.DecisionsWaitMax.TotalSeconds:0.###} s. One may be taking over; ask again.";
}

/// <summary>Decisions about one job, newest first.</summary>
internal sealed record DecisionsView
{
    public string Object { get; } = "list";
    public required JobId Job { get; init; }

    /// <summary>The scheduler's epoch; what was decided under an earlier one is not remembered.</summary>
    public required long Epoch { get; init; }

    /// <summary>The scheduler remembers all that was decided after this time.</summary>
    public required DateTimeOffset RememberedSince { get; init; }
    public required IReadOnlyList<DecisionView> Data { get; init; }

    public static DecisionsView Of(JobDecisions told) =>
        new()
        {
            Job = told.Job,
            Epoch = told.Epoch,
            RememberedSince = told.Since,
            Data = [.. told.Decisions.Select(DecisionView.Of)],
        };
}

/// <summary>A decision with its reason and the numbers behind it; the scheduler's README explains the codes.</summary>
internal sealed record DecisionView
{
    public required DateTimeOffset At { get; init; }
    public required string Decision { get; init; }
    public required string Reason { get; init; }

    /// <summary>Tasks of this job in it; and of all jobs, with their units.</summary>
    public required int TasksOfJob { get; init; }
    public required int Tasks { get; init; }
    public required long Units { get; init; }

    public required double EstimatedMs { get; init; }

    /// <summary>Time that was left until the most urgent task was due; negative when it was late.</summary>
    public required double SlackSeconds { get; init; }
    public required int ChunksWaiting { get; init; }

    public required WorkerId? Worker { get; init; }
    public required Lane? Lane { get; init; }
    public required DispatchId? Dispatch { get; init; }

    public static DecisionView Of(DecisionTold told) =>
        new()
        {
            At = told.At,
            Decision = told.Kind,
            Reason = told.Reason,
            TasksOfJob = told.TasksOfJob,
            Tasks = told.Tasks,
            Units = told.Units,
            EstimatedMs = told.Estimated.TotalMilliseconds,
            SlackSeconds = told.Slack.TotalSeconds,
            ChunksWaiting = told.ChunksWaiting,
            Worker = told.Worker,
            Lane = told.Lane,
            Dispatch = told.Dispatch,
        };
}
