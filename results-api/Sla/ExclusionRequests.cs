using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Webhooks;

namespace Pipeline.ResultsApi.Sla;

/// <summary><c>/v1/sla_exclusions</c>: time that reports leave out, recorded with its reason by operators.</summary>
internal static class ExclusionRequests
{
    private const int ReasonMax = 500;
    private static readonly TimeSpan LengthMax = TimeSpan.FromDays(31);

    public static void MapExclusions(this IEndpointRouteBuilder v1) =>
        v1.MapGet("/sla_exclusions", ListAsync).Describe(SlaOperations.ListExclusions);

    public static void MapExclusionCommands(this IEndpointRouteBuilder operators)
    {
        operators.MapPost("/sla_exclusions", AddAsync).Describe(SlaOperations.AddExclusion);
        operators.MapPost("/sla_exclusions/{id}/withdraw", WithdrawAsync).Describe(SlaOperations.WithdrawExclusion);
    }

    private static async Task<IResult> ListAsync(HttpContext http, NpgsqlDataSource database, ResultsApiOptions options)
    {
        var query = new QueryParameters(http.Request.Query);
        var limit = query.Whole("limit", 1, options.ListLimitMax) ?? options.ListLimitDefault;
        var after = query.Value<Guid>("after", "the last_id of a page", text => Guid.TryParse(text, out var id) ? id : null);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        var rows = await SlaExclusions.ListAsync(database, after, limit + 1, http.RequestAborted);
        return TypedResults.Json(ListView.Of(rows.ConvertAll(ExclusionView.Of), limit, e => e.Id.ToString()), ApiJson.Options);
    }

    private static async Task<IResult> AddAsync(HttpContext http, NpgsqlDataSource database, TimeProvider time)
    {
        var (body, problem) = await JsonBody.ReadAsync(http);
        if (problem is not null)
        {
            return problem;
        }

        var (from, to, reason) = Read(body);
        if (body.Refusal() is { } refusal)
        {
            return refusal;
        }

        var row = await SlaExclusions.AddAsync(database, from!.Value, to!.Value, reason!.Trim(), time.GetUtcNow(), http.RequestAborted);
        return TypedResults.Json(ExclusionView.Of(row), ApiJson.Options);
    }

    /// <summary>Reads a window; what is wrong with it is kept in the body.</summary>
    internal static (DateTimeOffset? From, DateTimeOffset? To, string? Reason) Read(JsonBody body)
    {
        var (from, to, reason) = (body.Time("from"), body.Time("to"), body.Text("reason", ReasonMax));
        ExpectMinute("from", from);
        ExpectMinute("to", to);
        if (from >= to || to - from > LengthMax)
        {
            body.Refuse("to", $"a moment after from, at most {LengthMax.TotalDays:0} days", $"{to:O}");
        }

        if (string.IsNullOrWhiteSpace(reason))
        {
            body.Refuse("reason", $"a string of 1 to {ReasonMax} characters", "nothing");
        }

        return (from, to, reason);

        void ExpectMinute(string name, DateTimeOffset? at)
        {
            if (at is null || at.Value.UtcTicks % TimeSpan.TicksPerMinute != 0)
            {
                body.Refuse(name, "a whole minute as in RFC 3339 (2026-01-02T03:04:00Z)", at is null ? "nothing" : $"{at:O}");
            }
        }
    }

    private static async Task<IResult> WithdrawAsync(string id, HttpContext http, NpgsqlDataSource database, TimeProvider time)
    {
        if (!Guid.TryParse(id, out var value) || await SlaExclusions.FindAsync(database, value, http.RequestAborted) is not { } was)
        {
            return Problems.Result(FailureKind.UnknownRoute, $"There is no exclusion \"{id}\".", "id");
        }

        http.WasBefore(ExclusionView.Of(was));
        var row = await SlaExclusions.WithdrawAsync(database, value, time.GetUtcNow(), http.RequestAborted);
        return TypedResults.Json(ExclusionView.Of(row!), ApiJson.Options);
    }
}
