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
    private const int RememberedMax = 10_000;
    private static readonly TimeSpan Remember = TimeSpan.FromSeconds(30);
    private readonly ConcurrentDictionary<string, (TenantId Tenant, long At)> _known = new();

    public static byte[] Hash(string key) => SHA256.HashData(Encoding.UTF8.GetBytes(key));

    /// <returns>The key's tenant, or null when no such key is valid.</returns>
    public async ValueTask<TenantId?> FindTenantAsync(string key, CancellationToken stop)
    {
        if (_known.TryGetValue(key, out var known) && time.GetElapsedTime(known.At) < Remember)
        {
            return known.Tenant;
        }

        await using var command = database.CreateCommand("SELECT tenant FROM api_keys WHERE hash = $1 AND revoked_at IS NULL");
        command.Parameters.AddWithValue(Hash(key));
        if (await command.ExecuteScalarAsync(stop) is not Guid tenant)
        {
            _known.TryRemove(key, out _);
            return null;
        }

        if (_known.Count >= RememberedMax)
        {
            _known.Clear();
        }

        _known[key] = (new TenantId(tenant), time.GetTimestamp());
        return new TenantId(tenant);
    }
}

/// <summary>Puts the caller's tenant on the request, or answers 401.</summary>
public static class ApiKeyAuthentication
{
    private static readonly object TenantItem = new();

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
                if (key.Length > 0 && keys is not null && await keys.FindTenantAsync(key, http.RequestAborted) is { } tenant)
                {
                    http.Items[TenantItem] = tenant;
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
    public static TenantId Tenant(this HttpContext http) =>
        http.Items[TenantItem] is TenantId tenant
            ? tenant
            : throw new InvalidOperationException("This endpoint does not require an API key.");

    private static string Show(string key) => key.Length <= 8 ? key : $"{key[..8]}…";
}
