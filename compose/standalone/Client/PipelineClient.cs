using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Standalone.Client;

/// <summary>
/// The API as the command line uses it. Writes go to ingest, reads to results-api; behind a gateway, or in the standalone host,
/// both are one address.
/// </summary>
internal sealed class PipelineClient : IDisposable
{
    private readonly HttpClient _writes;
    private readonly HttpClient _reads;

    /// <param name="reason">Why, for the audit of what operators do.</param>
    public PipelineClient(Uri ingest, Uri results, string apiKey, string? reason = null)
    {
        _writes = Create(ingest, apiKey, reason);
        _reads = Create(results, apiKey, reason);
    }

    /// <summary>Where reads go.</summary>
    public Uri Address => _reads.BaseAddress!;

    /// <summary>Sends a body of NDJSON task lines as one job.</summary>
    /// <param name="parameters">Query parameters: <c>model</c>, <c>class</c>, <c>deadline</c>, <c>metadata[…]</c>, ….</param>
    /// <exception cref="ApiException">The job was refused; nothing of it is kept.</exception>
    public async Task<ApiJob> SubmitAsync(
        HttpContent body,
        IEnumerable<KeyValuePair<string, string>> parameters,
        string? idempotencyKey,
        CancellationToken stop
    )
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, $"v1/jobs?{Query(parameters)}") { Content = body };
        if (idempotencyKey is not null)
        {
            request.Headers.Add("Idempotency-Key", idempotencyKey);
        }

        using var response = await _writes.SendAsync(request, stop);
        return await ReadAsync<ApiJob>(response, stop);
    }

    /// <summary>What the same body, sent as a job, would take and cost in every class.</summary>
    /// <exception cref="ApiException">The body or a parameter is bad, or nothing can be estimated now.</exception>
    public async Task<ApiEstimate> EstimateAsync(
        HttpContent body,
        IEnumerable<KeyValuePair<string, string>> parameters,
        CancellationToken stop
    )
    {
        using var response = await _writes.PostAsync($"v1/estimates?{Query(parameters)}", body, stop);
        return await ReadAsync<ApiEstimate>(response, stop);
    }

    /// <summary>Sends one input as express work and waits for the answer.</summary>
    /// <returns>The body of <c>POST /v1/infer</c>.</returns>
    /// <exception cref="ApiException">It was refused, or its task did not succeed.</exception>
    public Task<JsonElement> InferAsync(string model, string input, CancellationToken stop) => InferAsync(new { model, input }, stop);

    /// <summary>The same, with a body of one's own.</summary>
    /// <inheritdoc cref="InferAsync(string, string, CancellationToken)" path="/returns|/exception"/>
    public async Task<JsonElement> InferAsync(object body, CancellationToken stop)
    {
        using var response = await _writes.PostAsJsonAsync("v1/infer", body, ApiJson.Options, stop);
        return await ReadAsync<JsonElement>(response, stop);
    }

    public Task<ApiJob> GetJobAsync(string id, CancellationToken stop) => GetAsync<ApiJob>($"v1/jobs/{Uri.EscapeDataString(id)}", stop);

    public Task<ApiList<ApiJob>> ListJobsAsync(string query, CancellationToken stop) => GetAsync<ApiList<ApiJob>>($"v1/jobs?{query}", stop);

    public Task<ApiList<JsonElement>> ListModelsAsync(CancellationToken stop) => GetAsync<ApiList<JsonElement>>("v1/models", stop);

    public Task<ApiList<ApiRoute>> ListRoutesAsync(CancellationToken stop) => GetAsync<ApiList<ApiRoute>>("v1/routes", stop);

    public Task<ApiRoute> GetRouteAsync(string name, CancellationToken stop) =>
        GetAsync<ApiRoute>($"v1/routes/{Uri.EscapeDataString(name)}", stop);

    /// <summary>Sets a route; for operators.</summary>
    public async Task<ApiRoute> SetRouteAsync(string name, object body, CancellationToken stop)
    {
        using var response = await _writes.PutAsJsonAsync($"v1/routes/{Uri.EscapeDataString(name)}", body, ApiJson.Options, stop);
        return await ReadAsync<ApiRoute>(response, stop);
    }

    /// <summary>Keeps what was measured of a route's version; for operators.</summary>
    public async Task SetRouteQualityAsync(string name, object quality, CancellationToken stop)
    {
        using var response = await _writes.PutAsJsonAsync(
            $"v1/routes/{Uri.EscapeDataString(name)}/quality",
            quality,
            ApiJson.Options,
            stop
        );
        await ThrowIfRefusedAsync(response, stop);
    }

    public Task<ApiList<JsonElement>> ListWorkersAsync(CancellationToken stop) => GetAsync<ApiList<JsonElement>>("v1/workers", stop);

    public Task<ApiList<JsonElement>> ListPricesAsync(int limit, CancellationToken stop) =>
        GetAsync<ApiList<JsonElement>>($"v1/prices?limit={limit}", stop);

    public Task<JsonElement> GetBudgetAsync(string tenant, CancellationToken stop) =>
        GetAsync<JsonElement>($"v1/tenants/{Uri.EscapeDataString(tenant)}/budget", stop);

    /// <summary>An SLA report, in the form that is asked for.</summary>
    public async Task<string> GetReportAsync(IEnumerable<KeyValuePair<string, string>> parameters, CancellationToken stop)
    {
        using var response = await _reads.GetAsync($"v1/reports/sla?{Query(parameters)}", stop);
        await ThrowIfRefusedAsync(response, stop);
        return await response.Content.ReadAsStringAsync(stop);
    }

    /// <summary>Sets something (operators); members that are null are left out.</summary>
    public async Task<T> PutAsync<T>(string path, object body, CancellationToken stop)
    {
        using var response = await _writes.PutAsJsonAsync(path, body, ApiJson.Options, stop);
        return await ReadAsync<T>(response, stop);
    }

    /// <summary>A list below <c>/v1/</c> of results-api.</summary>
    public Task<ApiList<JsonElement>> ListAsync(string path, CancellationToken stop) => GetAsync<ApiList<JsonElement>>($"v1/{path}", stop);

    /// <summary>One thing below <c>/v1/</c> of results-api.</summary>
    public Task<JsonElement> FindAsync(string path, CancellationToken stop) => GetAsync<JsonElement>($"v1/{path}", stop);

    /// <summary>Sends a command to results-api.</summary>
    public Task<JsonElement> PostAsync(string path, object? body, CancellationToken stop) =>
        SendAsync(HttpMethod.Post, path, body ?? new { }, stop);

    /// <summary>Sends anything to results-api, below <c>/v1/</c>.</summary>
    public async Task<JsonElement> SendAsync(HttpMethod method, string path, object? body, CancellationToken stop)
    {
        using var request = new HttpRequestMessage(method, $"v1/{path}");
        request.Content = body is null ? null : JsonContent.Create(body, options: ApiJson.Options);
        using var response = await _reads.SendAsync(request, stop);
        return await ReadAsync<JsonElement>(response, stop);
    }

    /// <summary>Sends anything to ingest, below <c>/v1/</c>.</summary>
    public async Task<T> WriteAsync<T>(HttpMethod method, string path, object? body, CancellationToken stop)
    {
        using var request = new HttpRequestMessage(method, $"v1/{path}");
        request.Content = body is null ? null : JsonContent.Create(body, options: ApiJson.Options);
        using var response = await _writes.SendAsync(request, stop);
        return await ReadAsync<T>(response, stop);
    }

    /// <summary>Takes something away that ingest keeps, below <c>/v1/</c>.</summary>
    public async Task DeleteAsync(string path, CancellationToken stop)
    {
        using var response = await _writes.DeleteAsync($"v1/{path}", stop);
        await ThrowIfRefusedAsync(response, stop);
    }

    /// <summary>One of <c>cancel</c>, <c>pause</c>, <c>resume</c>, <c>retry-failed</c>.</summary>
    public async Task<ApiJob> CommandAsync(string id, string command, CancellationToken stop)
    {
        using var response = await _writes.PostAsync($"v1/jobs/{Uri.EscapeDataString(id)}/{command}", null, stop);
        return await ReadAsync<ApiJob>(response, stop);
    }

    /// <summary>Result lines, as they stream in.</summary>
    public async IAsyncEnumerable<string> ResultsAsync(string id, string query, [EnumeratorCancellation] CancellationToken stop)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"v1/jobs/{Uri.EscapeDataString(id)}/results?{query}");
        request.Headers.AcceptEncoding.Add(new StringWithQualityHeaderValue("gzip"));
        using var response = await _reads.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, stop);
        await ThrowIfRefusedAsync(response, stop);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(stop), Encoding.UTF8);
        while (await reader.ReadLineAsync(stop) is { } line)
        {
            if (line.Length > 0)
            {
                yield return line;
            }
        }
    }

    /// <summary>True when the address answers and is ready for work.</summary>
    public async Task<bool> IsReadyAsync(CancellationToken stop)
    {
        try
        {
            using var response = await _reads.GetAsync("healthz/ready", stop);
            return response.IsSuccessStatusCode;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }

    public void Dispose()
    {
        _writes.Dispose();
        _reads.Dispose();
    }

    private static string Query(IEnumerable<KeyValuePair<string, string>> parameters) =>
        string.Join('&', parameters.Select(p => $"{Uri.EscapeDataString(p.Key)}={Uri.EscapeDataString(p.Value)}"));

    private async Task<T> GetAsync<T>(string path, CancellationToken stop)
    {
        using var response = await _reads.GetAsync(path, stop);
        return await ReadAsync<T>(response, stop);
    }

    private static async Task<T> ReadAsync<T>(HttpResponseMessage response, CancellationToken stop)
    {
        await ThrowIfRefusedAsync(response, stop);
        return await response.Content.ReadFromJsonAsync<T>(ApiJson.Options, stop)
            ?? throw new ApiException(response.StatusCode, null, "The service answered with an empty body.");
    }

    private static async Task ThrowIfRefusedAsync(HttpResponseMessage response, CancellationToken stop)
    {
        if (response.IsSuccessStatusCode)
        {
            return;
        }

        var text = await response.Content.ReadAsStringAsync(stop);
        Problem? problem = null;
        try
        {
            problem = JsonSerializer.Deserialize<Problem>(text, ApiJson.Options);
        }
        catch (JsonException)
        {
            // Not ours (a proxy's page, say): the status and the text have to do.
        }

        var status = ((int)response.StatusCode).ToString(CultureInfo.InvariantCulture);
        throw new ApiException(response.StatusCode, problem, problem?.Detail ?? $"{status} {response.ReasonPhrase}: {text}")
        {
            RetryAfter = response.Headers.RetryAfter?.Delta,
        };
    }

    private static HttpClient Create(Uri address, string apiKey, string? reason)
    {
        var handler = new SocketsHttpHandler
        {
            AutomaticDecompression = DecompressionMethods.GZip,
            PooledConnectionLifetime = TimeSpan.FromMinutes(5),
            RequestHeaderEncodingSelector = static (name, _) => name == ApiKeyAuthentication.ReasonHeader ? Encoding.UTF8 : null,
        };
        // An upload lasts as long as its file; every call carries a token instead.
        var client = new HttpClient(handler) { BaseAddress = address, Timeout = Timeout.InfiniteTimeSpan };
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", apiKey);
        if (!string.IsNullOrWhiteSpace(reason))
        {
            client.DefaultRequestHeaders.Add(ApiKeyAuthentication.ReasonHeader, reason.ReplaceLineEndings(" "));
        }

        return client;
    }
}

/// <summary>The service refused, with its reasons.</summary>
internal sealed class ApiException(HttpStatusCode status, Problem? problem, string message) : Exception(message)
{
    public HttpStatusCode Status { get; } = status;

    public Problem? Problem { get; } = problem;

    /// <summary>The file whose lines the mistakes name.</summary>
    public string? File { get; set; }

    /// <summary>When the same request may be worth another try, where the service says so (429, 503).</summary>
    public TimeSpan? RetryAfter { get; init; }
}

/// <summary>A job as the API shows it.</summary>
internal sealed record ApiJob
{
    public required string Id { get; init; }
    public required string Model { get; init; }

    /// <summary>The route, as <c>name@version</c>; null where the model is all.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Route { get; init; }
    public string Class { get; init; } = "";
    public required JobState State { get; init; }
    public bool Paused { get; init; }
    public long Tasks { get; init; }
    public ApiCounts Counts { get; init; } = new();
    public double Progress { get; init; }
    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset? QueuedAt { get; init; }
    public DateTimeOffset? StartedAt { get; init; }
    public DateTimeOffset? FinishedAt { get; init; }
    public DateTimeOffset? Deadline { get; init; }
    public DateTimeOffset? PredictedAt { get; init; }
    public decimal CostPicoUsd { get; init; }
    public decimal? CostPerTaskPicoUsd { get; init; }

    public long Ended => Counts.Succeeded + Counts.Failed + Counts.Expired + Counts.Cancelled;
}

internal sealed record ApiCounts
{
    public long Succeeded { get; init; }
    public long Failed { get; init; }
    public long Expired { get; init; }
    public long Cancelled { get; init; }
    public long Remaining { get; init; }
}

/// <summary>A route as the API shows it.</summary>
internal sealed record ApiRoute
{
    public required string Name { get; init; }
    public required int Version { get; init; }
    public required IReadOnlyList<VariantView> Variants { get; init; }
    public DateTimeOffset CreatedAt { get; init; }
    public RouteQuality? Quality { get; init; }
}

/// <summary>What a job would take, as the API tells it.</summary>
internal sealed record ApiEstimate
{
    public required string Model { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Route { get; init; }

    /// <summary>Of a route that was measured.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<ApiChoiceEstimate>? Choices { get; init; }
    public required long Tasks { get; init; }
    public required long Units { get; init; }
    public required IReadOnlyList<ApiClassEstimate> Classes { get; init; }
}

internal sealed record ApiChoiceEstimate(string Choice, double Accuracy, double TurnsPerTask, decimal CostPicoUsd);

internal sealed record ApiClassEstimate
{
    public required string Class { get; init; }
    public required string Admission { get; init; }
    public DateTimeOffset? StartsAt { get; init; }
    public DateTimeOffset? CompletedAt { get; init; }
    public DateTimeOffset? LateAt { get; init; }

    /// <summary>From now, by the server's clock, to <see cref="CompletedAt"/>.</summary>
    public double? Seconds { get; init; }
    public long? CostPicoUsd { get; init; }
    public long? CostHighPicoUsd { get; init; }
    public long? PricePicoUsd { get; init; }
}

internal sealed record ApiList<T>
{
    public required IReadOnlyList<T> Data { get; init; }
    public bool HasMore { get; init; }
    public string? LastId { get; init; }
}
