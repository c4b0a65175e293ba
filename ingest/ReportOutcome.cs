using Microsoft.AspNetCore.Http;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Tasks;
using Pipeline.Migrations;

namespace Pipeline.Ingest;

/// <summary>
/// <c>POST /v1/groups/{id}/outcome</c>: whether what a group's tasks made was accepted, known only afterwards. The last report stands: the
/// same one again changes nothing, so it may be repeated, and another one is a correction.
/// </summary>
internal sealed class ReportOutcome(NpgsqlDataSource database, IngestOptions options, TimeProvider time)
{
    private const string Accepted = "accepted";
    private const string Value = "value";
    private const decimal ValueMax = 1_000_000_000_000;
    private const int ValueDecimals = 6;

    public static readonly ApiOperation Operation = new(
        "reportOutcome",
        ApiTags.Results,
        "Reports what became of a group.",
        $"""
        `accepted`: whether what the group's tasks made was of use; `value`: what it was worth, in a unit that is your own, from -{ValueMax} to
        {ValueMax} with at most {ValueDecimals} decimals. The last report stands: the same again changes nothing, another is a correction. A group
        is there from the acceptance of its first task on; its tasks need not have ended.
        """
    )
    {
        Parameters = [ApiParameters.Group],
        Bodies = [new("application/json", typeof(OutcomeBody), "The outcome.", """{"accepted": true, "value": 1.5}""")],
        Answers = [ApiAnswer.Json<ReportedOutcome>("The outcome as it is kept.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.InputTooLarge, FailureKind.UnknownGroup],
    };

    public async Task<IResult> HandleAsync(string group, HttpContext http)
    {
        var (fields, problem) = await BodyFields.ReadAsync(http, options.MistakesMax, Accepted, Value);
        if (fields is null)
        {
            return problem!;
        }

        var (accepted, value) = (fields.Flag(Accepted), fields.Number(Value, ValueMax, ValueDecimals));
        if (fields.Mistakes.Any)
        {
            return Admission.Refuse(fields.Mistakes);
        }

        return
            GroupName.IsValid(group)
            && await Groups.ReportAsync(database, http.Tenant(), group, accepted, value, Moments.Now(time), http.RequestAborted)
                is { } outcome
            ? Results.Json(new ReportedOutcome(group, outcome.Accepted, (double?)outcome.Value, outcome.ReportedAt), ApiJson.Options)
            : Problems.Result(FailureKind.UnknownGroup, $"You have no group \"{Excerpt.Of(group)}\".", "id");
    }
}

/// <summary>The shapes of a report, and of the answer to it.</summary>
internal sealed record OutcomeBody(bool Accepted, double? Value = null);

/// <param name="Id">The group.</param>
/// <param name="ReportedAt">When it was reported first as it is now.</param>
internal sealed record ReportedOutcome(string Id, bool Accepted, double? Value, DateTimeOffset ReportedAt)
{
    public string Object { get; } = "outcome";
}
