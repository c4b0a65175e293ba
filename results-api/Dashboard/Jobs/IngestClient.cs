using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Dashboard.Jobs;

/// <summary>A command to ingest.</summary>
/// <param name="Path">Below the API's base, <c>v1/jobs/…/cancel</c>.</param>
internal sealed record IngestRequest(HttpMethod Method, string Path)
{
    /// <summary>The tenant to act for; null for what operators do for none.</summary>
    public TenantId? Tenant { get; init; }

    /// <summary>Sent as JSON.</summary>
    public object? Body { get; init; }

    /// <summary>Makes a repeated request the same one; null for commands that may be asked again anyway.</summary>
    public string? IdempotencyKey { get; init; }
}

/// <summary>
/// Sends commands to ingest, which takes every command: the same endpoints that the API's callers use. The key is an operator's, made by
/// this process for itself (both services trust the database), and names the tenant it acts for.
/// </summary>
internal sealed class IngestClient(NpgsqlDataSource database, DashboardOptions options) : IDisposable
{
    private const string KeyName = "dashboard";
    private readonly HttpClient _http = new() { Timeout = TimeSpan.FromSeconds(60) };
    private readonly SemaphoreSlim _issuing = new(1);
    private string? _key;

    public void Dispose()
    {
        _http.Dispose();
        _issuing.Dispose();
    }

    /// <returns>The status, and the answer's or the problem's body.</returns>
    /// <exception cref="HttpRequestException">Ingest is not reachable, or did not answer in time.</exception>
    public async Task<(HttpStatusCode Status, JsonElement Body)> SendAsync(IngestRequest ask, CancellationToken stop)
    {
        var known = _key;
        var answer = await SendAsync(known ?? await IssueAsync(null, stop), ask, stop);
        return answer.Status == HttpStatusCode.Unauthorized ? await SendAsync(await IssueAsync(_key, stop), ask, stop) : answer;
    }

    private async Task<(HttpStatusCode Status, JsonElement Body)> SendAsync(string key, IngestRequest ask, CancellationToken stop)
    {
        using var request = new HttpRequestMessage(ask.Method, new Uri(options.Ingest!, ask.Path));
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", key);
        if (ask.Tenant is { } tenant)
        {
            request.Headers.Add(ApiKeyAuthentication.TenantHeader, tenant.ToString());
        }

        if (ask.IdempotencyKey is not null)
        {
            request.Headers.Add("Idempotency-Key", ask.IdempotencyKey);
        }

        if (ask.Body is not null)
        {
            request.Content = JsonContent.Create(ask.Body, options: ApiJson.Options);
        }

        using var response = await AnswerAsync(request, stop);
        var body = await response.Content.ReadAsStringAsync(stop);
        try
        {
            return (response.StatusCode, JsonElement.Parse(body));
        }
        catch (JsonException)
        {
            // A gateway's own error page.
            return (response.StatusCode, default);
        }
    }

    private async Task<HttpResponseMessage> AnswerAsync(HttpRequestMessage request, CancellationToken stop)
    {
        try
        {
            return await _http.SendAsync(request, stop);
        }
        catch (TaskCanceledException e) when (e.InnerException is TimeoutException)
        {
            throw new HttpRequestException($"it did not answer within {_http.Timeout.TotalSeconds:0} s", e);
        }
    }

    /// <summary>Makes a key, once, unless another caller has just made one; those that processes before left behind are revoked a day later.</summary>
    private async Task<string> IssueAsync(string? refused, CancellationToken stop)
    {
        await _issuing.WaitAsync(stop);
        try
        {
            if (_key is null || _key == refused)
            {
                var tenant = await Tenants.EnsureAsync(database, ApiKeys.DashboardTenant, stop);
                await using var revoke = database.CreateCommand(
                    "UPDATE api_keys SET revoked_at = now() WHERE tenant = $1 AND revoked_at IS NULL AND created_at < now() - interval '1 day'"
                );
                revoke.Parameters.Add(new() { Value = tenant.Value });
                await revoke.ExecuteNonQueryAsync(stop);
                _key = await ApiKeyIssuer.IssueAsync(database, tenant, KeyName, isOperator: true, stop);
            }

            return _key;
        }
        finally
        {
            _issuing.Release();
        }
    }
}
