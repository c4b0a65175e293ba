using Pipeline.Contracts;
using Pipeline.Tests.Support.Servers;

namespace Pipeline.Tests.Integration.ResultsApi.Dashboard;

internal static class RanBatches
{
    /// <summary>A batch of the model <c>words@1</c>, of tasks of one unit each, that just ran on a new worker of the pool <c>default</c>.</summary>
    public static async Task AddAsync(TestDatabase database, string lane, int rows, int deviceMs)
    {
        var (worker, batch) = (WorkerId.New(DateTimeOffset.UtcNow), BatchId.New(DateTimeOffset.UtcNow));
        await database.ExecuteAsync(
            $"""
            INSERT INTO workers (id, name, pool, provider, device, price_per_hour_pico, state, started_at, last_seen)
            VALUES ('{worker}', 'w-1', 'default', 'cpu', 'none', 1, 'alive', now(), now());
            INSERT INTO batches (id, worker, dispatch, lane, model, provider, rows, units, padded_units, device_ns, cost_pico, padding_pico, started_at, finished_at)
            VALUES ('{batch}', '{worker}', '{batch}', '{lane}', 'words@1', 'cpu', {rows}, {rows}, {rows}, {deviceMs
                * 1_000_000L}, 1, 0, now(), now());
            """
        );
    }
}
