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

/// <summary>A tenant's page: its keys with their limits, and its budget, for admins to change.</summary>
internal static class TenantPages
{
    public const int NameLengthMax = 100;
    private const int KeyNameLengthMax = 100;

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
                NewKey = key,
                Limited = FindValid(keys, http.Request.Query["limits"]),
            }
        );
    }

    private static async Task<IResult> AddAsync(HttpContext http, NpgsqlDataSource database, AuditLog audit, DashboardOptions options)
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

        if (await Tenants.AddAsync(database, name, stop) is not { } id)
        {
            return http.Back(home, good: false, $"There is a tenant called \"{name}\" already.");
        }

        await audit.AddAsync(
            http,
            Guard.OperatorOf(http),
            new("tenant.add", "tenant", name)
            {
                Tenant = id,
                Reason = actor.Reason,
                After = new { name },
            }
        );
        return http.Back(
            Of(id.Value),
            good: true,
            "The tenant is there. With a key it can send work; without a budget it may be charged without a limit."
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

        var key = await ApiKeyIssuer.IssueAsync(database, new TenantId(id), name, cancellationToken: http.RequestAborted);
        await audit.AddAsync(
            http,
            Guard.OperatorOf(http),
            new("key.add", "tenant", tenant.Name)
            {
                Tenant = new TenantId(id),
                Reason = actor.Reason,
                After = new { name },
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

        const string gone = "There is no such key, or it was revoked before.";
        if (FindValid(await ListKeys.ReadAsync(database, new TenantId(id), http.RequestAborted), form["key"]) is not { } key)
        {
            return http.Back(Of(id), good: false, gone);
        }

        if (form["confirm"].ToString().Trim() != key.Name.Trim())
        {
            return http.Back(Of(id), good: false, $"Type \"{key.Name}\" to confirm.");
        }

        await using var command = database.CreateCommand("UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL");
        command.Parameters.Add(new() { Value = key.Id });
        if (await command.ExecuteNonQueryAsync(http.RequestAborted) == 0)
        {
            return http.Back(Of(id), good: false, gone);
        }

        await audit.AddAsync(
            http,
            Guard.OperatorOf(http),
            new("key.revoke", "tenant", tenant.Name)
            {
                Tenant = new TenantId(id),
                Reason = actor.Reason,
                Before = new { name = key.Name },
            }
        );
        return http.Back(Of(id), good: true, $"The key \"{key.Name}\" is revoked; who has used it just now may go on for half a minute.");
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
            return http.Back(Of(id), good: false, "There is no such key, or it was revoked before.");
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
