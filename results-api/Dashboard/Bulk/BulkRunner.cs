using Npgsql;
using Pipeline.Contracts;
using Pipeline.ResultsApi.Dashboard.Jobs;

namespace Pipeline.ResultsApi.Dashboard.Bulk;

/// <summary>
/// Works bulk actions off, job by job. Instances share the work row by row: who holds a row's lock acts on its job, and a row whose holder
/// died is free again. All but a retry may be asked twice; a retry carries a key that makes the second the first.
/// </summary>
internal sealed partial class BulkRunner(
    NpgsqlDataSource database,
    JobActions actions,
    DashboardOptions options,
    TimeProvider time,
    ILogger<BulkRunner> log
) : BackgroundService
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan AwayWait = TimeSpan.FromSeconds(10);
    private readonly SemaphoreSlim _wake = new(0, 1);
    private volatile bool _away;

    /// <summary>Says that there is something to do.</summary>
    public void Wake()
    {
        if (_wake.CurrentCount == 0)
        {
            try
            {
                _wake.Release();
            }
            catch (SemaphoreFullException)
            {
                // Another has just said so.
            }
        }
    }

    public override void Dispose()
    {
        _wake.Dispose();
        base.Dispose();
    }

    /// <summary>Works off all that is open; gives how many jobs it acted on.</summary>
    public async Task<int> TurnAsync(CancellationToken stop)
    {
        var open = new List<(Guid Id, JobAsk Ask, Actor Actor)>();
        await using (
            var command = database.CreateCommand(
                "SELECT id, action, operator, operator_name, reason, query, change FROM bulk_actions WHERE finished_at IS NULL ORDER BY id"
            )
        )
        await using (var reader = await command.ExecuteReaderAsync(stop))
        {
            while (await reader.ReadAsync(stop))
            {
                var ask = new JobAsk(reader.GetString(1), "")
                {
                    Change = BulkActions.ReadChange(reader, 6),
                    Failed = JobSearch.FailedOf(reader.GetString(5)),
                };
                open.Add((reader.GetGuid(0), ask, new(reader.GetGuid(2), reader.GetString(3), null, reader.GetString(4))));
            }
        }

        var acted = 0;
        foreach (var (id, ask, actor) in open)
        {
            var hands = Enumerable.Range(0, options.BulkParallel).Select(_ => WorkOffAsync(id, ask, actor, stop));
            acted += (await Task.WhenAll(hands)).Sum();
            await FinishAsync(id, stop);
        }

        return acted;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (options.Ingest is not null && !stoppingToken.IsCancellationRequested)
        {
            try
            {
                _away = false;
                await TurnAsync(stoppingToken);
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                LogFailed(log, e);
                _away = true;
            }

            await _wake.WaitAsync(_away ? AwayWait : LookEvery, stoppingToken);
        }
    }

    private async Task<int> WorkOffAsync(Guid id, JobAsk ask, Actor actor, CancellationToken stop)
    {
        for (var acted = 0; ; acted++)
        {
            await using var connection = await database.OpenConnectionAsync(stop);
            await using var transaction = await connection.BeginTransactionAsync(stop);
            if (await TakeAsync(connection, id, stop) is not var (job, tenant))
            {
                return acted;
            }

            var outcome = await actions.PerformAsync(actor, tenant, job, ask with { IdempotencyKey = $"dashboard {id} {job}" }, stop);
            if (outcome.IsAway)
            {
                // The row's lock goes with the transaction: it waits for a later turn.
                _away = true;
                return acted;
            }

            await using var note = new NpgsqlCommand(
                """
                WITH item AS (UPDATE bulk_action_items SET outcome = $3, detail = $4 WHERE bulk_action = $1 AND job = $2)
                UPDATE bulk_actions SET done = done + $5, refused = refused + 1 - $5 WHERE id = $1
                """,
                connection
            );
            note.Parameters.Add(new() { Value = id });
            note.Parameters.Add(new() { Value = job.Value });
            note.Parameters.Add(new() { Value = outcome.Done ? "done" : "refused" });
            note.Parameters.Add(new() { Value = (object?)outcome.Detail ?? DBNull.Value, NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.Text });
            note.Parameters.Add(new() { Value = outcome.Done ? 1 : 0 });
            await note.ExecuteNonQueryAsync(stop);
            await transaction.CommitAsync(stop);
        }
    }

    private static async Task<(JobId Job, TenantId Tenant)?> TakeAsync(NpgsqlConnection connection, Guid id, CancellationToken stop)
    {
        await using var command = new NpgsqlCommand(
            """
            SELECT job, tenant FROM bulk_action_items WHERE bulk_action = $1 AND outcome = 'waiting'
            ORDER BY job LIMIT 1 FOR UPDATE SKIP LOCKED
            """,
            connection
        );
        command.Parameters.Add(new() { Value = id });
        await using var reader = await command.ExecuteReaderAsync(stop);
        return await reader.ReadAsync(stop) ? (new JobId(reader.GetGuid(0)), new TenantId(reader.GetGuid(1))) : null;
    }

    /// <summary>Another instance may hold the last of it; then that one finishes it, or the next turn.</summary>
    private async Task FinishAsync(Guid id, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            UPDATE bulk_actions SET finished_at = $2
            WHERE id = $1 AND finished_at IS NULL
              AND NOT EXISTS (SELECT FROM bulk_action_items WHERE bulk_action = $1 AND outcome = 'waiting')
            """
        );
        command.Parameters.Add(new() { Value = id });
        command.Parameters.Add(new() { Value = time.GetUtcNow() });
        await command.ExecuteNonQueryAsync(stop);
    }

    [LoggerMessage(83, LogLevel.Warning, "Bulk actions stand still")]
    private static partial void LogFailed(ILogger log, Exception error);
}
