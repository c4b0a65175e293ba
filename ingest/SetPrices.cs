using Microsoft.AspNetCore.Http;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Tasks;
using Pipeline.Migrations;

namespace Pipeline.Ingest;

/// <summary>
/// What operators set, each by a <c>PUT</c> with a small JSON object: what an hour of a pool's devices costs us, what a million units are
/// charged, what a tenant may be charged in a month, and its cache of results. Amounts are US dollars, as a number or as a string, to the
/// pico-dollar.
/// </summary>
internal sealed class SetPrices(
    NpgsqlDataSource database,
    ModelCatalog models,
    CachingTenants caching,
    IngestOptions options,
    TimeProvider time
)
{
    private const string ValidFrom = "valid_from";
    private const string CurrencyField = "currency";
    private const int NameMax = 100;

    /// <summary><c>PUT /v1/pools/{pool}/price</c>: <c>{"price_per_hour_usd": 1.25, "valid_from": "2026-12-01T00:00:00Z"}</c>.</summary>
    public async Task<IResult> SetPoolPriceAsync(string pool, HttpContext http)
    {
        var (fields, problem) = await BodyFields.ReadAsync(http, options.MistakesMax, "price_per_hour_usd", ValidFrom, CurrencyField);
        if (fields is null)
        {
            return problem!;
        }

        if (pool.Length > NameMax)
        {
            fields.Mistakes.Add("pool", $"a name of 1 to {NameMax} characters", $"\"{Excerpt.Of(pool)}\"");
        }

        var price = fields.Usd("price_per_hour_usd", PoolPrices.PerHourPicoMax, "an hour");
        var validFrom = fields.Moment(ValidFrom, time.GetUtcNow() + PoolPrices.LeadMin);
        fields.Currency(CurrencyField);
        if (fields.Mistakes.Any)
        {
            return Admission.Refuse(fields.Mistakes);
        }

        return await PoolPrices.SetAsync(database, pool, validFrom, price, http.RequestAborted)
            ? Answer(new PoolPriceView(pool, price, validFrom))
            : TooSoon(validFrom, "Time that is booked is never priced anew");
    }

    /// <summary>
    /// <c>PUT /v1/prices</c>: <c>{"class": "express", "model": "language-id", "price_per_million_units_usd": 0.08, "valid_from": …}</c>;
    /// without a model it is of any that has none of its own.
    /// </summary>
    public async Task<IResult> SetPriceAsync(HttpContext http)
    {
        const string Price = "price_per_million_units_usd";
        var (fields, problem) = await BodyFields.ReadAsync(http, options.MistakesMax, "class", "model", Price, ValidFrom, CurrencyField);
        if (fields is null)
        {
            return problem!;
        }

        var className = fields.Text("class");
        if (!LatencyClasses.TryParse(className, out var latencyClass))
        {
            fields.Mistakes.Add("class", "express, standard or bulk", className is null ? "nothing" : $"\"{Excerpt.Of(className)}\"");
        }

        var model = fields.Text("model");
        if (
            model is not null
            && (model.Contains('@', StringComparison.Ordinal) || await models.FindAsync(model, http.RequestAborted) is null)
        )
        {
            fields.Mistakes.Add("model", "the name of a registered model, without a version", $"\"{Excerpt.Of(model)}\"");
        }

        var price = fields.Usd(Price, Prices.PerMillionUnitsPicoMax, "a million units");
        var validFrom = fields.Moment(ValidFrom, time.GetUtcNow() + Prices.LeadMin);
        fields.Currency(CurrencyField);
        if (fields.Mistakes.Any)
        {
            return Admission.Refuse(fields.Mistakes);
        }

        return await Prices.SetAsync(database, latencyClass, model, validFrom, price, http.RequestAborted)
            ? Answer(new UnitPriceView(latencyClass, model, price, validFrom))
            : TooSoon(validFrom, "Jobs that were accepted keep their price");
    }

    /// <summary><c>PUT /v1/tenants/{name}/budget</c>: <c>{"limit_usd": 100, "warn_percents": [80, 95]}</c>, of a calendar month (UTC).</summary>
    public async Task<IResult> SetBudgetAsync(string tenant, HttpContext http)
    {
        var (fields, problem) = await BodyFields.ReadAsync(http, options.MistakesMax, "limit_usd", "warn_percents", CurrencyField);
        if (fields is null)
        {
            return problem!;
        }

        var limit = fields.Usd("limit_usd", long.MaxValue / Cost.PicoPerUsd * Cost.PicoPerUsd, "a month");
        var warn = fields.Percents("warn_percents") ?? [80, 95];
        fields.Currency(CurrencyField);
        if (fields.Mistakes.Any)
        {
            return Admission.Refuse(fields.Mistakes);
        }

        var was = await TenantBudgets.FindAsync(database, tenant, http.RequestAborted);
        http.WasBefore(was is { } budget ? new BudgetView(tenant, budget.LimitPico, budget.WarnPercents) : null);
        return await TenantBudgets.SetAsync(database, tenant, limit, warn, http.RequestAborted)
            ? Answer(new BudgetView(tenant, limit, warn))
            : UnknownTenant(tenant);
    }

    /// <summary><c>PUT /v1/tenants/{name}/cache</c>: <c>{"ttl": "24h", "bytes_max": 268435456, "entries_max": 1000000}</c>.</summary>
    public async Task<IResult> SetCacheAsync(string tenant, HttpContext http)
    {
        var (fields, problem) = await BodyFields.ReadAsync(http, options.MistakesMax, "ttl", "bytes_max", "entries_max");
        if (fields is null)
        {
            return problem!;
        }

        var ttl = fields.Duration("ttl", TenantCaches.TtlMin, TenantCaches.TtlMax);
        var bytesMax = fields.Whole("bytes_max", TenantCaches.BytesMin, TenantCaches.BytesMax) ?? TenantCaches.BytesDefault;
        var entriesMax = fields.Whole("entries_max", TenantCaches.EntriesMin, TenantCaches.EntriesMax) ?? TenantCaches.EntriesDefault;
        if (fields.Mistakes.Any)
        {
            return Admission.Refuse(fields.Mistakes);
        }

        http.WasBefore(await CacheOfAsync(tenant, http.RequestAborted));
        var known = await TenantCaches.SetAsync(database, tenant, ttl, bytesMax, entriesMax, http.RequestAborted);
        caching.Forget();
        return known ? Answer(new CacheSetView(tenant, ttl.TotalSeconds, bytesMax, entriesMax)) : UnknownTenant(tenant);
    }

    /// <summary><c>DELETE /v1/tenants/{name}/cache</c>: off, and emptied.</summary>
    public async Task<IResult> RemoveCacheAsync(string tenant, HttpContext http)
    {
        http.WasBefore(await CacheOfAsync(tenant, http.RequestAborted));
        var known = await TenantCaches.RemoveAsync(database, tenant, http.RequestAborted);
        caching.Forget();
        return known ? Results.NoContent() : UnknownTenant(tenant);
    }

    private async Task<CacheSetView?> CacheOfAsync(string tenant, CancellationToken stop) =>
        await TenantCaches.FindAsync(database, tenant, stop) is { } cache
            ? new CacheSetView(tenant, cache.Ttl.TotalSeconds, cache.BytesMax, cache.EntriesMax)
            : null;

    private static ProblemResult UnknownTenant(string tenant) =>
        Problems.Result(FailureKind.UnknownRoute, $"There is no tenant \"{Excerpt.Of(tenant)}\".", "tenant");

    private static ProblemResult TooSoon(DateTimeOffset validFrom, string why)
    {
        var mistakes = new Mistakes(1);
        var minutes = PoolPrices.LeadMin.TotalMinutes;
        mistakes.Add(ValidFrom, $"a moment at least {minutes:0} minute ahead ({why.ToLowerInvariant()})", validFrom.ToString("O"));
        return Admission.Refuse(mistakes);
    }

    private static IResult Answer(object set) => Results.Json(set, ApiJson.Options);
}
