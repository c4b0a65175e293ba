using System.Globalization;
using System.Text.Json;
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
/// charged, and what a tenant may be charged in a month. Amounts are US dollars, as a number or as a string, to the pico-dollar.
/// </summary>
internal sealed class SetPrices(NpgsqlDataSource database, ModelCatalog models, IngestOptions options, TimeProvider time)
{
    private const string ValidFrom = "valid_from";
    private const string CurrencyField = "currency";
    private const int NameMax = 100;

    /// <summary><c>PUT /v1/pools/{pool}/price</c>: <c>{"price_per_hour_usd": 1.25, "valid_from": "2026-12-01T00:00:00Z"}</c>.</summary>
    public async Task<IResult> SetPoolPriceAsync(string pool, HttpContext http)
    {
        var (fields, problem) = await ReadAsync(http, "price_per_hour_usd", ValidFrom, CurrencyField);
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
        var (fields, problem) = await ReadAsync(http, "class", "model", Price, ValidFrom, CurrencyField);
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
        var (fields, problem) = await ReadAsync(http, "limit_usd", "warn_percents", CurrencyField);
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

        return await TenantBudgets.SetAsync(database, tenant, limit, warn, http.RequestAborted)
            ? Answer(new BudgetView(tenant, limit, warn))
            : Problems.Result(FailureKind.UnknownRoute, $"There is no tenant \"{Excerpt.Of(tenant)}\".", "tenant");
    }

    private async Task<(Fields? Fields, IResult? Problem)> ReadAsync(HttpContext http, params string[] names)
    {
        var mistakes = new Mistakes(options.MistakesMax);
        var (body, problem) = await ObjectBody.ReadAsync(http, mistakes);
        return body is { } json ? (new Fields(json, names, mistakes), null) : (null, problem);
    }

    private static ProblemResult TooSoon(DateTimeOffset validFrom, string why)
    {
        var mistakes = new Mistakes(1);
        var minutes = PoolPrices.LeadMin.TotalMinutes;
        mistakes.Add(ValidFrom, $"a moment at least {minutes:0} minute ahead ({why.ToLowerInvariant()})", validFrom.ToString("O"));
        return Admission.Refuse(mistakes);
    }

    private static IResult Answer(object set) => Results.Json(set, ApiJson.Options);

    /// <summary>The members of a body; what is wrong with them is collected.</summary>
    private sealed class Fields
    {
        private readonly JsonElement _json;

        public Fields(JsonElement json, string[] names, Mistakes mistakes)
        {
            (_json, Mistakes) = (json, mistakes);
            foreach (var member in json.EnumerateObject().Where(m => !names.Contains(m.Name)))
            {
                mistakes.Add(member.Name, $"one of {string.Join(", ", names)}", "another member");
            }
        }

        public Mistakes Mistakes { get; }

        public string? Text(string name)
        {
            if (Find(name) is not { } value)
            {
                return null;
            }

            if (value.ValueKind == JsonValueKind.String)
            {
                return value.GetString();
            }

            Mistakes.Add(name, "a string", Given(value));
            return null;
        }

        /// <summary>Dollars as pico-dollars. Negative ones, and more than could be meant, are mistakes.</summary>
        public long Usd(string name, long picoMax, string of)
        {
            var text = Find(name) switch
            {
                { ValueKind: JsonValueKind.Number } number => number.GetRawText(),
                { ValueKind: JsonValueKind.String } word => word.GetString(),
                _ => null,
            };
            if (
                decimal.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var usd)
                && usd >= 0
                && usd <= (decimal)picoMax / Cost.PicoPerUsd
                && decimal.Truncate(usd * Cost.PicoPerUsd) == usd * Cost.PicoPerUsd
            )
            {
                return (long)(usd * Cost.PicoPerUsd);
            }

            var most = ((decimal)picoMax / Cost.PicoPerUsd).ToString("0", CultureInfo.InvariantCulture);
            Mistakes.Add(
                name,
                $"US dollars {of}, 0 to {most} (more is a slip of the unit), with at most 12 decimals",
                Find(name) is { } given ? Given(given) : "nothing"
            );
            return 0;
        }

        public DateTimeOffset Moment(string name, DateTimeOffset soonest)
        {
            if (Find(name) is null)
            {
                // A little later than the soonest, which the server's clock decides on.
                return soonest + TimeSpan.FromSeconds(5);
            }

            var text = Text(name);
            var latest = new DateTimeOffset(2200, 1, 1, 0, 0, 0, TimeSpan.Zero);
            if (
                DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var moment)
                && moment < latest
            )
            {
                return moment.ToUniversalTime();
            }

            Mistakes.Add(name, "a time as in RFC 3339 (2026-01-02T03:04:05Z), before the year 2200", $"\"{Excerpt.Of(text ?? "")}\"");
            return soonest;
        }

        public void Currency(string name)
        {
            if (Find(name) is not null && Text(name) is var currency && currency != Prices.Currency)
            {
                Mistakes.Add(name, "USD: all amounts are US dollars", $"\"{Excerpt.Of(currency ?? "")}\"");
            }
        }

        public int[]? Percents(string name)
        {
            if (Find(name) is not { } value)
            {
                return null;
            }

            if (value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(p => p.ValueKind == JsonValueKind.Number))
            {
                var percents = value.EnumerateArray().Select(p => p.TryGetInt32(out var percent) ? percent : 0).ToArray();
                if (percents.Length <= 100 && Array.TrueForAll(percents, p => p is >= 1 and <= 100))
                {
                    return percents;
                }
            }

            Mistakes.Add(name, "at most 100 whole numbers from 1 to 100", Given(value));
            return null;
        }

        private JsonElement? Find(string name) =>
            _json.TryGetProperty(name, out var value) && value.ValueKind != JsonValueKind.Null ? value : null;

        private static string Given(JsonElement value) => Excerpt.Of(value.GetRawText());
    }
}
