using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Outcomes;

/// <summary><c>GET /v1/groups/{id}</c>: what a group's tasks came to so far, and what became of it.</summary>
internal static class GetGroup
{
    public static void MapGetGroup(this IEndpointRouteBuilder v1) => v1.MapGet("/groups/{id}", Handle).Describe(ReadOperations.GetGroup);

    private static async Task<Results<JsonHttpResult<GroupView>, ProblemResult>> Handle(
        string id,
        HttpContext http,
        NpgsqlDataSource database
    )
    {
        var query = new QueryParameters(http.Request.Query);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        return GroupName.IsValid(id) && await Groups.FindAsync(database, http.Tenant(), id, http.RequestAborted) is { } sums
            ? TypedResults.Json(GroupView.Of(id, sums), ApiJson.Options)
            : Problems.Result(FailureKind.UnknownGroup, $"You have no group \"{id}\".", "id");
    }
}

/// <summary>A group of tasks: one user query, one agent run.</summary>
internal sealed record GroupView
{
    public required string Id { get; init; }
    public string Object { get; } = "group";

    /// <summary>Its tasks, each a request to a model; those that succeeded, and those that have not ended, are among them.</summary>
    public required long Requests { get; init; }
    public required long Succeeded { get; init; }
    public required long Pending { get; init; }

    /// <summary>Model executions.</summary>
    public required long Turns { get; init; }

    /// <summary>Cost of the tasks that have ended, in pico-USD.</summary>
    public required decimal CostPicoUsd { get; init; }

    /// <summary>What is charged for those that succeeded, in pico-USD, rounded down once.</summary>
    public required decimal PricePicoUsd { get; init; }

    /// <summary>When the first task was accepted.</summary>
    public required DateTimeOffset FirstAt { get; init; }

    /// <summary>When the last task ended that has; null before one has.</summary>
    public required DateTimeOffset? LastAt { get; init; }

    /// <summary>From the one to the other.</summary>
    public double? LatencyMs => LastAt is { } last ? Math.Round((last - FirstAt).TotalMilliseconds, 3) : null;

    /// <summary>Versions that answered.</summary>
    public required IReadOnlyList<string> Models { get; init; }

    /// <summary>Null until it is reported.</summary>
    public required OutcomeView? Outcome { get; init; }

    public static GroupView Of(string id, GroupSums sums) =>
        new()
        {
            Id = id,
            Requests = sums.Requests,
            Succeeded = sums.Succeeded,
            Pending = sums.Pending,
            Turns = sums.Turns,
            CostPicoUsd = sums.CostPico,
            PricePicoUsd = sums.PricePico,
            FirstAt = sums.FirstAt,
            LastAt = sums.LastAt,
            Models = sums.Models,
            Outcome = sums.Outcome is { } outcome ? new OutcomeView(outcome.Accepted, (double?)outcome.Value, outcome.ReportedAt) : null,
        };
}

/// <summary>What became of a group, as its tenant reported it last.</summary>
/// <param name="Value">What it was worth, in a unit that is the tenant's own.</param>
internal sealed record OutcomeView(bool Accepted, double? Value, DateTimeOffset ReportedAt);
