using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Recurring.Works;

namespace Pipeline.ResultsApi.Recurring;

/// <summary>
/// <c>/v1/retention/{tenant}</c>: how long a tenant's inputs, outputs and logs are kept, by class. Operators set it; a tenant sees its own.
/// </summary>
internal static class RetentionRequests
{
    public static readonly string[] Classes = [RetentionAges.AllClasses, .. ApiParameters.Classes];

    public static void MapRetention(this IEndpointRouteBuilder v1)
    {
        v1.MapGet("/retention/{tenant}", GetAsync).Describe(RetentionOperations.Get);
        v1.MapPut("/retention/{tenant}", SetAsync).RequireOperator().Describe(RetentionOperations.Set);
        v1.MapDelete("/retention/{tenant}", RemoveAsync).RequireOperator().Describe(RetentionOperations.Remove);
    }

    private static async Task<IResult> GetAsync(string tenant, HttpContext http, NpgsqlDataSource database, RetentionOptions options)
    {
        var query = new QueryParameters(http.Request.Query);
        return query.Refusal() is { } refusal ? refusal : await AnswerAsync(tenant, http, database, options);
    }

    private static async Task<IResult> SetAsync(string tenant, HttpContext http, NpgsqlDataSource database, RetentionOptions options)
    {
        var (body, problem) = await JsonBody.ReadAsync(http);
        var ofClass = body.Word("class", Classes) ?? RetentionAges.AllClasses;
        var ages = new KeptFor(Age("inputs"), Age("outputs"), Age("logs"));
        if (problem is null && body.Refusal() is null && ages is { Inputs: null, Outputs: null, Logs: null })
        {
            body.Refuse("inputs", "one or more of inputs, outputs, logs", "none");
        }

        if ((problem ?? body.Refusal()) is { } refusal)
        {
            return refusal;
        }

        await SayHowItWasAsync(tenant, http, database);
        return await RetentionAges.SetAsync(database, tenant, ofClass, ages, http.RequestAborted)
            ? await AnswerAsync(tenant, http, database, options)
            : Unknown(tenant);

        TimeSpan? Age(string name) => body.Duration(name, RetentionAges.AgeMin, RetentionAges.AgeMax);
    }

    private static async Task<IResult> RemoveAsync(string tenant, HttpContext http, NpgsqlDataSource database, RetentionOptions options)
    {
        var query = new QueryParameters(http.Request.Query);
        var ofClass = query.Words("class", Classes);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        await SayHowItWasAsync(tenant, http, database);
        foreach (var one in ofClass ?? (IReadOnlyList<string?>)[null])
        {
            if (!await RetentionAges.RemoveAsync(database, tenant, one, http.RequestAborted))
            {
                return Unknown(tenant);
            }
        }

        return await AnswerAsync(tenant, http, database, options);
    }

    private static async Task<IResult> AnswerAsync(string tenant, HttpContext http, NpgsqlDataSource database, RetentionOptions options)
    {
        var (own, set) = await FindAsync(database, tenant, http);
        if (set is null || !(own || http.Caller().IsOperator))
        {
            return Unknown(tenant);
        }

        var defaults = new KeptFor(options.Inputs, options.Outputs, options.Logs);
        return TypedResults.Json(
            new RetentionView
            {
                Tenant = tenant,
                Set = View(set),
                Kept = ApiParameters.Classes.ToDictionary(
                    name => name,
                    name =>
                        AgesView.Of(
                            new KeptFor(null, null, null)
                                .Or(set.GetValueOrDefault(name))
                                .Or(set.GetValueOrDefault(RetentionAges.AllClasses))
                                .Or(defaults)
                        )
                ),
            },
            ApiJson.Options
        );
    }

    private static async Task SayHowItWasAsync(string tenant, HttpContext http, NpgsqlDataSource database) =>
        http.WasBefore(await RetentionAges.FindAsync(database, tenant, http.RequestAborted) is { } set ? new { set = View(set) } : null);

    private static Dictionary<string, AgesView> View(Dictionary<string, KeptFor> set) =>
        set.OrderBy(s => s.Key, StringComparer.Ordinal).ToDictionary(s => s.Key, s => AgesView.Of(s.Value));

    private static async Task<(bool Own, Dictionary<string, KeptFor>? Set)> FindAsync(
        NpgsqlDataSource database,
        string tenant,
        HttpContext http
    )
    {
        await using var command = database.CreateCommand("SELECT EXISTS (SELECT FROM tenants WHERE id = $1 AND name = $2)");
        command.Parameters.Add(new() { Value = http.Tenant().Value });
        command.Parameters.Add(new() { Value = tenant });
        var own = await command.ExecuteScalarAsync(http.RequestAborted) is true;
        return (own, await RetentionAges.FindAsync(database, tenant, http.RequestAborted));
    }

    private static ProblemResult Unknown(string tenant) =>
        Problems.Result(FailureKind.UnknownRoute, $"You see no tenant \"{tenant}\".", "tenant");
}

/// <summary>How long a tenant's data is kept after its job has ended.</summary>
internal sealed record RetentionView
{
    public required string Tenant { get; init; }
    public string Object { get; } = "retention";

    /// <summary>What is set for the tenant, by class, or for <c>all</c> that have no age of their own.</summary>
    public required IReadOnlyDictionary<string, AgesView> Set { get; init; }

    /// <summary>What follows of it and of the service's defaults, for every class.</summary>
    public required IReadOnlyDictionary<string, AgesView> Kept { get; init; }
}

/// <summary>Ages in seconds; null where none is set.</summary>
internal sealed record AgesView(double? InputsSeconds, double? OutputsSeconds, double? LogsSeconds)
{
    public static AgesView Of(KeptFor ages) => new(ages.Inputs?.TotalSeconds, ages.Outputs?.TotalSeconds, ages.Logs?.TotalSeconds);
}

/// <summary>The shape that <see cref="RetentionRequests"/> reads.</summary>
internal sealed record RetentionBody(string? Class = null, string? Inputs = null, string? Outputs = null, string? Logs = null);

/// <summary>What the requests about retention promise, for the API's document.</summary>
internal static class RetentionOperations
{
    private static readonly ApiParameter Tenant = ApiParameter.Path("tenant", ApiType.Text(), "The tenant's name.");

    public static readonly ApiOperation Get = new(
        "getRetention",
        ApiTags.Operations,
        "How long a tenant's data is kept.",
        "Inputs, outputs and logs (events, webhook deliveries) of its jobs, counted from their end, by class. A tenant sees its own, operators everybody's."
    )
    {
        Parameters = [Tenant],
        Answers = [ApiAnswer.Json<RetentionView>("The ages.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.UnknownRoute],
    };

    public static readonly ApiOperation Set = new(
        "setRetention",
        ApiTags.Operations,
        "Sets how long a tenant's data is kept (operators).",
        """
        For one class, or without `class` for all that have no age of their own; what is not named is as for all, or as the service has it. It replaces
        what was set for the class. A shorter age holds from the next run of `retention` on, for what is there already, too; what has gone does not come back.
        """
    )
    {
        Parameters = [Tenant],
        Bodies =
        [
            new(
                "application/json",
                typeof(RetentionBody),
                "Any of `class`, `inputs`, `outputs`, `logs`: times from 1 hour to 3650 days.",
                """{"class": "bulk", "inputs": "7d", "outputs": "30d"}"""
            ),
        ],
        Answers = [ApiAnswer.Json<RetentionView>("The ages as they are now.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.InputTooLarge, FailureKind.OperatorOnly, FailureKind.UnknownRoute],
    };

    public static readonly ApiOperation Remove = new(
        "removeRetention",
        ApiTags.Operations,
        "Takes back what was set of a tenant's retention (operators).",
        "Of the named classes, or all of it: the service's own ages hold again."
    )
    {
        Parameters = [Tenant, ApiParameter.Query("class", ApiType.List(RetentionRequests.Classes), "Only what was set for these.")],
        Answers = [ApiAnswer.Json<RetentionView>("The ages as they are now.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.OperatorOnly, FailureKind.UnknownRoute],
    };
}
