namespace Pipeline.ResultsApi.Webhooks;

/// <summary>When a delivery that failed is sent again.</summary>
internal static class RetrySchedule
{
    /// <summary>The pause after an attempt.</summary>
    /// <param name="attempt">How many were made, from 1.</param>
    /// <param name="chance">Drawn evenly from 0 to 1.</param>
    /// <param name="retryAfter">What the receiver asked for: the pause is at least that, up to a bound.</param>
    /// <returns>Null when that was the last attempt.</returns>
    public static TimeSpan? DelayAfter(int attempt, WebhookOptions options, double chance, TimeSpan? retryAfter = null)
    {
        if (attempt >= options.AttemptsMax)
        {
            return null;
        }

        var planned = Math.Min(
            options.RetryDelayMin.TotalSeconds * Math.Pow(options.RetryDelayFactor, attempt - 1),
            options.RetryDelayMax.TotalSeconds
        );
        var drawn = TimeSpan.FromSeconds(planned * (1 + (options.RetryJitter * ((2 * chance) - 1))));
        var asked = retryAfter > options.RetryAfterMax ? options.RetryAfterMax : retryAfter;
        return asked > drawn ? asked : drawn;
    }
}
