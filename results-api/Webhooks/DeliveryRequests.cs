using Microsoft.AspNetCore.Http.HttpResults;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Webhooks;

/// <summary><c>/v1/webhook_deliveries</c>: the log, a test, and replays.</summary>
internal static class DeliveryRequests
{
    /// <summary>What a replay may be of: what failed, or all that is finished.</summary>
    public static readonly IReadOnlyList<string> ReplayStates = [DeliveryStates.Failed, "all"];

    /// <summary>Types a list may be of.</summary>
    public static readonly IReadOnlyList<string> Types = [.. EventTypes.All, EventTypes.Test];

    public static void MapWebhookDeliveries(this IEndpointRouteBuilder v1)
    {
        v1.MapGet("/webhook_deliveries", ListOfTenantAsync).Describe(WebhookOperations.ListDeliveries);
        v1.MapGet("/webhook_deliveries/{id}", GetAsync).Describe(WebhookOperations.GetDelivery);
        v1.MapPost("/webhook_deliveries/{id}/replay", ReplayAsync).Describe(WebhookOperations.ReplayDelivery);
        v1.MapGet("/webhook_endpoints/{id}/deliveries", ListOfEndpointAsync).Describe(WebhookOperations.ListEndpointDeliveries);
        v1.MapPost("/webhook_endpoints/{id}/test", TestAsync).Describe(WebhookOperations.Test);
        v1.MapPost("/webhook_endpoints/{id}/replay", ReplayEndpointAsync).Describe(WebhookOperations.Replay);
    }

    private static Task<IResult> ListOfTenantAsync(HttpContext http, DeliveryStore deliveries, ResultsApiOptions options) =>
        ListAsync(http, deliveries, options, endpoint: null);

    private static async Task<IResult> ListOfEndpointAsync(
        string id,
        HttpContext http,
        EndpointStore endpoints,
        DeliveryStore deliveries,
        ResultsApiOptions options
    ) =>
        await EndpointRequests.FindAsync(endpoints, http, id) is { } endpoint
            ? await ListAsync(http, deliveries, options, endpoint.Id)
            : EndpointRequests.Unknown(id);

    private static async Task<IResult> ListAsync(
        HttpContext http,
        DeliveryStore deliveries,
        ResultsApiOptions options,
        WebhookEndpointId? endpoint
    )
    {
        var query = new QueryParameters(http.Request.Query);
        var limit = query.Whole("limit", 1, options.ListLimitMax) ?? options.ListLimitDefault;
        var after = query.Value("after", "the last_id of a page", ParseId);
        var states = query.Words("state", DeliveryStates.All.ToArray());
        var types = query.Words("type", Types.ToArray());
        var job = query.Value("job", "the id of a job", ParseId);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        var filter = new DeliveryFilter(
            endpoint,
            job is { } of ? new JobId(of) : null,
            states,
            types,
            after is { } id ? new WebhookDeliveryId(id) : null
        );
        var rows = await deliveries.ListAsync(http.Tenant(), filter, limit + 1, http.RequestAborted);
        return Answer(ListView.Of(rows, limit, delivery => delivery.Id.ToString()));
    }

    private static async Task<IResult> GetAsync(string id, HttpContext http, DeliveryStore deliveries) =>
        ParseId(id) is { } value
        && await deliveries.FindAsync(http.Tenant(), new WebhookDeliveryId(value), http.RequestAborted) is { } delivery
            ? Answer(delivery)
            : Unknown(id);

    private static async Task<IResult> ReplayAsync(string id, HttpContext http, DeliveryStore deliveries, WebhookSender sender)
    {
        if (
            ParseId(id) is not { } value
            || await deliveries.FindAsync(http.Tenant(), new WebhookDeliveryId(value), http.RequestAborted) is not { } delivery
        )
        {
            return Unknown(id);
        }

        if (!await deliveries.ReplayAsync(http.Tenant(), delivery.Id, http.RequestAborted))
        {
            return NotEnabled();
        }

        sender.Wake();
        return await GetAsync(id, http, deliveries);
    }

    private static async Task<IResult> TestAsync(
        string id,
        HttpContext http,
        EndpointStore endpoints,
        DeliveryStore deliveries,
        WebhookSender sender
    )
    {
        if (await EndpointRequests.FindAsync(endpoints, http, id) is not { } endpoint)
        {
            return EndpointRequests.Unknown(id);
        }

        if (await deliveries.AddTestAsync(http.Tenant(), endpoint.Id, http.RequestAborted) is not { } test)
        {
            return NotEnabled();
        }

        sender.Wake();
        return await GetAsync(test.ToString(), http, deliveries);
    }

    private static async Task<IResult> ReplayEndpointAsync(
        string id,
        HttpContext http,
        EndpointStore endpoints,
        DeliveryStore deliveries,
        WebhookSender sender
    )
    {
        var (body, problem) = await JsonBody.ReadAsync(http);
        var state = body.Word("state", ReplayStates) ?? DeliveryStates.Failed;
        var (since, until) = (body.Time("since"), body.Time("until"));
        var after = body.Text("after", 36) is { } text ? ParseId(text) ?? Guid.Empty : (Guid?)null;
        if (after == Guid.Empty)
        {
            body.Refuse("after", "the last_id of the replay before", "something else");
        }

        if (since >= until)
        {
            body.Refuse("since", "a time before \"until\"", $"{since:O}");
        }

        if ((problem ?? body.Refusal()) is { } refusal)
        {
            return refusal;
        }

        if (await EndpointRequests.FindAsync(endpoints, http, id) is not { } endpoint)
        {
            return EndpointRequests.Unknown(id);
        }

        if (endpoint.State != "enabled")
        {
            return NotEnabled();
        }

        var replayed = await deliveries.ReplayAsync(
            endpoint.Id,
            state == DeliveryStates.Failed ? [DeliveryStates.Failed] : [DeliveryStates.Failed, DeliveryStates.Delivered],
            since,
            until,
            after is { } from ? new WebhookDeliveryId(from) : null,
            http.RequestAborted
        );
        sender.Wake();
        return Answer(replayed);
    }

    private static Guid? ParseId(string text) => Guid.TryParse(text, out var id) ? id : null;

    private static ProblemResult NotEnabled() =>
        Problems.Result(
            FailureKind.InvalidState,
            "The endpoint is disabled, so nothing is sent to it. POST /v1/webhook_endpoints/{id}/enable first.",
            "state"
        );

    private static ProblemResult Unknown(string id) =>
        Problems.Result(FailureKind.UnknownWebhook, $"There is no webhook delivery \"{id}\".", "id");

    private static JsonHttpResult<T> Answer<T>(T view) => TypedResults.Json(view, ApiJson.Options);
}
