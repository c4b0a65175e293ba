using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Npgsql;
using Pipeline.Contracts;

namespace Pipeline.Hosting;

/// <summary>
/// Tells the tenant by the key in <c>Authorization: Bearer …</c>. Keys are random (256 bits), so a plain SHA-256 is all the table
/// needs to hold. A found key is remembered for half a minute, which is how long a revoked one may live on.
/// </summary>
public sealed class ApiKeys(NpgsqlDataSource database, TimeProvider time)
{
    /// <summary>Name of the tenant whose keys the dashboard makes for itself.</summary>
    public const string DashboardTenant = "pipeline-operators";

    private const int RememberedMax = 10_000;
    private static readonly TimeSpan Remember = TimeSpan.FromSeconds(30);
    private readonly ConcurrentDictionary<string, (Caller Caller, long At)> _known = new();

    public static byte[] Hash(string key) => SHA256.HashData(Encoding.UTF8.GetBytes(key));

    /// <returns>Who has the key, or null when no such key is valid.</returns>
    public async ValueTask<Caller?> FindAsync(string key, CancellationToken stop)
    {
        if (_known.TryGetValue(key, out var known) && time.GetElapsedTime(known.At) < Remember)
        {
            return known.Caller;
        }

        await using var command = database.CreateCommand(
            """
            SELECT k.id, k.tenant, k.operator, concat(k.name, ' (', k.prefix, '…)'), t.name
            FROM api_keys k JOIN tenants t ON t.id = k.tenant WHERE k.hash = $1 AND k.revoked_at IS NULL
            """
        );
        command.Parameters.AddWithValue(Hash(key));
        await using var reader = await command.ExecuteReaderAsync(stop);
        if (!await reader.ReadAsync(stop))
        {
            _known.TryRemove(key, out _);
            return null;
        }

        if (_known.Count >= RememberedMax)
        {
            _known.Clear();
        }

        var caller = new Caller(reader.GetGuid(0), new TenantId(reader.GetGuid(1)), reader.GetBoolean(2))
        {
            KeyName = reader.GetString(3),
            IsDashboard = reader.GetString(4) == DashboardTenant,
        };
        _known[key] = (caller, time.GetTimestamp());
        return caller;
    }

    /// <summary>Whether there is a tenant of that id.</summary>
    public async Task<bool> IsTenantAsync(Guid tenant, CancellationToken stop)
    {
        await using var command = database.CreateCommand("SELECT EXISTS (SELECT FROM tenants WHERE id = $1)");
        command.Parameters.AddWithValue(tenant);
        return await command.ExecuteScalarAsync(stop) is true;
    }
}

/// <summary>Who sent a request.</summary>
/// <param name="Key">The key's id; its own limits hold whatever tenant an operator acts for.</param>
/// <param name="IsOperator">True for who runs the service: sees margins, and sets prices and budgets.</param>
public sealed record Caller(Guid Key, TenantId Tenant, bool IsOperator)
{
    /// <summary>The key's name and how it begins, which tells it apart.</summary>
    public string KeyName { get; init; } = "";

    /// <summary>True for the dashboard's own key: it keeps itself what its operators do, by their names.</summary>
    public bool IsDashboard { get; init; }
}

/// <summary>Keeps what operators do with their keys, as the dashboard keeps what they do there.</summary>
public interface IOperatorAudit
{
    /// <summary>
    /// Lets the endpoint do it, and keeps who did what, to what, how it was (<see cref="ApiKeyAuthentication.WasBefore"/>), and what came of it.
    /// </summary>
    /// <param name="actsFor">True for what is done in a tenant's name: the answer is the tenant's, and is not kept.</param>
    ValueTask<object?> KeepAsync(EndpointFilterInvocationContext context, EndpointFilterDelegate next, bool actsFor);
}

/// <summary>Puts the caller's tenant on the request, or answers 401.</summary>
public static class ApiKeyAuthentication
{
    private static readonly object CallerItem = new();
    private static readonly object AuditItem = new();
    private static readonly object BeforeItem = new();

    /// <summary>With an operator's key: the id of the tenant to act for, in place of the key's own.</summary>
    public const string TenantHeader = "Act-For-Tenant";

    /// <summary>With an operator's key: why, for the audit (as Google Cloud's <c>X-Goog-Request-Reason</c>).</summary>
    public const string ReasonHeader = "Audit-Reason";

    /// <summary>Endpoints of the group need a valid key; handlers read <see cref="Tenant"/>.</summary>
    public static TBuilder RequireApiKey<TBuilder>(this TBuilder endpoints)
        where TBuilder : IEndpointConventionBuilder =>
        endpoints.AddEndpointFilter(
            static async (context, next) =>
            {
                var http = context.HttpContext;
                var header = http.Request.Headers.Authorization.ToString();
                var key = header.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase) ? header["Bearer ".Length..].Trim() : "";
                var keys = http.RequestServices.GetService(typeof(ApiKeys)) as ApiKeys;
                if (key.Length > 0 && keys is not null && await keys.FindAsync(key, http.RequestAborted) is { } caller)
                {
                    if (http.Request.Headers[TenantHeader].ToString() is { Length: > 0 } tenant)
                    {
                        if (await ActForAsync(keys, caller, tenant, http.RequestAborted) is not { } acting)
                        {
                            return Problems.Result(
                                FailureKind.OperatorOnly,
                                $"{TenantHeader} names the id of a tenant and needs the API key of an operator."
                            );
                        }

                        http.ActAs(acting);
                        return await KeepAsync(context, next, actsFor: true);
                    }

                    http.ActAs(caller);
                    return await next(context);
                }

                http.Response.Headers.WWWAuthenticate = "Bearer";
                return Problems.Result(
                    FailureKind.Unauthorized,
                    key.Length == 0
                        ? "Send your API key as \"Authorization: Bearer <key>\"."
                        : $"The API key \"{Show(key)}\" is not known or was revoked."
                );
            }
        );

    /// <summary>The tenant whose key came with the request.</summary>
    /// <exception cref="InvalidOperationException">The endpoint does not require a key.</exception>
    public static TenantId Tenant(this HttpContext http) => http.Caller().Tenant;

    /// <summary>Makes the request that caller's: where no key is asked for because nobody sent it.</summary>
    public static void ActAs(this HttpContext http, Caller caller) => http.Items[CallerItem] = caller;

    /// <summary>Whose key came with the request; null where none was looked for, or none is valid.</summary>
    public static Caller? FindCaller(this HttpContext http) => http.Items[CallerItem] as Caller;

    /// <summary>Whose key came with the request.</summary>
    /// <exception cref="InvalidOperationException">The endpoint does not require a key.</exception>
    public static Caller Caller(this HttpContext http) =>
        http.FindCaller() ?? throw new InvalidOperationException("This endpoint does not require an API key.");

    /// <summary>Says how it was, for the audit, before it is changed; null where there was nothing.</summary>
    public static void WasBefore(this HttpContext http, object? view) => http.Items[BeforeItem] = view;

    /// <summary>How it was before it was changed; null where there was nothing, or nobody said.</summary>
    public static object? FindBefore(this HttpContext http) => http.Items[BeforeItem];

    /// <summary>Endpoints of the group, which need a key already, need an operator's. What they change is kept in the audit.</summary>
    public static TBuilder RequireOperator<TBuilder>(this TBuilder endpoints)
        where TBuilder : IEndpointConventionBuilder =>
        endpoints.AddEndpointFilter(
            static async (context, next) =>
                context.HttpContext.Caller().IsOperator
                    ? await KeepAsync(context, next, actsFor: false)
                    : Problems.Result(FailureKind.OperatorOnly, "This needs the API key of an operator; yours is a tenant's.")
        );

    /// <summary>Endpoints of the group are everybody's, and let operators do more: what operators change there is kept in the audit.</summary>
    public static TBuilder KeepOperators<TBuilder>(this TBuilder endpoints)
        where TBuilder : IEndpointConventionBuilder =>
        endpoints.AddEndpointFilter(
            static (context, next) => context.HttpContext.Caller().IsOperator ? KeepAsync(context, next, actsFor: false) : next(context)
        );

    private static ValueTask<object?> KeepAsync(EndpointFilterInvocationContext context, EndpointFilterDelegate next, bool actsFor)
    {
        var http = context.HttpContext;
        var changes = !HttpMethods.IsGet(http.Request.Method) && !HttpMethods.IsHead(http.Request.Method);
        return
            changes
            && !http.Caller().IsDashboard
            && http.RequestServices.GetService(typeof(IOperatorAudit)) is IOperatorAudit audit
            && http.Items.TryAdd(AuditItem, audit)
            ? audit.KeepAsync(context, next, actsFor)
            : next(context);
    }

    private static async ValueTask<Caller?> ActForAsync(ApiKeys keys, Caller caller, string tenant, CancellationToken stop) =>
        caller.IsOperator && Guid.TryParse(tenant, out var id) && await keys.IsTenantAsync(id, stop)
            ? caller with
            {
                Tenant = new TenantId(id),
            }
            : null;

    private static string Show(string key) => key.Length <= 8 ? key : $"{key[..8]}…";
}
