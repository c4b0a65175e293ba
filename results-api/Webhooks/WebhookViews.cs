using System.Text.Json.Serialization;
using Pipeline.Contracts;

namespace Pipeline.ResultsApi.Webhooks;

/// <summary>A webhook endpoint as the API shows it.</summary>
public sealed record WebhookEndpointView
{
    public required WebhookEndpointId Id { get; init; }
    public string Object { get; } = "webhook_endpoint";
    public required string Url { get; init; }
    public required string Description { get; init; }
    public required IReadOnlyList<string> EventTypes { get; init; }

    /// <summary><c>enabled</c> or <c>disabled</c>.</summary>
    public required string State { get; init; }

    /// <summary><c>by_owner</c>, <c>gone</c> (it answered 410) or <c>failing</c> (every attempt for days).</summary>
    public required string? DisabledReason { get; init; }

    /// <summary>Since when every attempt has failed, and how many; null and 0 after one that did not.</summary>
    public required DateTimeOffset? FailingSince { get; init; }
    public required int Failures { get; init; }

    /// <summary><c>hmac_sha256</c> or <c>ed25519</c>.</summary>
    public required string Signing { get; init; }

    /// <summary>Ed25519: what the receiver verifies with.</summary>
    public required string? PublicKey { get; init; }

    /// <summary>HMAC: what the receiver verifies with. Told once, when it is made; shown nowhere else.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Secret { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
}

/// <summary>What signs the calls that jobs ask for.</summary>
public sealed record WebhookSecretView
{
    public string Object { get; } = "webhook_callback_secret";

    /// <summary><c>hmac_sha256</c> or <c>ed25519</c>.</summary>
    public required string Signing { get; init; }

    /// <summary>Ed25519: what the receiver verifies with.</summary>
    public required string? PublicKey { get; init; }

    /// <summary>HMAC: what the receiver verifies with. Told once, now.</summary>
    public required string? Secret { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
}

/// <summary>An endpoint that is no more.</summary>
public sealed record WebhookEndpointDeleted(WebhookEndpointId Id)
{
    public string Object { get; } = "webhook_endpoint";
    public bool Deleted { get; } = true;
}

/// <summary>A delivery as the API shows it.</summary>
public sealed record WebhookDeliveryView
{
    public required WebhookDeliveryId Id { get; init; }
    public string Object { get; } = "webhook_delivery";

    /// <summary>Null for a call that a job asked for.</summary>
    public required WebhookEndpointId? Endpoint { get; init; }
    public required string Url { get; init; }
    public required string Type { get; init; }
    public required JobId? Job { get; init; }

    /// <summary><c>pending</c>, <c>delivered</c> or <c>failed</c>.</summary>
    public required string State { get; init; }

    /// <summary>Why it failed: <c>attempts_exhausted</c>, <c>endpoint_disabled</c>, <c>gone</c> or <c>address_refused</c>.</summary>
    public required string? Reason { get; init; }

    /// <summary>Attempts begun.</summary>
    public required int AttemptCount { get; init; }

    /// <summary>When it is sent next; while a request is on its way, when it counts as lost.</summary>
    public required DateTimeOffset? DueAt { get; init; }

    /// <summary>HTTP status of the last attempt; null before it, or where no answer came.</summary>
    public required int? LastStatus { get; init; }
    public required string? LastError { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
    public required DateTimeOffset? FinishedAt { get; init; }

    /// <summary>Of one delivery asked for alone: what is sent.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public WebhookRequestView? Request { get; init; }

    /// <summary>Of one delivery asked for alone: every attempt whose end is known, the first first.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<WebhookAttemptView>? Attempts { get; init; }
}

/// <summary>What is sent; the signature and its time are new at every attempt.</summary>
/// <param name="WebhookId">The header <c>webhook-id</c>, the same at every attempt.</param>
/// <param name="Body">The bytes as text.</param>
public sealed record WebhookRequestView(string Method, string WebhookId, string Body);

/// <summary>One attempt.</summary>
public sealed record WebhookAttemptView
{
    /// <summary>Counted from 1; a number is missing where the sender died before it could write what came of it.</summary>
    public required int No { get; init; }
    public required DateTimeOffset At { get; init; }
    public required int DurationMs { get; init; }
    public required int? Status { get; init; }
    public required string? Error { get; init; }

    /// <summary>The beginning of the answer's body.</summary>
    public required string? Response { get; init; }
}

/// <summary>What a replay put back.</summary>
/// <param name="Replayed">Deliveries that will be sent again.</param>
/// <param name="HasMore">True when there are more than one request replays; ask again with <c>after</c>.</param>
public sealed record WebhookReplayView(int Replayed, bool HasMore, WebhookDeliveryId? LastId)
{
    public string Object { get; } = "webhook_replay";
}
