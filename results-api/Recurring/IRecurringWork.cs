namespace Pipeline.ResultsApi.Recurring;

/// <summary>
/// Work that comes due again and again: one class, registered by <see cref="RecurringServices.AddRecurringWork"/>. Of all instances one runs
/// it when it is due, and no two at once. A run whose process dies, or stops, is repeated by whoever is there: so it works in steps that
/// commit by themselves, and doing a step twice does no harm.
/// </summary>
public interface IRecurringWork
{
    /// <summary>Its name in the API, in options and in its history: lower case, words joined by hyphens. Never changed.</summary>
    string Name { get; }

    /// <summary>What it does, in a sentence for operators.</summary>
    string Purpose { get; }

    /// <summary>When it is due, where the options do not say otherwise.</summary>
    Schedule Schedule { get; }

    /// <summary>Runs it once. What it throws is written to its history as a failure, and its next time is waited for.</summary>
    /// <param name="stop">Fires when this process stops; what is not done then is done by the run that repeats this one.</param>
    /// <returns>What was done, as counts by name, to be seen in its history.</returns>
    Task<IReadOnlyDictionary<string, long>> RunAsync(CancellationToken stop);
}
