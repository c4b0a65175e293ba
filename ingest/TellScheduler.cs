using MassTransit;

namespace Pipeline.Ingest;

/// <summary>Tells the scheduler of a change that is committed, and waits a while for its answer that it plans by it.</summary>
internal static class TellScheduler
{
    /// <summary>
    /// The message itself does not expire when the wait is over: a scheduler that is slow or still to come has to hear it.
    /// </summary>
    /// <returns>False when none answered in that time.</returns>
    public static async Task<bool> AndWaitAsync<TChange, TObserved>(IBus bus, TChange change, TimeSpan most, CancellationToken stop)
        where TChange : class
        where TObserved : class
    {
        var scheduler = bus.CreateRequestClient<TChange>(RequestTimeout.After(ms: (int)most.TotalMilliseconds));
        try
        {
            await scheduler.GetResponse<TObserved>(change, request => request.UseExecute(sent => sent.TimeToLive = null), stop);
            return true;
        }
        catch (RequestTimeoutException)
        {
            return false;
        }
    }
}
