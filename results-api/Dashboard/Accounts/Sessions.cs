using System.Net;
using System.Security.Cryptography;
using System.Text;
using Npgsql;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Dashboard.Accounts;

/// <summary>
/// Who sent a request: by the session's cookie, or by the header of the company's sign-on where that is trusted. Sessions lie in
/// PostgreSQL, so any instance knows them, and one that is ended is ended everywhere at once.
/// </summary>
internal sealed partial class Sessions(
    NpgsqlDataSource database,
    Operators operators,
    DashboardOptions options,
    TimeProvider time,
    ILogger<Sessions> log
)
{
    private const string SecretHeader = "Pipeline-Proxy-Secret";
    private static readonly TimeSpan NoteEvery = TimeSpan.FromMinutes(1);
    private readonly IPNetwork[] _proxies = [.. options.ProxyNetworks.Select(IPNetwork.Parse)];
    private readonly byte[] _secret = Encoding.UTF8.GetBytes(options.ProxySecret ?? "");

    /// <summary>A name with <c>__Host-</c> makes browsers refuse the cookie from anywhere but this host over TLS.</summary>
    private string CookieName => options.IsHttps ? "__Host-pipeline-session" : "pipeline-session";

    /// <returns>The operator, or null for nobody.</returns>
    public async Task<Operator?> FindAsync(HttpContext http)
    {
        if (options.ProxyUserHeader is { } header && http.Request.Headers[header].ToString() is { Length: > 0 } named)
        {
            return await FromProxyAsync(http, named);
        }

        if (http.Request.Cookies[CookieName] is not { Length: > 0 } cookie)
        {
            return null;
        }

        var now = time.GetUtcNow();
        await using var command = database.CreateCommand(
            """
            SELECT o.id, o.name, o.role, s.last_seen FROM operator_sessions s JOIN operators o ON o.id = s.operator
            WHERE s.token = $1 AND s.last_seen > $2 AND s.created_at > $3 AND o.disabled_at IS NULL
            """
        );
        command.Parameters.Add(new() { Value = Tokens.Hash(cookie) });
        command.Parameters.Add(new() { Value = now - options.SessionIdleMax });
        command.Parameters.Add(new() { Value = now - options.SessionMax });
        Operator found;
        await using (var reader = await command.ExecuteReaderAsync(http.RequestAborted))
        {
            if (!await reader.ReadAsync(http.RequestAborted))
            {
                return null;
            }

            found = new(reader.GetGuid(0), reader.GetString(1), OperatorRoles.Parse(reader.GetString(2)) ?? OperatorRole.Viewer);
            if (now - reader.GetFieldValue<DateTimeOffset>(3) < NoteEvery)
            {
                return found;
            }
        }

        await ExecuteAsync("UPDATE operator_sessions SET last_seen = $2 WHERE token = $1", Tokens.Hash(cookie), now, http.RequestAborted);
        return found;
    }

    /// <summary>Begins a session, under a new token: one that somebody planted before is worth nothing.</summary>
    public async Task BeginAsync(HttpContext http, Operator who)
    {
        var token = Tokens.Create();
        await using var command = database.CreateCommand(
            """
            WITH old AS (DELETE FROM operator_sessions WHERE operator = $2 AND (last_seen < $4 OR created_at < $5))
            INSERT INTO operator_sessions (token, operator, created_at, last_seen) VALUES ($1, $2, $3, $3)
            """
        );
        var now = time.GetUtcNow();
        command.Parameters.Add(new() { Value = Tokens.Hash(token) });
        command.Parameters.Add(new() { Value = who.Id });
        command.Parameters.Add(new() { Value = now });
        command.Parameters.Add(new() { Value = now - options.SessionIdleMax });
        command.Parameters.Add(new() { Value = now - options.SessionMax });
        await command.ExecuteNonQueryAsync(http.RequestAborted);
        http.Response.Cookies.Append(CookieName, token, Cookie());
    }

    public async Task EndAsync(HttpContext http)
    {
        if (http.Request.Cookies[CookieName] is { Length: > 0 } cookie)
        {
            await ExecuteAsync("DELETE FROM operator_sessions WHERE token = $1", Tokens.Hash(cookie), null, http.RequestAborted);
        }

        http.Response.Cookies.Delete(CookieName, Cookie());
    }

    private CookieOptions Cookie() =>
        new()
        {
            HttpOnly = true,
            Secure = options.IsHttps,
            SameSite = SameSiteMode.Lax,
            Path = "/",
            IsEssential = true,
        };

    /// <summary>The header is believed from the proxy's network and with its secret only; anybody else could write it, too.</summary>
    private async Task<Operator?> FromProxyAsync(HttpContext http, string named)
    {
        var from = http.Connection.RemoteIpAddress;
        var address = from is { IsIPv4MappedToIPv6: true } ? from.MapToIPv4() : from;
        var secret = Encoding.UTF8.GetBytes(http.Request.Headers[SecretHeader].ToString());
        if (
            address is null
            || !_proxies.Any(network => network.Contains(address))
            || !CryptographicOperations.FixedTimeEquals(secret, _secret)
        )
        {
            LogUntrusted(log, options.ProxyUserHeader!, address);
            return null;
        }

        return await operators.EnsureAsync(http, named);
    }

    private async Task ExecuteAsync(string sql, byte[] token, DateTimeOffset? now, CancellationToken stop)
    {
        await using var command = database.CreateCommand(sql);
        command.Parameters.Add(new() { Value = token });
        if (now is not null)
        {
            command.Parameters.Add(new() { Value = now });
        }

        await command.ExecuteNonQueryAsync(stop);
    }

    [LoggerMessage(
        80,
        LogLevel.Warning,
        "A request with the header {Header} came from {Address}, not from the trusted proxy with its secret: it is nobody's"
    )]
    private static partial void LogUntrusted(ILogger log, string header, IPAddress? address);
}
