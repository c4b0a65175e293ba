using System.Text.Json;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Migrations;

namespace Pipeline.GpuWorker;

/// <summary>This process's rows in <c>workers</c>: one for each life, alive until it is stopped, or declared lost by the scheduler.</summary>
internal sealed class Registration(NpgsqlDataSource database, WorkerOptions options, IModelSource models, TimeProvider time)
{
    /// <summary>Begins a life: from now on the device's time is booked.</summary>
    public async Task<(WorkerId Worker, DevicePrices Prices)> RegisterAsync(CancellationToken stop)
    {
        var now = time.GetUtcNow();
        var id = WorkerId.New(now);
        await using var command = database.CreateCommand(
            $"""
            WITH w AS (
              INSERT INTO workers (id, name, pool, provider, device, price_per_hour_pico, state, started_at, last_seen)
              VALUES ($1, $2, $3, $4, $5, $6, 'alive', $7, $7)
              RETURNING pool, started_at, price_per_hour_pico
            )
            SELECT {PoolPrices.OfWorkerSql} FROM w
            """
        );
        var p = command.Parameters;
        p.Add(new() { Value = id.Value });
        p.Add(new() { Value = options.Name });
        p.Add(new() { Value = options.Pool });
        p.Add(new() { Value = models.Provider });
        p.Add(new() { Value = models.Device });
        p.Add(new() { Value = options.PricePerHourPico });
        p.Add(new() { Value = now });
        return (id, PoolPrices.Read((await command.ExecuteScalarAsync(stop))!));
    }

    /// <summary>The epoch of the scheduler that took over last; 0 before any did.</summary>
    public async Task<long> ReadEpochAsync(CancellationToken stop)
    {
        await using var command = database.CreateCommand("SELECT coalesce(max(epoch), 0) FROM scheduler_epoch");
        return (long)(await command.ExecuteScalarAsync(stop))!;
    }

    /// <summary>
    /// Notes in the row that a dispatch is on the device, so that its slices are suspected if the process dies. It need not outlive
    /// the server, only this process, so nothing waits for the disk. False when this life has been closed.
    /// </summary>
    public async Task<bool> MarkBegunAsync(WorkerId worker, Dispatch dispatch, CancellationToken stop)
    {
        await using var batch = database.CreateBatch();
        batch.BatchCommands.Add(new("SELECT set_config('synchronous_commit', 'off', true)"));
        batch.BatchCommands.Add(
            new("UPDATE workers SET begun = begun || $2 WHERE id = $1 AND state = 'alive' RETURNING true")
            {
                Parameters =
                {
                    new() { Value = worker.Value },
                    new() { Value = BegunJson(dispatch), NpgsqlDbType = NpgsqlDbType.Jsonb },
                },
            }
        );
        await using var reader = await batch.ExecuteReaderAsync(stop);
        await reader.NextResultAsync(stop);
        return await reader.ReadAsync(stop);
    }

    /// <summary>Takes dispatches that have ended off the row, in the transaction that ended them.</summary>
    public static NpgsqlBatchCommand UnmarkBegun(WorkerId worker, IEnumerable<DispatchId> ended) =>
        new(
            """
            UPDATE workers SET begun = coalesce(
              (SELECT jsonb_agg(slice) FROM jsonb_array_elements(begun) AS slice WHERE NOT slice ->> 'dispatch' = ANY ($2)), '[]')
            WHERE id = $1
            """
        )
        {
            Parameters =
            {
                new() { Value = worker.Value },
                new() { Value = ended.Select(d => d.ToString()).ToArray() },
            },
        };

    /// <summary>True when the life is alive and its chain reaches to here: so a commit whose answer was lost did happen.</summary>
    public static async Task<bool> ReachesAsync(NpgsqlConnection connection, WorkerId worker, long accountedNs, CancellationToken stop)
    {
        await using var command = new NpgsqlCommand(
            "SELECT FROM workers WHERE id = $1 AND accounted_ns = $2 AND state = 'alive'",
            connection
        );
        command.Parameters.Add(new() { Value = worker.Value });
        command.Parameters.Add(new() { Value = accountedNs });
        await using var reader = await command.ExecuteReaderAsync(stop);
        return await reader.ReadAsync(stop);
    }

    private static string BegunJson(Dispatch dispatch) =>
        JsonSerializer.Serialize(
            dispatch.Slices.Select(s => new BegunSlice(dispatch.Id, s.Job, s.No, s.First, s.Count, dispatch.CommitRowsMax)),
            JsonSerializerOptions.Web
        );

    /// <summary>An element of <c>workers.begun</c>. The commit size tells how narrow the suspicion is if the process dies now.</summary>
    private sealed record BegunSlice(DispatchId Dispatch, JobId Job, int No, int First, int Count, int? CommitRows);
}
