using Pipeline.Tests.Support.Servers;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>Waiting for what another process or thread commits.</summary>
internal static class Waits
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    /// <summary>Asks until the answer is true.</summary>
    /// <exception cref="TimeoutException">It never became true.</exception>
    public static async Task UntilAsync(this TestDatabase database, string sql, params object[] parameters)
    {
        using var patience = new CancellationTokenSource(Patience);
        using var pace = new PeriodicTimer(TimeSpan.FromMilliseconds(10));
        while (!await database.ScalarAsync<bool>(sql, parameters))
        {
            if (patience.IsCancellationRequested)
            {
                throw new TimeoutException($"Never came true: {sql}");
            }

            await pace.WaitForNextTickAsync(CancellationToken.None);
        }
    }
}
