using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Webhooks;

/// <summary>What the webhook endpoints promise, for the API's document.</summary>
internal static class WebhookOperations
{
    private static readonly ResultsApiOptions Lists = new();
    private static readonly WebhookOptions Defaults = new();
    private static readonly ApiParameter Endpoint = ApiParameter.Path("id", ApiType.Id, "The endpoint's id.");
    private static readonly ApiParameter Delivery = ApiParameter.Path("id", ApiType.Id, "The delivery's id.");
    private static readonly IReadOnlyList<FailureKind> OfOne = [FailureKind.UnknownWebhook];
    private static readonly IReadOnlyList<FailureKind> WithBody = [FailureKind.InvalidRequest, FailureKind.InputTooLarge];

    private static readonly ApiParameter[] Filters =
    [
        ApiParameters.Limit(Lists.ListLimitMax, Lists.ListLimitDefault, "deliveries"),
        ApiParameters.After(ApiType.Id),
        ApiParameter.Query("state", ApiType.List(DeliveryStates.All), "Only deliveries in one of these states."),
        ApiParameter.Query("type", ApiType.List(DeliveryRequests.Types), "Only deliveries of one of these types."),
        ApiParameter.Query("job", ApiType.Id, "Only what was told of this job."),
    ];

    public static readonly ApiOperation Add = new(
        "addWebhookEndpoint",
        ApiTags.Webhooks,
        "Have an address called when something happens.",
        $"""
        Calls are `POST`s of JSON, signed as Standard Webhooks 1.0.0 says, delivered at least once and in no order. `event_types` are any of
        {string.Join(
            ", ",
            EventTypes.All.Select(type => $"`{type}`")
        )}; without them, all but the last two. `signing` is `hmac_sha256` (default) or `ed25519`; a `secret` of one's own is
        {WebhookKey.Form}. The secret of HMAC is in this answer and nowhere else; Ed25519 has a `public_key`, which is no secret.
        """
    )
    {
        Bodies =
        [
            Body<WebhookEndpointBody>(
                "`url`, and where wanted `description`, `event_types`, `signing`, `secret`.",
                """{"url": "https://example.org/hooks/pipeline", "event_types": ["job.completed", "job.failed"]}"""
            ),
        ],
        Answers = [ApiAnswer.Json<WebhookEndpointView>("The endpoint, with its `secret`.")],
        Errors = WithBody,
    };

    public static readonly ApiOperation List = new(
        "listWebhookEndpoints",
        ApiTags.Webhooks,
        "The caller's webhook endpoints.",
        "Newest first, page by page."
    )
    {
        Parameters = [ApiParameters.Limit(Lists.ListLimitMax, Lists.ListLimitDefault, "endpoints"), ApiParameters.After(ApiType.Id)],
        Answers = [ApiAnswer.Json<ListView<WebhookEndpointView>>("A page.")],
        Errors = [FailureKind.InvalidRequest],
    };

    public static readonly ApiOperation Get = new(
        "getWebhookEndpoint",
        ApiTags.Webhooks,
        "One webhook endpoint.",
        "With its health: since when it fails, and why it is disabled."
    )
    {
        Parameters = [Endpoint],
        Answers = [ApiAnswer.Json<WebhookEndpointView>("The endpoint.")],
        Errors = OfOne,
    };

    public static readonly ApiOperation Change = new(
        "changeWebhookEndpoint",
        ApiTags.Webhooks,
        "Change a webhook endpoint.",
        "What is not named stays. What waits for an endpoint that is disabled ends as `failed`, and so does what comes while it is: replay it later."
    )
    {
        Parameters = [Endpoint],
        Bodies =
        [
            Body<WebhookEndpointChange>(
                "Any of `url`, `description`, `event_types`, `state` (`enabled` or `disabled`).",
                """{"description": "the search team's"}"""
            ),
        ],
        Answers = [ApiAnswer.Json<WebhookEndpointView>("The endpoint as it is now.")],
        Errors = [.. WithBody, .. OfOne],
    };

    public static readonly ApiOperation Delete = new(
        "deleteWebhookEndpoint",
        ApiTags.Webhooks,
        "Delete a webhook endpoint.",
        "Nothing more is sent to it, and its log goes with it."
    )
    {
        Parameters = [Endpoint],
        Answers = [ApiAnswer.Json<WebhookEndpointDeleted>("It is deleted.")],
        Errors = OfOne,
    };

    public static readonly ApiOperation Enable = new(
        "enableWebhookEndpoint",
        ApiTags.Webhooks,
        "Enable a webhook endpoint again.",
        "Forgets its failures. What failed meanwhile is not sent by itself: `POST …/replay` sends all of it."
    )
    {
        Parameters = [Endpoint],
        Answers = [ApiAnswer.Json<WebhookEndpointView>("The endpoint, enabled.")],
        Errors = OfOne,
    };

    public static readonly ApiOperation Rotate = new(
        "rotateWebhookSecret",
        ApiTags.Webhooks,
        "Replace the key that signs for an endpoint.",
        $"For `grace_seconds` (default {Defaults.SecretGrace.TotalSeconds:0}) the old key signs beside the new one, so the receiver may change over at leisure; 0 takes it back at once."
    )
    {
        Parameters = [Endpoint],
        Bodies = [Body<WebhookRotation>("Nothing, or any of `signing`, `secret`, `grace_seconds`.", """{"grace_seconds": 3600}""")],
        Answers = [ApiAnswer.Json<WebhookEndpointView>("The endpoint, with its new `secret`.")],
        Errors = [.. WithBody, .. OfOne],
    };

    public static readonly ApiOperation RotateCallbacks = new(
        "rotateWebhookCallbackSecret",
        ApiTags.Webhooks,
        "Make the key that signs the calls which jobs ask for.",
        "All addresses that the tenant's jobs name in `webhook` are called with this one key. It replaces the one before, which signs beside it for `grace_seconds`."
    )
    {
        Bodies = [Body<WebhookRotation>("Nothing, or any of `signing`, `secret`, `grace_seconds`.", """{"signing": "hmac_sha256"}""")],
        Answers = [ApiAnswer.Json<WebhookSecretView>("The key, told once.")],
        Errors = WithBody,
    };

    public static readonly ApiOperation Test = new(
        "testWebhookEndpoint",
        ApiTags.Webhooks,
        "Send a test event.",
        "Sends `webhook.test` to this endpoint, whatever it is told of otherwise; the delivery says what came of it."
    )
    {
        Parameters = [Endpoint],
        Answers = [ApiAnswer.Json<WebhookDeliveryView>("The delivery, on its way.")],
        Errors = [.. OfOne, FailureKind.InvalidState],
    };

    public static readonly ApiOperation Replay = new(
        "replayWebhookEndpoint",
        ApiTags.Webhooks,
        "Send what failed once more, or all of a range of time.",
        $"""
        By default all that failed; `since` and `until` bound it, `"state": "all"` takes what was delivered, too. Each keeps its `webhook-id` and starts its schedule anew.
        At most {Defaults.ReplayRowsMax} at a time, the oldest first: while `has_more`, ask again with `after` set to `last_id`.
        """
    )
    {
        Parameters = [Endpoint],
        Bodies =
        [
            Body<WebhookReplay>(
                "Nothing, or any of `state` (`failed` or `all`), `since`, `until`, `after`.",
                """{"since": "2026-11-01T00:00:00Z", "until": "2026-11-02T00:00:00Z"}"""
            ),
        ],
        Answers = [ApiAnswer.Json<WebhookReplayView>("How many are sent again.")],
        Errors = [.. WithBody, .. OfOne, FailureKind.InvalidState],
    };

    public static readonly ApiOperation ListEndpointDeliveries = new(
        "listWebhookEndpointDeliveries",
        ApiTags.Webhooks,
        "What was sent to an endpoint.",
        "Newest first, page by page; all filters must hold."
    )
    {
        Parameters = [Endpoint, .. Filters],
        Answers = [ApiAnswer.Json<ListView<WebhookDeliveryView>>("A page.")],
        Errors = [FailureKind.InvalidRequest, .. OfOne],
    };

    public static readonly ApiOperation ListDeliveries = new(
        "listWebhookDeliveries",
        ApiTags.Webhooks,
        "What was sent to the caller's endpoints and to the addresses its jobs named.",
        "Newest first, page by page; all filters must hold."
    )
    {
        Parameters = Filters,
        Answers = [ApiAnswer.Json<ListView<WebhookDeliveryView>>("A page.")],
        Errors = [FailureKind.InvalidRequest],
    };

    public static readonly ApiOperation GetDelivery = new(
        "getWebhookDelivery",
        ApiTags.Webhooks,
        "One delivery, with what is sent and every attempt.",
        "Each attempt has its time, duration, status and the beginning of the answer."
    )
    {
        Parameters = [Delivery],
        Answers = [ApiAnswer.Json<WebhookDeliveryView>("The delivery.")],
        Errors = OfOne,
    };

    public static readonly ApiOperation ReplayDelivery = new(
        "replayWebhookDelivery",
        ApiTags.Webhooks,
        "Send one delivery again.",
        "Whatever became of it, with the same `webhook-id`; its schedule starts anew."
    )
    {
        Parameters = [Delivery],
        Answers = [ApiAnswer.Json<WebhookDeliveryView>("The delivery, on its way.")],
        Errors = [.. OfOne, FailureKind.InvalidState],
    };

    private static ApiBody Body<T>(string meaning, string example) => new("application/json", typeof(T), meaning, example);
}

/// <summary>A new endpoint.</summary>
/// <param name="EventTypes">What it is told of; by default all but <c>job.progress</c> and <c>task.completed</c>.</param>
/// <param name="Signing"><c>hmac_sha256</c> (default) or <c>ed25519</c>.</param>
/// <param name="Secret">A secret of one's own; by default a new one.</param>
internal sealed record WebhookEndpointBody(
    string Url,
    string? Description = null,
    IReadOnlyList<string>? EventTypes = null,
    string? Signing = null,
    string? Secret = null
);

/// <summary>What changes.</summary>
/// <param name="State"><c>enabled</c> or <c>disabled</c>.</param>
internal sealed record WebhookEndpointChange(
    string? Url = null,
    string? Description = null,
    IReadOnlyList<string>? EventTypes = null,
    string? State = null
);

/// <summary>A new key.</summary>
/// <param name="Signing"><c>hmac_sha256</c> or <c>ed25519</c>; by default that of the key before.</param>
/// <param name="Secret">A secret of one's own; by default a new one.</param>
/// <param name="GraceSeconds">How long the key before signs beside it.</param>
internal sealed record WebhookRotation(string? Signing = null, string? Secret = null, int? GraceSeconds = null);

/// <summary>What is sent again.</summary>
/// <param name="State"><c>failed</c> (default) or <c>all</c>.</param>
/// <param name="Since">Only what was first due to be sent from then on.</param>
/// <param name="Until">Only what was before.</param>
/// <param name="After">The <c>last_id</c> of the replay before.</param>
internal sealed record WebhookReplay(
    string? State = null,
    DateTimeOffset? Since = null,
    DateTimeOffset? Until = null,
    WebhookDeliveryId? After = null
);
