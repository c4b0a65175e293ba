using System.Globalization;
using System.Text.Json;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Jobs;
using Pipeline.ResultsApi.Dashboard.Layout;
using Pipeline.ResultsApi.Fleet;

namespace Pipeline.ResultsApi.Dashboard.Fleet;

/// <summary>A tenant, with what it may be charged in a month and what of this month is drawn.</summary>
public sealed record TenantFacts(
    Guid Id,
    string Name,
    DateTimeOffset CreatedAt,
    long? LimitPico,
    IReadOnlyList<int> WarnPercents,
    decimal SpentPico
);

/// <summary>What a tenant used of a model in a class.</summary>
/// <param name="CostPico">What it cost us, and <paramref name="PricePico"/> what is charged.</param>
public sealed record TenantUse(string Class, string Model, long Succeeded, long Others, decimal CostPico, decimal PricePico);

/// <summary>A tenant's page: its keys with their limits, and its budget, for admins to change.</summary>
internal static class TenantPages
{
    public const int NameLengthMax = 100;
    private const int KeyNameLengthMax = 100;
    private const int UsageDays = 30;
    private const string NoSuchKey = "There is no such key, or it was revoked before.";

    public static string Of(Guid tenant) => $"{DashboardServices.Root}/tenants/{tenant}";

    public static void MapTenant(this IEndpointRouteBuilder pages)
    {
        pages.MapGet(
            "/tenants/{id:guid}",
            (Guid id, HttpContext http, NpgsqlDataSource database, TimeProvider time) => ShowAsync(id, http, database, time, key: null)
        );
        pages.MapGet("/tenants/new", (HttpContext http) => http.Page<NewTenantPage>()).ForAdmins(whenReadOnly: true);
        pages.MapPost("/tenants", AddAsync).ForAdmins();
        pages.MapPost("/tenants/{id:guid}/keys", AddKeyAsync).ForAdmins();
        pages.MapPost("/tenants/{id:guid}/revoke", RevokeKeyAsync).ForAdmins();
        pages.MapPost("/tenants/{id:guid}/limits", SetLimitsAsync).ForAdmins();
        pages.MapPost("/tenants/{id:guid}/budget", SetBudgetAsync).ForAdmins();
    }

    /// <param name="key">The text of a key that was just made.</param>
    private static async Task<IResult> ShowAsync(Guid id, HttpContext http, NpgsqlDataSource database, TimeProvider time, string? key)
    {
        var stop = http.RequestAborted;
        if (await FindAsync(id, database, time, stop) is not { } tenant)
        {
            return Unknown(http);
        }

        var keys = await ListKeys.ReadAsync(database, new TenantId(id), stop);
        return http.Page<TenantPage>(
            new
            {
                Tenant = tenant,
                Keys = keys,
                Usage = await UsageAsync(id, database, time, stop),
                NewKey = key,
                Limited = FindValid(keys, http.Request.Query["limits"]),
            }
        );
    }

    /// <summary>By UTC day, from the rollups; the dearest first.</summary>
    private static async Task<List<TenantUse>> UsageAsync(Guid id, NpgsqlDataSource database, TimeProvider time, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            $"""
            SELECT class, model, sum(succeeded)::bigint, sum(failed + expired + cancelled)::bigint, sum(cost_pico), sum(price_pico)
            FROM {SlaTables.Name(SlaGrain.Day)} WHERE at >= $1 AND tenant = $2 GROUP BY class, model ORDER BY 6 DESC, 5 DESC, 1, 2
            """
        );
        command.Parameters.Add(new() { Value = SlaTables.Floor(SlaGrain.Day, time.GetUtcNow()).AddDays(1 - UsageDays) });
        command.Parameters.Add(new() { Value = id });
        return await Rows.ReadAsync(
            command,
            row => new TenantUse(
                row.GetString(0),
                row.GetString(1),
                row.GetInt64(2),
                row.GetInt64(3),
                row.GetDecimal(4),
                row.GetDecimal(5)
            ),
            stop
        );
    }

    private static async Task<IResult> AddAsync(
        HttpContext http,
        NpgsqlDataSource database,
        AuditLog audit,
        DashboardOptions options,
        TimeProvider time
    )
    {
        const string home = $"{DashboardServices.Root}/tenants/new";
        var (actor, form, refused) = await Actors.ReadAsync(http, options, home);
        if (actor is null)
        {
            return refused!;
        }

        var (name, stop) = (form["name"].ToString().Trim(), http.RequestAborted);
        if (name.Length is 0 or > NameLengthMax || name.Any(char.IsControl))
        {
            return http.Back(home, good: false, $"A tenant needs a name of 1 to {NameLengthMax} characters.");
        }

        var id = TenantId.New(time.GetUtcNow());
        var (refusal, _) = await audit.KeepAsync(
            http,
            new Deed("tenant.add", "tenant", name) { Tenant = id, Reason = actor.Reason },
            async () =>
                await Tenants.AddAsync(database, id, name, stop)
                    ? DeedOutcome.Done(new { name })
                    : DeedOutcome.Refused($"There is a tenant called \"{name}\" already.")
        );
        return http.Back(
            refusal is null ? Of(id.Value) : home,
            refusal is null,
            refusal ?? "The tenant is there. With a key it can send work; without a budget it may be charged without a limit."
        );
    }

    private static async Task<IResult> AddKeyAsync(
        Guid id,
        HttpContext http,
        NpgsqlDataSource database,
        AuditLog audit,
        DashboardOptions options,
        TimeProvider time
    )
    {
        var (actor, form, refused) = await Actors.ReadAsync(http, options, Of(id));
        if (actor is null)
        {
            return refused!;
        }

        if (await FindAsync(id, database, time, http.RequestAborted) is not { } tenant)
        {
            return Unknown(http);
        }

        var name = form["name"].ToString().Trim();
        if (name.Length is 0 or > KeyNameLengthMax)
        {
            return http.Back(Of(id), good: false, $"A key needs a name of 1 to {KeyNameLengthMax} characters.");
        }

        var key = "";
        await audit.KeepAsync(
            http,
            new Deed("key.add", "tenant", tenant.Name) { Tenant = new TenantId(id), Reason = actor.Reason },
            async () =>
            {
                key = await ApiKeyIssuer.IssueAsync(database, new TenantId(id), name, cancellationToken: http.RequestAborted);
                return DeedOutcome.Done(new { name, prefix = key[..ApiKeyIssuer.PrefixLength] });
            }
        );
        return await ShowAsync(id, http, database, time, key);
    }

    private static async Task<IResult> RevokeKeyAsync(
        Guid id,
        HttpContext http,
        NpgsqlDataSource database,
        AuditLog audit,
        DashboardOptions options,
        TimeProvider time
    )
    {
        var (actor, form, refused) = await Actors.ReadAsync(http, options, Of(id));
        if (actor is null)
        {
            return refused!;
        }

        if (await FindAsync(id, database, time, http.RequestAborted) is not { } tenant)
        {
            return Unknown(http);
        }

        if (FindValid(await ListKeys.ReadAsync(database, new TenantId(id), http.RequestAborted), form["key"]) is not { } key)
        {
            return http.Back(Of(id), good: false, NoSuchKey);
        }

        if (form["confirm"].ToString().Trim() != key.Name.Trim())
        {
            return http.Back(Of(id), good: false, $"Type \"{key.Name}\" to confirm.");
        }

        await using var command = database.CreateCommand("UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL");
        command.Parameters.Add(new() { Value = key.Id });
        var (refusal, _) = await audit.KeepAsync(
            http,
            new Deed("key.revoke", "tenant", tenant.Name)
            {
                Tenant = new TenantId(id),
                Reason = actor.Reason,
                Before = new { name = key.Name, prefix = key.Prefix },
            },
            async () => await command.ExecuteNonQueryAsync(http.RequestAborted) == 1 ? DeedOutcome.Done() : DeedOutcome.Refused(NoSuchKey)
        );
        return http.Back(
            Of(id),
            refusal is null,
            refusal ?? $"The key \"{key.Name}\" is revoked; who has used it just now may go on for half a minute."
        );
    }

    private static async Task<IResult> SetLimitsAsync(
        Guid id,
        HttpContext http,
        NpgsqlDataSource database,
        AuditedIngest ingest,
        DashboardOptions options,
        TimeProvider time
    )
    {
        var (actor, form, refused) = await Actors.ReadAsync(http, options, Of(id));
        if (actor is null)
        {
            return refused!;
        }

        if (await FindAsync(id, database, time, http.RequestAborted) is not { } tenant)
        {
            return Unknown(http);
        }

        if (FindValid(await ListKeys.ReadAsync(database, new TenantId(id), http.RequestAborted), form["key"]) is not { } key)
        {
            return http.Back(Of(id), good: false, NoSuchKey);
        }

        var deed = new Deed("key.limit", "tenant", tenant.Name)
        {
            Tenant = new TenantId(id),
            Before = Told(key.Limits.RatePerSecond, key.Limits.BurstMax, key.Limits.ConcurrentMax),
        };
        var path = $"v1/tenants/{Uri.EscapeDataString(tenant.Name)}/keys/{Uri.EscapeDataString(key.Prefix)}/limits";
        var request = new IngestRequest(HttpMethod.Put, path)
        {
            Body = new
            {
                rate_per_second = Given("rate_per_second"),
                burst_max = Given("burst_max"),
                concurrent_max = Given("concurrent_max"),
            },
        };
        var outcome = await ingest.AskAsync(
            actor,
            deed,
            request,
            body =>
                Task.FromResult<(string?, object?)>(
                    (null, Told(Kept(body, "rate_per_second"), Kept(body, "burst_max"), Kept(body, "concurrent_max")))
                ),
            http.RequestAborted
        );
        return outcome.Done
            ? http.Back(Of(id), good: true, $"The limits of the key \"{key.Name}\" hold within two seconds.")
            : http.Back($"{Of(id)}?limits={key.Id}", good: false, $"Not set: {outcome.Detail}");

        // What is no number goes as it is: ingest says what it expects.
        object? Given(string name) =>
            form[name].ToString().Trim() is not { Length: > 0 } text ? null
            : long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) ? number
            : text;

        static int? Kept(JsonElement body, string name) =>
            body.TryGetProperty(name, out var limit) && limit.ValueKind == JsonValueKind.Number ? limit.GetInt32() : null;

        object Told(int? rate, int? burst, int? concurrent) =>
            new
            {
                key = key.Name,
                prefix = key.Prefix,
                rate_per_second = rate,
                burst_max = burst,
                concurrent_max = concurrent,
            };
    }

    private static async Task<IResult> SetBudgetAsync(
        Guid id,
        HttpContext http,
        NpgsqlDataSource database,
        AuditedIngest ingest,
        DashboardOptions options,
        TimeProvider time
    )
    {
        var (actor, form, refused) = await Actors.ReadAsync(http, options, Of(id));
        if (actor is null)
        {
            return refused!;
        }

        if (await FindAsync(id, database, time, http.RequestAborted) is not { } tenant)
        {
            return Unknown(http);
        }

        var deed = new Deed("budget.set", "tenant", tenant.Name)
        {
            Tenant = new TenantId(id),
            Before = new { limit_pico_usd = tenant.LimitPico },
        };
        var request = new IngestRequest(HttpMethod.Put, $"v1/tenants/{Uri.EscapeDataString(tenant.Name)}/budget")
        {
            Body = new { limit_usd = form["limit_usd"].ToString().Trim() },
        };
        var outcome = await ingest.AskAsync(
            actor,
            deed,
            request,
            body => Task.FromResult<(string?, object?)>((null, body)),
            http.RequestAborted
        );
        return http.Back(Of(id), outcome.Done, outcome.Done ? "The budget holds from now on." : $"Not set: {outcome.Detail}");
    }

    private static IResult Unknown(HttpContext http) =>
        http.Error(StatusCodes.Status404NotFound, "There is no such tenant", "It may have another name: look through the tenants.");

    private static async Task<TenantFacts?> FindAsync(Guid id, NpgsqlDataSource database, TimeProvider time, CancellationToken stop)
    {
        var today = time.GetUtcNow().UtcDateTime;
        await using var command = database.CreateCommand(
            """
            SELECT t.name, t.created_at, b.limit_pico, coalesce(b.warn_percents, '{}'), coalesce(m.spent_pico, 0)
            FROM tenants t
            LEFT JOIN tenant_budgets b ON b.tenant = t.id
            LEFT JOIN tenant_months m ON m.tenant = t.id AND m.month = $2
            WHERE t.id = $1
            """
        );
        command.Parameters.Add(new() { Value = id });
        command.Parameters.Add(new() { Value = new DateOnly(today.Year, today.Month, 1) });
        var found = await Rows.ReadAsync(
            command,
            row => new TenantFacts(
                id,
                row.GetString(0),
                row.GetFieldValue<DateTimeOffset>(1),
                row.IsDBNull(2) ? null : row.GetInt64(2),
                row.GetFieldValue<int[]>(3),
                row.GetDecimal(4)
            ),
            stop
        );
        return found.SingleOrDefault();
    }

    /// <summary>The valid key of that id; null where there is none.</summary>
    private static TenantKey? FindValid(List<TenantKey> keys, string? id) =>
        Guid.TryParse(id, out var known) ? keys.Find(k => k.Id == known && k.RevokedAt is null) : null;
}
