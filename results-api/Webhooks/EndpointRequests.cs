using Microsoft.AspNetCore.Http.HttpResults;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Webhooks;

/// <summary>
/// <c>/v1/webhook_endpoints</c>: a tenant's addresses, what they are told of, and their keys; and the key of the addresses that jobs name.
/// </summary>
internal static class EndpointRequests
{
    private const int DescriptionMax = 200;
    private const int SecretMax = 200;
    private static readonly int GraceSecondsMax = (int)TimeSpan.FromDays(30).TotalSeconds;

    public static void MapWebhookEndpoints(this IEndpointRouteBuilder v1)
    {
        var endpoints = v1.MapGroup("/webhook_endpoints");
        endpoints.MapPost("", AddAsync).Describe(WebhookOperations.Add);
        endpoints.MapGet("", ListAsync).Describe(WebhookOperations.List);
        endpoints.MapGet("/{id}", GetAsync).Describe(WebhookOperations.Get);
        endpoints.MapPatch("/{id}", ChangeAsync).Describe(WebhookOperations.Change);
        endpoints.MapDelete("/{id}", DeleteAsync).Describe(WebhookOperations.Delete);
        endpoints.MapPost("/{id}/enable", EnableAsync).Describe(WebhookOperations.Enable);
        endpoints.MapPost("/{id}/rotate", RotateAsync).Describe(WebhookOperations.Rotate);
        v1.MapPost("/webhook_callback_secret", RotateCallbacksAsync).Describe(WebhookOperations.RotateCallbacks);
    }

    /// <summary>The endpoint of that id, if it is the caller's.</summary>
    public static async ValueTask<WebhookEndpointView?> FindAsync(EndpointStore store, HttpContext http, string id) =>
        Guid.TryParse(id, out var value) ? await store.FindAsync(http.Tenant(), new WebhookEndpointId(value), http.RequestAborted) : null;

    public static ProblemResult Unknown(string id) =>
        Problems.Result(FailureKind.UnknownWebhook, $"There is no webhook endpoint \"{id}\".", "id");

    private static async Task<IResult> AddAsync(HttpContext http, EndpointStore store, WebhookAddresses addresses, WebhookOptions options)
    {
        var (body, problem) = await JsonBody.ReadAsync(http);
        var url = ReadUrl(body, addresses);
        var description = body.Text("description", DescriptionMax) ?? "";
        var types = body.Words("event_types", EventTypes.All) ?? [.. EventTypes.Default];
        var key = ReadKey(body);
        if (url is null && problem is null && body.Refusal() is null)
        {
            body.Refuse("url", "an address", "nothing");
        }

        if ((problem ?? body.Refusal()) is { } refusal)
        {
            return refusal;
        }

        if (await store.AddAsync(http.Tenant(), url!, description, types, key!, http.RequestAborted) is not { } id)
        {
            return Problems.Result(
                FailureKind.InvalidRequest,
                $"A tenant has at most {options.EndpointsMax} webhook endpoints. Delete one that is no longer needed first."
            );
        }

        var endpoint = await store.FindAsync(http.Tenant(), id, http.RequestAborted);
        return endpoint is null ? Unknown(id.ToString()) : Answer(WithSecret(endpoint, key!));
    }

    private static async Task<IResult> ListAsync(HttpContext http, EndpointStore store, ResultsApiOptions options)
    {
        var query = new QueryParameters(http.Request.Query);
        var limit = query.Whole("limit", 1, options.ListLimitMax) ?? options.ListLimitDefault;
        var after = query.Value<Guid>("after", "the last_id of a page", text => Guid.TryParse(text, out var id) ? id : null);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        var rows = await store.ListAsync(http.Tenant(), after is { } id ? new WebhookEndpointId(id) : null, limit + 1, http.RequestAborted);
        return Answer(ListView.Of(rows, limit, endpoint => endpoint.Id.ToString()));
    }

    private static async Task<IResult> GetAsync(string id, HttpContext http, EndpointStore store) =>
        await FindAsync(store, http, id) is { } endpoint ? Answer(endpoint) : Unknown(id);

    private static async Task<IResult> ChangeAsync(string id, HttpContext http, EndpointStore store, WebhookAddresses addresses)
    {
        var (body, problem) = await JsonBody.ReadAsync(http);
        var url = ReadUrl(body, addresses);
        var description = body.Text("description", DescriptionMax);
        var types = body.Words("event_types", EventTypes.All);
        var state = body.Word("state", ["enabled", "disabled"]);
        if ((problem ?? body.Refusal()) is { } refusal)
        {
            return refusal;
        }

        return
            await FindAsync(store, http, id) is { } endpoint
            && await store.ChangeAsync(
                http.Tenant(),
                endpoint.Id,
                url,
                description,
                types,
                state is null ? null : state == "enabled",
                http.RequestAborted
            )
            ? await GetAsync(id, http, store)
            : Unknown(id);
    }

    private static async Task<IResult> EnableAsync(string id, HttpContext http, EndpointStore store) =>
        await FindAsync(store, http, id) is { } endpoint
        && await store.ChangeAsync(http.Tenant(), endpoint.Id, null, null, null, enabled: true, http.RequestAborted)
            ? await GetAsync(id, http, store)
            : Unknown(id);

    private static async Task<IResult> DeleteAsync(string id, HttpContext http, EndpointStore store) =>
        await FindAsync(store, http, id) is { } endpoint && await store.DeleteAsync(http.Tenant(), endpoint.Id, http.RequestAborted)
            ? Answer(new WebhookEndpointDeleted(endpoint.Id))
            : Unknown(id);

    private static async Task<IResult> RotateAsync(string id, HttpContext http, EndpointStore store, WebhookOptions options)
    {
        var (body, problem) = await JsonBody.ReadAsync(http);
        var (key, grace) = ReadRotation(body, options);
        if ((problem ?? body.Refusal()) is { } refusal)
        {
            return refusal;
        }

        if (await FindAsync(store, http, id) is not { } endpoint)
        {
            return Unknown(id);
        }

        // Without a word about it, the new key is of the kind of the old one.
        key ??= WebhookKey.New(endpoint.Signing);
        await store.RotateAsync(endpoint.Id.Value, key, grace, http.RequestAborted);
        return await FindAsync(store, http, id) is { } rotated ? Answer(WithSecret(rotated, key)) : Unknown(id);
    }

    private static async Task<IResult> RotateCallbacksAsync(
        HttpContext http,
        EndpointStore store,
        WebhookOptions options,
        TimeProvider time
    )
    {
        var (body, problem) = await JsonBody.ReadAsync(http);
        var (key, grace) = ReadRotation(body, options);
        if ((problem ?? body.Refusal()) is { } refusal)
        {
            return refusal;
        }

        key ??= WebhookKey.New(WebhookKey.Hmac);
        await store.RotateAsync(http.Tenant().Value, key, grace, http.RequestAborted);
        var isPublic = key.Signing == WebhookKey.Ed25519;
        return Answer(
            new WebhookSecretView
            {
                Signing = key.Signing,
                PublicKey = isPublic ? key.ForReceiver : null,
                Secret = isPublic ? null : key.ForReceiver,
                CreatedAt = time.GetUtcNow(),
            }
        );
    }

    private static string? ReadUrl(JsonBody body, WebhookAddresses addresses)
    {
        if (body.Text("url", WebhookAddresses.LengthMax) is not { } url)
        {
            return null;
        }

        if (addresses.Mistake(url) is { } expected)
        {
            body.Refuse("url", expected, $"\"{url}\"");
        }

        return url;
    }

    private static WebhookKey? ReadKey(JsonBody body) => ReadGivenKey(body) ?? WebhookKey.New(WebhookKey.Hmac);

    private static (WebhookKey? Key, TimeSpan Grace) ReadRotation(JsonBody body, WebhookOptions options) =>
        (
            ReadGivenKey(body),
            body.Whole("grace_seconds", 0, GraceSecondsMax) is { } seconds ? TimeSpan.FromSeconds(seconds) : options.SecretGrace
        );

    /// <summary>The key that the body brings along, or a new one of the kind it names; null where it says nothing.</summary>
    private static WebhookKey? ReadGivenKey(JsonBody body)
    {
        var signing = body.Word("signing", WebhookKey.Signings);
        if (body.Text("secret", SecretMax) is not { } secret)
        {
            return signing is null ? null : WebhookKey.New(signing);
        }

        if (!WebhookKey.TryParse(secret, out var key))
        {
            // What was given is a secret, even where it is a wrong one.
            body.Refuse("secret", WebhookKey.Form, "something else");
        }
        else if (signing is not null && signing != key.Signing)
        {
            body.Refuse("signing", $"{key.Signing}, as the secret is, or nothing", signing);
        }

        return key;
    }

    private static WebhookEndpointView WithSecret(WebhookEndpointView endpoint, WebhookKey key) =>
        key.Signing == WebhookKey.Hmac ? endpoint with { Secret = key.ForReceiver } : endpoint;

    private static JsonHttpResult<T> Answer<T>(T view) => TypedResults.Json(view, ApiJson.Options);
}
