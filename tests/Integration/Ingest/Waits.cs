using Pipeline.Tests.Support.Servers;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>Waiting for what another process or thread commits.</summary>
internal static class Waits
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    /// <summary>Asks until the answer is true.</summary>
    /// <exception cref="TimeoutException">It never became true.</exception>
    public static Task UntilAsync(this TestDatabase database, string sql, params object[] parameters) =>
        UntilAsync(() => database.ScalarAsync<bool>(sql, parameters), sql);

    /// <summary>The same of anything that can be asked; <paramref name="what"/> says what.</summary>
    public static async Task UntilAsync(Func<Task<bool>> isSo, string what)
    {
        using var patience = new CancellationTokenSource(Patience);
        using var pace = new PeriodicTimer(TimeSpan.FromMilliseconds(10));
        while (!await isSo())
        {
            if (patience.IsCancellationRequested)
            {
                throw new TimeoutException($"Never came true: {what}");
            }

            await pace.WaitForNextTickAsync(CancellationToken.None);
        }
    }
}
