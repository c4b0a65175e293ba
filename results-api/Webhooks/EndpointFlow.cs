using Pipeline.Contracts;

namespace Pipeline.ResultsApi.Webhooks;

/// <summary>
/// What a sender knows of one endpoint: its claimed deliveries, and how many requests it may have at a time. That number begins small and
/// grows with every success, so that an endpoint which hangs from the start holds few of the sender's requests; a failure brings it back to
/// one, and failures in a row are paused between, so that one which is down keeps its deliveries' attempts for when it is back.
/// </summary>
internal sealed class EndpointFlow(WebhookEndpointId endpoint, WebhookOptions options)
{
    /// <summary>Requests of an endpoint of which nothing is known.</summary>
    public const int WindowFirst = 2;

    private static readonly TimeSpan PauseFirst = TimeSpan.FromMilliseconds(250);
    private int _window = Math.Min(WindowFirst, options.EndpointRequestsMax);
    private int _failuresInARow;

    public WebhookEndpointId Endpoint => endpoint;

    public Queue<ClaimedDelivery> Waiting { get; } = new();

    public int Sending { get; set; }

    /// <summary>True unless the last claim left nothing that is due.</summary>
    public bool MoreIsDue { get; set; } = true;

    /// <summary>Until when nothing is sent: it fails, or asked for it.</summary>
    public DateTimeOffset PausedUntil { get; private set; }

    public bool Fails => _failuresInARow > 0;

    /// <summary>True when the sender need not remember it.</summary>
    public bool IsAsNew(DateTimeOffset now) => Sending == 0 && Waiting.Count == 0 && !Fails && PausedUntil <= now;

    /// <summary>Deliveries to claim now. One that fails is claimed one by one: what it cannot take stays where another sender may try.</summary>
    public int Room(DateTimeOffset now) =>
        PausedUntil > now ? 0
        : Fails ? (Sending + Waiting.Count == 0 ? 1 : 0)
        : Waiting.Count < _window ? (_window * options.ClaimAheadMax) - Waiting.Count
        : 0;

    /// <summary>True when one more request may go out.</summary>
    public bool MaySend(DateTimeOffset now) => Waiting.Count > 0 && Sending < _window && PausedUntil <= now;

    public void Observe(AttemptResult result, DateTimeOffset now)
    {
        Sending--;
        if (result.Succeeded)
        {
            _failuresInARow = 0;
            _window = Math.Min(_window + 1, options.EndpointRequestsMax);
            return;
        }

        _failuresInARow++;
        _window = 1;
        var pause = PauseFirst * Math.Pow(2, Math.Min(_failuresInARow - 2, 20));
        if (_failuresInARow > 1)
        {
            Pause(now + (pause < options.FailingPauseMax ? pause : options.FailingPauseMax));
        }

        if (result.RetryAfter is { } asked && result.Status is 429 or 503)
        {
            Pause(now + (asked < options.RetryAfterMax ? asked : options.RetryAfterMax));
        }
    }

    private void Pause(DateTimeOffset until) => PausedUntil = until > PausedUntil ? until : PausedUntil;
}
