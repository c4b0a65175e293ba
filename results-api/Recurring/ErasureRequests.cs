using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Recurring.Works;

namespace Pipeline.ResultsApi.Recurring;

/// <summary>
/// <c>/v1/erasures</c>: asks for the data of a job, or of a tenant, to be erased, and tells how far that is. Operators may ask for anybody's,
/// a tenant for its own jobs.
/// </summary>
internal static class ErasureRequests
{
    private const int ReasonMax = 500;
    private const int NameMax = 200;
    private const int ToldMax = 5;

    public static void MapErasures(this IEndpointRouteBuilder v1)
    {
        v1.MapPost("/erasures", AskAsync).Describe(ErasureOperations.Ask).KeepOperators();
        v1.MapGet("/erasures/{id}", GetAsync).Describe(ErasureOperations.Get);
    }

    private static async Task<IResult> AskAsync(
        HttpContext http,
        NpgsqlDataSource database,
        RecurringScheduler scheduler,
        TimeProvider time
    )
    {
        var (body, problem) = await JsonBody.ReadAsync(http);
        var (job, tenant, reason) = (body.Text("job", NameMax), body.Text("tenant", NameMax), body.Text("reason", ReasonMax));
        if (problem is null && body.Refusal() is null)
        {
            if ((job is null) == (tenant is null))
            {
                body.Refuse("job", "either job or tenant", job is null ? "neither" : "both");
            }

            if (string.IsNullOrWhiteSpace(reason))
            {
                body.Refuse("reason", $"why, in 1 to {ReasonMax} characters", "nothing");
            }
        }

        if ((problem ?? body.Refusal()) is { } refusal)
        {
            return refusal;
        }

        if (tenant is not null && !http.Caller().IsOperator)
        {
            return Problems.Result(
                FailureKind.OperatorOnly,
                "Erasing a tenant needs the API key of an operator; a tenant may erase its jobs."
            );
        }

        var stop = http.RequestAborted;
        var (owner, id) = await FindAsync(database, http.Caller(), job, tenant, stop);
        if (owner is not { } of)
        {
            return job is null
                ? Problems.Result(FailureKind.UnknownRoute, $"There is no tenant \"{tenant}\".", "tenant")
                : Problems.Result(FailureKind.UnknownJob, $"You have no job \"{job}\".", "job");
        }

        if (await Erasures.FindUnfinishedAsync(database, of, id, ToldMax + 1, stop) is { Count: > 0 } unfinished)
        {
            return Unfinished(unfinished);
        }

        var erasure = await Erasures.AskAsync(database, of, id, reason!, http.Tenant(), time.GetUtcNow(), stop);
        await scheduler.RunAsync(ErasureWork.WorkName, stop);
        var view = ErasureView.Of((await Erasures.FindAsync(database, erasure, stop))!);
        return TypedResults.Json(view, ApiJson.Options, statusCode: StatusCodes.Status202Accepted);
    }

    private static async Task<IResult> GetAsync(string id, HttpContext http, NpgsqlDataSource database)
    {
        var query = new QueryParameters(http.Request.Query);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        return
            Guid.TryParse(id, out var value)
            && await Erasures.FindAsync(database, value, http.RequestAborted) is { } erasure
            && (erasure.TenantId == http.Tenant() || http.Caller().IsOperator)
            ? TypedResults.Json(ErasureView.Of(erasure), ApiJson.Options)
            : Problems.Result(FailureKind.UnknownRoute, $"You see no erasure \"{id}\".", "id");
    }

    /// <summary>Whose data it is; null where the caller sees no such job or tenant.</summary>
    private static async Task<(TenantId? Owner, JobId? Job)> FindAsync(
        NpgsqlDataSource database,
        Caller caller,
        string? job,
        string? tenant,
        CancellationToken stop
    )
    {
        if (job is null)
        {
            await using var byName = database.CreateCommand("SELECT id FROM tenants WHERE name = $1");
            byName.Parameters.Add(new() { Value = tenant! });
            return (await byName.ExecuteScalarAsync(stop) is Guid found ? new TenantId(found) : null, null);
        }

        if (!JobId.TryParse(job, out var id))
        {
            return (null, null);
        }

        await using var byJob = database.CreateCommand("SELECT tenant FROM jobs WHERE id = $1 AND (tenant = $2 OR $3)");
        byJob.Parameters.Add(new() { Value = id.Value });
        byJob.Parameters.Add(new() { Value = caller.Tenant.Value });
        byJob.Parameters.Add(new() { Value = caller.IsOperator });
        return (await byJob.ExecuteScalarAsync(stop) is Guid owner ? new TenantId(owner) : null, id);
    }

    private static ProblemResult Unfinished(List<JobId> jobs)
    {
        var told = string.Join(", ", jobs.Take(ToldMax));
        var more = jobs.Count > ToldMax ? " and others" : "";
        return Problems.Result(
            FailureKind.InvalidState,
            $"Not ended yet: {told}{more}. Nothing is erased. Wait for their end, or cancel them (POST /v1/jobs/{{id}}/cancel), and ask again.",
            "state"
        );
    }
}

/// <summary>An erasure, and how far it is.</summary>
internal sealed record ErasureView
{
    public required Guid Id { get; init; }
    public string Object { get; } = "erasure";
    public required string Tenant { get; init; }

    /// <summary>The job; null where it is all of the tenant's.</summary>
    public required JobId? Job { get; init; }
    public required string Reason { get; init; }

    /// <summary><c>running</c> until nothing is left, then <c>finished</c>.</summary>
    public required string State { get; init; }

    /// <summary>Jobs whose data is not shown any more.</summary>
    public required int Jobs { get; init; }

    /// <summary>Rows removed so far.</summary>
    public required long RowsRemoved { get; init; }

    /// <summary>Of these jobs, inputs, outputs or logs that are still to be removed, each counted once.</summary>
    public required long PartsLeft { get; init; }

    /// <summary>What was made later is not concerned.</summary>
    public required DateTimeOffset AskedAt { get; init; }
    public required DateTimeOffset? FinishedAt { get; init; }

    public static ErasureView Of(Erasure erasure) =>
        new()
        {
            Id = erasure.Id,
            Tenant = erasure.Tenant,
            Job = erasure.Job,
            Reason = erasure.Reason,
            State = erasure.FinishedAt is null ? "running" : "finished",
            Jobs = erasure.Jobs,
            RowsRemoved = erasure.Rows,
            PartsLeft = erasure.Left,
            AskedAt = erasure.AskedAt,
            FinishedAt = erasure.FinishedAt,
        };
}

/// <summary>The shape that <see cref="ErasureRequests"/> reads.</summary>
internal sealed record ErasureBody(string Reason, JobId? Job = null, string? Tenant = null);

/// <summary>What the requests about erasures promise, for the API's document.</summary>
internal static class ErasureOperations
{
    public static readonly ApiOperation Ask = new(
        "eraseData",
        ApiTags.Operations,
        "Erases the data of a job, or of a tenant (operators).",
        """
        Inputs, outputs, custom ids, metadata, groups, files, idempotency keys, cached results, events and webhook deliveries (also those not sent yet)
        are removed, of a tenant all up to now. Counts, costs, prices and the ledger stay, and so does what the tenant has set: keys, webhook endpoints,
        budget, cache, retention. A tenant may erase its own jobs. While one of them has not ended, nothing is erased: cancel it first. The same asked
        again while it runs is the same erasure.
        """
    )
    {
        Bodies =
        [
            new(
                "application/json",
                typeof(ErasureBody),
                "`job` or `tenant` (its name), and `reason`, which is kept.",
                """{"job": "019f3d5c-0000-7000-8000-000000000000", "reason": "asked for by the customer"}"""
            ),
        ],
        Answers = [ApiAnswer.Json<ErasureView>("It is under way.", StatusCodes.Status202Accepted)],
        Errors =
        [
            FailureKind.InvalidRequest,
            FailureKind.InputTooLarge,
            FailureKind.UnknownJob,
            FailureKind.UnknownRoute,
            FailureKind.OperatorOnly,
            FailureKind.InvalidState,
        ],
    };

    public static readonly ApiOperation Get = new(
        "getErasure",
        ApiTags.Operations,
        "How far an erasure is.",
        "Kept for good, as the record that it was done. A tenant sees those of its data, operators all."
    )
    {
        Parameters = [ApiParameter.Path("id", ApiType.Id, "The erasure's id.")],
        Answers = [ApiAnswer.Json<ErasureView>("The erasure.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.UnknownRoute],
    };
}
