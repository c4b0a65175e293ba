using Microsoft.AspNetCore.Http;
using Pipeline.Contracts;
using Pipeline.Hosting.Api;
using Pipeline.Migrations;

namespace Pipeline.Ingest;

/// <summary>What operators set, for the API's document.</summary>
internal static class PriceOperations
{
    private const string Dollars =
        "Dollars are a number or a string, to the pico-dollar, 0 or more. `valid_from` may not lie in the past; without it the price holds from now on. `currency` may only be `USD`.";

    private static readonly ApiParameter Tenant = ApiParameter.Path("tenant", ApiType.Text(), "The tenant's name.");

    public static readonly ApiOperation SetPoolPrice = Operation(
        "setPoolPrice",
        "Sets what an hour of a pool's workers costs.",
        $"The price before it ends where it begins, also in the middle of a batch; booked time is never priced anew. {Dollars}",
        [ApiParameter.Path("pool", ApiType.Text(100), "The pool's name.")],
        new("application/json", typeof(PoolPriceBody), "The price.", """{"price_per_hour_usd": 1.25}"""),
        ApiAnswer.Json<PoolPriceView>("The price as it is kept.")
    );

    public static readonly ApiOperation SetPrice = Operation(
        "setPrice",
        "Sets what a million units of a class are charged.",
        $"For one model, or without `model` for every one that has no price of its own. Jobs that were accepted keep theirs. {Dollars}",
        [],
        new("application/json", typeof(UnitPriceBody), "The price.", """{"class": "express", "price_per_million_units_usd": 0.08}"""),
        ApiAnswer.Json<UnitPriceView>("The price as it is kept.")
    );

    public static readonly ApiOperation SetBudget = Operation(
        "setTenantBudget",
        "Sets what a tenant may be charged in a calendar month (UTC).",
        "Work that does not fit is refused with `tenant_budget_exceeded`; at each of `warn_percents` (80 and 95) the tenant gets one event.",
        [Tenant],
        new("application/json", typeof(BudgetBody), "The budget.", """{"limit_usd": 100, "warn_percents": [80, 95]}"""),
        ApiAnswer.Json<BudgetView>("The budget as it is kept.")
    ) with
    {
        Errors = [FailureKind.InvalidRequest, FailureKind.InputTooLarge, FailureKind.OperatorOnly, FailureKind.UnknownRoute],
    };

    public static readonly ApiOperation SetCache = Operation(
        "setTenantCache",
        "Turns a tenant's cache of results on, or sets its bounds.",
        """
        From now on results of its jobs answer its later tasks with the same input and the same version of a model, until `ttl` has passed. Such a result
        says `"reused": "cache"`, costs nothing, and is charged as any other. When the cache is full the oldest results go. Off unless set.
        """,
        [Tenant],
        new("application/json", typeof(CacheBody), "The bounds.", """{"ttl": "24h", "bytes_max": 268435456, "entries_max": 1000000}"""),
        ApiAnswer.Json<CacheSetView>("The bounds as they are kept.")
    ) with
    {
        Errors = [FailureKind.InvalidRequest, FailureKind.InputTooLarge, FailureKind.OperatorOnly, FailureKind.UnknownRoute],
    };

    public static readonly ApiOperation RemoveCache = new(
        "removeTenantCache",
        ApiTags.Prices,
        "Turns a tenant's cache off, and empties it.",
        "Results that came from it stay as they are."
    )
    {
        Parameters = [Tenant],
        Answers = [new(StatusCodes.Status204NoContent, null, null, "It is off.")],
        Errors = [FailureKind.OperatorOnly, FailureKind.UnknownRoute],
    };

    private static ApiOperation Operation(
        string id,
        string summary,
        string promise,
        IReadOnlyList<ApiParameter> parameters,
        ApiBody body,
        ApiAnswer answer
    ) =>
        new(id, ApiTags.Prices, summary, promise)
        {
            Parameters = parameters,
            Bodies = [body],
            Answers = [answer],
            Errors = [FailureKind.InvalidRequest, FailureKind.InputTooLarge, FailureKind.OperatorOnly],
        };
}

/// <summary>The shapes that <see cref="SetPrices"/> reads and answers with.</summary>
internal sealed record PoolPriceBody(double PricePerHourUsd, DateTimeOffset? ValidFrom = null, string? Currency = null);

internal sealed record PoolPriceView(string Pool, long PricePerHourPicoUsd, DateTimeOffset ValidFrom);

internal sealed record UnitPriceBody(
    LatencyClass Class,
    double PricePerMillionUnitsUsd,
    string? Model = null,
    DateTimeOffset? ValidFrom = null,
    string? Currency = null
);

internal sealed record UnitPriceView(LatencyClass Class, string? Model, long PricePerMillionUnitsPicoUsd, DateTimeOffset ValidFrom);

internal sealed record BudgetBody(double LimitUsd, IReadOnlyList<int>? WarnPercents = null, string? Currency = null);

internal sealed record BudgetView(string Tenant, long LimitPicoUsd, IReadOnlyList<int> WarnPercents);

internal sealed record CacheBody(string Ttl, long? BytesMax = null, long? EntriesMax = null);

internal sealed record CacheSetView(string Tenant, double TtlSeconds, long BytesMax, long EntriesMax);
