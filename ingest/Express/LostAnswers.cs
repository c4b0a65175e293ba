using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Ingest.Express;

/// <summary>
/// An answer may be lost on its way, a result not: looks at the rows of jobs that have been waited for longer than usual, all in one query.
/// So nobody depends on the broker, or on the scheduler that knew who waits.
/// </summary>
internal sealed partial class LostAnswers(
    Waiters waiters,
    NpgsqlDataSource database,
    IngestMetrics metrics,
    TimeProvider time,
    ILogger<LostAnswers> log
) : BackgroundService
{
    private static readonly TimeSpan TurnEvery = TimeSpan.FromMilliseconds(50);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TurnEvery, time);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                await TryTurnAsync(stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping; whoever waits has lost the connection too.
        }
    }

    /// <summary>One look at the rows of every job that is due for it.</summary>
    /// <returns>Results found that had not come by themselves.</returns>
    public async Task<int> TurnAsync(CancellationToken stop)
    {
        var due = waiters.Due();
        if (due.Count == 0)
        {
            return 0;
        }

        var (answers, existing) = await ReadAsync([.. due.Select(w => w.Job)], stop);
        waiters.Take(answers);
        foreach (var waiter in due.Where(w => !existing.Contains(w.Job)))
        {
            waiter.Gone();
        }

        metrics.FoundLost(answers.Count);
        return answers.Count;
    }

    /// <summary>The results these jobs have, and which of the jobs there are.</summary>
    public async Task<(List<TaskAnswer> Answers, HashSet<JobId> Existing)> ReadAsync(IReadOnlyList<JobId> jobs, CancellationToken stop)
    {
        await using var batch = database.CreateBatch();
        // Jobs first: one that is seen here cannot be gone from the newer snapshot of the second statement with results unseen.
        batch.BatchCommands.Add(new("SELECT id FROM jobs WHERE id = ANY ($1)"));
        batch.BatchCommands.Add(
            new(
                """
                SELECT job, seq, custom_id, status, output, content_type, error_code, error_message, model, turns, cost_pico,
                       queued_us, staged_us, device_us, total_us, reused
                FROM results WHERE job = ANY ($1) ORDER BY job, seq
                """
            )
        );
        foreach (var command in batch.BatchCommands)
        {
            command.Parameters.Add(
                new NpgsqlParameter { Value = jobs.Select(j => j.Value).ToArray(), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Uuid }
            );
        }

        await using var reader = await batch.ExecuteReaderAsync(stop);
        var existing = new HashSet<JobId>();
        while (await reader.ReadAsync(stop))
        {
            existing.Add(new JobId(reader.GetGuid(0)));
        }

        await reader.NextResultAsync(stop);
        var answers = new List<TaskAnswer>();
        while (await reader.ReadAsync(stop))
        {
            answers.Add(Read(reader));
        }

        return (answers, existing);
    }

    private static TaskAnswer Read(NpgsqlDataReader row) =>
        new(
            new JobId(row.GetGuid(0)),
            row.GetInt32(1),
            row.GetString(2),
            row.GetString(3),
            row.IsDBNull(4) ? null : row.GetFieldValue<byte[]>(4),
            Text(row, 5),
            Text(row, 6),
            Text(row, 7),
            row.GetString(8),
            row.GetInt16(9),
            row.GetInt64(10),
            row.GetInt64(11),
            row.GetInt32(12),
            row.GetInt32(13),
            row.GetInt64(14),
            Text(row, 15)
        );

    private static string? Text(NpgsqlDataReader row, int column) => row.IsDBNull(column) ? null : row.GetString(column);

    private async Task TryTurnAsync(CancellationToken stop)
    {
        try
        {
            await TurnAsync(stop);
        }
        catch (Exception e) when (e is NpgsqlException or TimeoutException)
        {
            LogNotLooked(log, e.Message);
        }
    }

    [LoggerMessage(50, LogLevel.Warning, "Cannot look for the results of waiting requests, and will again: {Reason}")]
    private static partial void LogNotLooked(ILogger log, string reason);
}
