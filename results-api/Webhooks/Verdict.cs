namespace Pipeline.ResultsApi.Webhooks;

/// <summary>Decides what an attempt comes to. 2xx is delivered, 410 wants no more, everything else is tried again while there are attempts.</summary>
internal static class Verdict
{
    private const int Gone = 410;

    /// <param name="chance">Drawn evenly from 0 to 1.</param>
    public static DeliveryOutcome Of(
        ClaimedDelivery delivery,
        AttemptResult result,
        DateTimeOffset sentAt,
        WebhookOptions options,
        double chance
    )
    {
        if (result.Succeeded)
        {
            return Make(DeliveryStates.Delivered, null, null);
        }

        if (result.Refused)
        {
            return Make(DeliveryStates.Failed, "address_refused", null);
        }

        if (result.Status == Gone)
        {
            // A job's own address says it of this call; other jobs may call others at the same host.
            return Make(DeliveryStates.Failed, "gone", null, gone: !delivery.IsCallback);
        }

        return RetrySchedule.DelayAfter(delivery.Attempt - delivery.AttemptsBefore, options, chance, result.RetryAfter) is { } pause
            ? Make(DeliveryStates.Pending, null, sentAt + result.Took + pause)
            : Make(DeliveryStates.Failed, "attempts_exhausted", null);

        DeliveryOutcome Make(string state, string? reason, DateTimeOffset? dueAt, bool gone = false) =>
            new(delivery, sentAt, result, state, reason, dueAt, gone);
    }
}
