using System.Collections.Concurrent;
using System.Text.Json;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Telemetry;
using Pipeline.Ingest.Storage;
using Pipeline.OpenAi.Batches;
using Pipeline.OpenAi.Files;

namespace Pipeline.Ingest.OpenAi;

/// <summary>
/// Makes jobs of batches: reads the lines of each batch that has no job yet, a few batches at a time, and queues it whole or fails it with
/// what is wrong. A lease shows who works on one, so that any instance takes over from one that died. Also ends what was cancelled before
/// it was a job, and passes on the cancellation of what is one.
/// </summary>
internal sealed partial class BatchIntake(
    FileStore files,
    SubmitJob submit,
    Admission admission,
    JobCommands commands,
    JobStore store,
    GroupCommit commit,
    UploadLeases leases,
    NpgsqlDataSource database,
    IngestOptions options,
    TimeProvider time,
    ILogger<BatchIntake> log
) : BackgroundService
{
    private const int LookMax = 100;

    /// <summary>What stops the reading of a batch this often, and is no server's absence, stops it always.</summary>
    private const int TriesMax = 3;

    /// <summary>Tells the lease of a batch from that of its job's upload.</summary>
    private const long LeaseMark = 0x0B47C4;

    private readonly SemaphoreSlim _wake = new(0, 1);
    private readonly ConcurrentDictionary<JobId, Task> _taken = new();
    private readonly ConcurrentDictionary<JobId, int> _failures = new();

    /// <summary>Says that there is something to do.</summary>
    public void Wake()
    {
        try
        {
            _wake.Release();
        }
        catch (SemaphoreFullException)
        {
            // It is awake.
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            while (true)
            {
                await TurnAsync(stoppingToken);
                await _wake.WaitAsync(options.SweepEvery, stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            await Task.WhenAll(_taken.Values);
        }
    }

    public override void Dispose()
    {
        _wake.Dispose();
        base.Dispose();
    }

    /// <summary>Looks for batches that wait, and begins as many as may be worked on at a time.</summary>
    private async Task TurnAsync(CancellationToken stop)
    {
        try
        {
            foreach (var batch in await LookAsync(stop))
            {
                if (_taken.Count >= options.BatchIntakesMax)
                {
                    break;
                }

                if (!_taken.ContainsKey(batch.Job))
                {
                    _taken[batch.Job] = Task.Run(() => TakeAsync(batch, stop), CancellationToken.None);
                }
            }
        }
        catch (Exception e) when (Problems.IsLostServer(e) || e is TimeoutException)
        {
            LogAway(log, e.Message);
        }
    }

    private async Task TakeAsync(WaitingBatch batch, CancellationToken stop)
    {
        var done = false;
        try
        {
            done = await TryMoveOnAsync(batch, stop);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // Another instance takes it up, or this one when it is back.
        }
        catch (Exception e)
            when (Problems.IsLostServer(e)
                || e is TimeoutException or IOException or JobGoneException or PostgresException { IsTransient: true }
            )
        {
            LogAgain(log, batch.Job, e.Message);
        }
        catch (Exception e)
        {
            _failures.AddOrUpdate(batch.Job, 1, static (_, failures) => failures + 1);
            LogFailed(log, e, batch.Job);
        }
        finally
        {
            _taken.TryRemove(batch.Job, out _);
            if (done)
            {
                Wake();
            }
        }
    }

    /// <returns>False when another instance works on it, or has moved it on.</returns>
    private async Task<bool> TryMoveOnAsync(WaitingBatch batch, CancellationToken stop)
    {
        await using var lease = await leases.TakeAsync(UploadLeases.KeyOf(batch.Job) ^ LeaseMark, stop);
        if (lease is null)
        {
            return false;
        }

        var waits = await StillWaitsAsync(batch, stop);
        if (waits && !batch.Cancelled && _failures.GetValueOrDefault(batch.Job) >= TriesMax)
        {
            await GiveUpAsync(batch, stop);
        }
        else if (waits)
        {
            await MoveOnAsync(batch, stop);
        }

        _failures.TryRemove(batch.Job, out _);
        return waits;
    }

    /// <summary>Else it would be read again and again, and stay <c>validating</c> until it expires.</summary>
    private async Task GiveUpAsync(WaitingBatch batch, CancellationToken stop)
    {
        var error =
            $"Reading the input file failed {TriesMax} times, and not by a mistake in it; nothing of it ran. Create the batch again once; if it fails again, report its id.";
        await FailAsync(batch, [new BatchError(FailureKind.Internal.Info().Code, error, null, null)], 1, stop);
    }

    private async Task MoveOnAsync(WaitingBatch batch, CancellationToken stop)
    {
        if (batch.JobState is not null and not JobState.Receiving)
        {
            await commands.CancelAsync(batch.Tenant, batch.Job, stop);
            return;
        }

        // What an instance that died has left of it.
        await store.DeleteReceivingAsync(batch.Job, stop);
        if (!batch.Cancelled)
        {
            await ReceiveAsync(batch, stop);
        }

        if (batch.Cancelled || await IsCancelledAsync(batch, stop))
        {
            await EndCancelledAsync(batch, stop);
            await commands.CancelAsync(batch.Tenant, batch.Job, stop);
        }
    }

    private async Task ReceiveAsync(WaitingBatch batch, CancellationToken stop)
    {
        // The request that made the batch ended long ago.
        using var receives = Traces.Begin("receive batch");
        if (await files.FindForBatchAsync(batch.InputFile, stop) is not { } file)
        {
            var gone = new BatchError("file_not_found", $"The input file {batch.InputFile} is gone.", "input_file_id", null);
            await FailAsync(batch, [gone], 1, stop);
            return;
        }

        await using var lines = new BatchLines(batch, admission, order => new JobWriter(order, store, commit, leases, options), options);
        await using (var content = files.Open(file))
        {
            await lines.ReadAsync(content, stop);
        }

        if (lines.ErrorsTotal > 0)
        {
            await FailAsync(batch, lines.Errors, lines.ErrorsTotal, stop);
        }
        else if (
            await NoteLinesAsync(batch, lines, stop)
            && await submit.AcceptAsync(lines.Order!, lines.Writer!, null, null, stop) is ProblemResult { Value: var problem }
        )
        {
            await FailAsync(batch, [new BatchError(problem.Error.Code, problem.Detail, problem.Error.Param, null)], 1, stop);
        }
    }

    private async Task<List<WaitingBatch>> LookAsync(CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            $"""
            SELECT b.job, b.tenant, b.endpoint, b.input_file, b.expires_at, b.class, b.metadata::text, b.created_at,
                   b.cancelling_at IS NOT NULL, j.state
            FROM openai_batches b LEFT JOIN jobs j ON j.id = b.job
            WHERE b.finished_at IS NULL
              AND (j.id IS NULL OR j.state = 'receiving' OR (b.cancelling_at IS NOT NULL AND j.state IN ('queued', 'running')))
            ORDER BY b.job LIMIT {LookMax}
            """
        );
        await using var reader = await command.ExecuteReaderAsync(stop);
        var waiting = new List<WaitingBatch>();
        while (await reader.ReadAsync(stop))
        {
            waiting.Add(
                new WaitingBatch(
                    new JobId(reader.GetGuid(0)),
                    new TenantId(reader.GetGuid(1)),
                    reader.GetString(2),
                    new FileId(reader.GetGuid(3)),
                    reader.GetFieldValue<DateTimeOffset>(4),
                    reader.GetString(5),
                    JsonElement.Parse(reader.GetString(6)),
                    reader.GetFieldValue<DateTimeOffset>(7),
                    reader.GetBoolean(8),
                    await reader.IsDBNullAsync(9, stop) ? null : JobStates.ParseJobState(reader.GetString(9))
                )
            );
        }

        return waiting;
    }

    /// <summary>Seen with the lease in hand: somebody else may have moved it on since it was looked for.</summary>
    private Task<bool> StillWaitsAsync(WaitingBatch batch, CancellationToken stop) =>
        AskAsync(
            """
            SELECT EXISTS (SELECT FROM openai_batches b LEFT JOIN jobs j ON j.id = b.job
              WHERE b.job = $1 AND b.finished_at IS NULL AND j.state IS NOT DISTINCT FROM $2)
            """,
            batch,
            (object?)batch.JobState?.Name() ?? DBNull.Value,
            NpgsqlDbType.Text,
            stop
        );

    private Task<bool> IsCancelledAsync(WaitingBatch batch, CancellationToken stop) =>
        AskAsync(
            "SELECT cancelling_at IS NOT NULL AND created_at = $2 FROM openai_batches WHERE job = $1",
            batch,
            batch.CreatedAt.UtcDateTime,
            NpgsqlDbType.TimestampTz,
            stop
        );

    private async Task<bool> AskAsync(string sql, WaitingBatch batch, object value, NpgsqlDbType type, CancellationToken stop)
    {
        await using var command = database.CreateCommand(sql);
        command.Parameters.Add(new() { Value = batch.Job.Value });
        command.Parameters.Add(new() { Value = value, NpgsqlDbType = type });
        return await command.ExecuteScalarAsync(stop) is true;
    }

    /// <summary>Ends a cancelled batch that is no job.</summary>
    private async Task EndCancelledAsync(WaitingBatch batch, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            BatchStore.Ending(
                "UPDATE openai_batches SET finished_at = $2 WHERE job = $1 AND finished_at IS NULL AND NOT EXISTS (SELECT FROM jobs WHERE id = $1)",
                "'cancelled'"
            )
        );
        command.Parameters.Add(new() { Value = batch.Job.Value });
        command.Parameters.Add(FileStore.Moment(time.GetUtcNow()));
        await command.ExecuteNonQueryAsync(stop);
    }

    /// <summary>What the lines came to, before the job is there. False when the batch was cancelled meanwhile.</summary>
    private async Task<bool> NoteLinesAsync(WaitingBatch batch, BatchLines lines, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            "UPDATE openai_batches SET lines = $2, model = $3 WHERE job = $1 AND finished_at IS NULL AND cancelling_at IS NULL"
        );
        command.Parameters.Add(new() { Value = batch.Job.Value });
        command.Parameters.Add(new() { Value = lines.Count });
        command.Parameters.Add(new() { Value = lines.Order!.Model.Ref.ToString() });
        return await command.ExecuteNonQueryAsync(stop) > 0;
    }

    private async Task FailAsync(WaitingBatch batch, IReadOnlyList<BatchError> errors, long total, CancellationToken stop)
    {
        // They quote the file, and PostgreSQL keeps no U+0000.
        errors = [.. errors.Select(e => e with { Message = e.Message.Replace('\0', '\uFFFD'), Param = e.Param?.Replace('\0', '\uFFFD') })];
        await using var command = database.CreateCommand(
            BatchStore.Ending(
                "UPDATE openai_batches SET errors = $2, finished_at = $3 WHERE job = $1 AND finished_at IS NULL AND cancelling_at IS NULL",
                "'failed'"
            )
        );
        command.Parameters.Add(new() { Value = batch.Job.Value });
        command.Parameters.Add(
            new() { Value = JsonSerializer.Serialize(new BatchErrors(errors, total), ApiJson.Options), NpgsqlDbType = NpgsqlDbType.Jsonb }
        );
        command.Parameters.Add(FileStore.Moment(time.GetUtcNow()));
        await command.ExecuteNonQueryAsync(stop);
        LogRefused(log, batch.Job, total, errors[0].Message);
    }

    [LoggerMessage(70, LogLevel.Information, "Refused batch {Job}: {Total} mistakes, the first: {First}")]
    private static partial void LogRefused(ILogger log, JobId job, long total, string first);

    [LoggerMessage(71, LogLevel.Warning, "Could not look for batches, and will again: {Reason}")]
    private static partial void LogAway(ILogger log, string reason);

    [LoggerMessage(72, LogLevel.Warning, "Could not read batch {Job}, and will again: {Reason}")]
    private static partial void LogAgain(ILogger log, JobId job, string reason);

    [LoggerMessage(73, LogLevel.Error, "Reading batch {Job} failed, and will be tried again")]
    private static partial void LogFailed(ILogger log, Exception error, JobId job);
}

/// <summary>A batch that is no job yet, or is one that has to be cancelled.</summary>
internal sealed record WaitingBatch(
    JobId Job,
    TenantId Tenant,
    string Endpoint,
    FileId InputFile,
    DateTimeOffset ExpiresAt,
    string Class,
    JsonElement Metadata,
    DateTimeOffset CreatedAt,
    bool Cancelled,
    JobState? JobState
);
