using System.Text.Json;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.OpenAi.Batches;
using Pipeline.OpenAi.Files;
using Pipeline.OpenAi.OutputFiles;

namespace Pipeline.ResultsApi.OutputFiles;

/// <summary>
/// Makes the output and error files of batches whose tasks have all ended, and completes their jobs: files, batch, job and event become
/// visible in one transaction. Instances share the work by a lock on the batch, which falls with the connection of one that dies; what it
/// had begun is made anew, and its partial files are swept.
/// </summary>
internal sealed partial class OutputFilesMaker(
    NpgsqlDataSource database,
    FileStore files,
    ResultsApiOptions options,
    LoopBook loops,
    TimeProvider time,
    ILogger<OutputFilesMaker> log
) : BackgroundService
{
    private const int LookMax = 20;
    private readonly Loop _loop = loops.Add(
        "output-files",
        "Makes the output files of batches whose tasks have ended.",
        options.OutputFilesEvery
    );

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(options.OutputFilesEvery, time);
        try
        {
            do
            {
                if (_loop.TryBegin())
                {
                    await TurnAsync(stoppingToken);
                    _loop.End();
                }
            } while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    /// <summary>One turn: every batch that is due and that no other instance works on.</summary>
    internal async Task TurnAsync(CancellationToken stop)
    {
        try
        {
            foreach (var batch in await LookAsync(stop))
            {
                await MakeAsync(batch, stop);
            }
        }
        catch (Exception e) when (Problems.IsLostServer(e) || e is TimeoutException)
        {
            _loop.Fail(e.Message);
            LogAway(log, e.Message);
        }
    }

    private async Task MakeAsync(DueBatch batch, CancellationToken stop)
    {
        await using var keeper = await database.OpenConnectionAsync(stop);
        if (!await AskAsync(keeper, "SELECT pg_try_advisory_lock(hashtextextended('openai batch ' || $1::text, 0))", batch.Job, stop))
        {
            return;
        }

        try
        {
            // Seen with the lock in hand: another instance may have made them since.
            if (
                await AskAsync(
                    keeper,
                    """
                    WITH mine AS (
                      UPDATE openai_batches SET finalizing_at = coalesce(finalizing_at, now()) WHERE job = $1 AND finished_at IS NULL RETURNING job
                    )
                    SELECT EXISTS (SELECT FROM mine)
                    """,
                    batch.Job,
                    stop
                )
            )
            {
                await WriteAsync(batch, stop);
            }
        }
        catch (Exception e) when (e is InvalidDataException or IOException or JsonException)
        {
            LogFailed(log, e, batch.Job);
        }
        finally
        {
            await AskAsync(
                keeper,
                "SELECT pg_advisory_unlock(hashtextextended('openai batch ' || $1::text, 0))",
                batch.Job,
                CancellationToken.None
            );
        }
    }

    private async Task WriteAsync(DueBatch batch, CancellationToken stop)
    {
        var models = await ModelRegistry.ReadAllAsync(database, stop);
        var model =
            models.FirstOrDefault(m => m.Manifest.Ref == batch.Model)?.Manifest
            ?? throw new InvalidDataException($"The model {batch.Model} is no longer registered.");
        var input =
            await files.FindForBatchAsync(batch.InputFile, stop)
            ?? throw new InvalidDataException($"The input file {batch.InputFile} is gone.");
        await using var output = new LazyFile(files, batch.Tenant, $"{BatchIds.Of(batch.Job)}_output.jsonl");
        await using var errors = new LazyFile(files, batch.Tenant, $"{BatchIds.Of(batch.Job)}_error.jsonl");
        var lines = new OutputLines(batch.Job, batch.Endpoint, model, batch.Class);
        var (completed, failed) = (0, 0);

        await using var content = files.Open(input);
        await using var tasks = BatchTasks.ReadAsync(database, batch.Job, isFinished: true, stop).GetAsyncEnumerator(stop);
        await foreach (var given in FileLines.ReadAsync(content, options.LineBytesMax, stop))
        {
            using var line = BatchLine.Read(given.Bytes.Span, batch.Endpoint, (_, _, message) => throw new InvalidDataException(message));
            var ends =
                await BatchTasks.TakeAsync(tasks, line!, given.Number)
                ?? throw new InvalidDataException($"Line {given.Number} of the input file has no tasks in the job.");
            var bytes = lines.Write(line!, given.Number, ends, out var isCompleted);
            await (isCompleted ? output : errors).WriteAsync(bytes, stop);
            completed += isCompleted ? 1 : 0;
            failed += isCompleted ? 0 : 1;
        }

        await FinishAsync(batch, output, errors, completed, failed, lines.Units, stop);
        LogMade(log, batch.Job, completed, failed);
    }

    private async Task FinishAsync(
        DueBatch batch,
        LazyFile output,
        LazyFile errors,
        int completed,
        int failed,
        long units,
        CancellationToken stop
    )
    {
        var now = time.GetUtcNow();
        await using var transaction = database.CreateBatch();
        var outputFile = await output.FinishAsync(transaction, now + batch.OutputLife, stop);
        var errorFile = await errors.FinishAsync(transaction, now + batch.OutputLife, stop);
        transaction.BatchCommands.Add(
            new(
                """
                WITH done AS (
                  UPDATE jobs SET state = 'completed', finished_at = $2 WHERE id = $1 AND state = 'finalizing' RETURNING *
                )
                INSERT INTO events (tenant, job, type, data, created_at)
                SELECT tenant, id, 'job.completed',
                       jsonb_build_object('job', id, 'state', state, 'tasks', tasks, 'succeeded', succeeded, 'failed', failed,
                                          'expired', expired, 'cancelled', cancelled, 'cost_pico_usd', cost_pico),
                       $2
                FROM done
                """
            )
            {
                Parameters =
                {
                    new() { Value = batch.Job.Value },
                    FileStore.Moment(now),
                },
            }
        );
        // After the job, whose state is the batch's from here on.
        transaction.BatchCommands.Add(
            new(
                BatchStore.Ending(
                    """
                    UPDATE openai_batches SET finished_at = $2, output_file = $3, error_file = $4, lines_completed = $5, lines_failed = $6,
                      input_tokens = $7
                    WHERE job = $1
                    """,
                    "j.state"
                )
            )
            {
                Parameters =
                {
                    new() { Value = batch.Job.Value },
                    FileStore.Moment(now),
                    new() { Value = (object?)outputFile?.Value ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid },
                    new() { Value = (object?)errorFile?.Value ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid },
                    new() { Value = completed },
                    new() { Value = failed },
                    new() { Value = units },
                },
            }
        );
        await transaction.ExecuteNonQueryAsync(stop);
        output.Completed();
        errors.Completed();
    }

    private async Task<List<DueBatch>> LookAsync(CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            $"""
            SELECT b.job, b.tenant, b.endpoint, b.input_file, b.output_seconds, j.model, j.model_version, j.class
            FROM openai_batches b JOIN jobs j ON j.id = b.job
            WHERE b.finished_at IS NULL AND j.state IN ('finalizing', 'completed', 'expired', 'cancelled')
            ORDER BY b.job LIMIT {LookMax}
            """
        );
        await using var reader = await command.ExecuteReaderAsync(stop);
        var due = new List<DueBatch>();
        while (await reader.ReadAsync(stop))
        {
            due.Add(
                new DueBatch(
                    new JobId(reader.GetGuid(0)),
                    new TenantId(reader.GetGuid(1)),
                    reader.GetString(2),
                    new FileId(reader.GetGuid(3)),
                    TimeSpan.FromSeconds(reader.GetInt32(4)),
                    new ModelRef(reader.GetString(5), reader.GetString(6)),
                    LatencyClasses.TryParse(reader.GetString(7), out var latency) ? latency : LatencyClass.Bulk
                )
            );
        }

        return due;
    }

    private static async Task<bool> AskAsync(NpgsqlConnection connection, string sql, JobId job, CancellationToken stop)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        command.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = job.Value });
        return await command.ExecuteScalarAsync(stop) is true;
    }

    [LoggerMessage(50, LogLevel.Information, "Made the files of batch {Job}: {Completed} lines completed, {Failed} failed")]
    private static partial void LogMade(ILogger log, JobId job, int completed, int failed);

    [LoggerMessage(51, LogLevel.Warning, "Could not make output files, and will again: {Reason}")]
    private static partial void LogAway(ILogger log, string reason);

    [LoggerMessage(52, LogLevel.Error, "The files of batch {Job} could not be made, and will be tried again")]
    private static partial void LogFailed(ILogger log, Exception error, JobId job);
}

/// <summary>A batch whose files are due.</summary>
internal sealed record DueBatch(
    JobId Job,
    TenantId Tenant,
    string Endpoint,
    FileId InputFile,
    TimeSpan OutputLife,
    ModelRef Model,
    LatencyClass Class
);

/// <summary>A file that is there only if something was written to it.</summary>
internal sealed class LazyFile(FileStore files, TenantId tenant, string filename) : IAsyncDisposable
{
    private FileWriter? _writer;

    public async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken stop)
    {
        _writer ??= await files.CreateAsync(tenant, FilePurposes.BatchOutput, filename, stop);
        await _writer.WriteAsync(bytes, stop);
    }

    /// <summary>Adds what makes the file whole to the transaction; null when nothing was written.</summary>
    public async ValueTask<FileId?> FinishAsync(NpgsqlBatch transaction, DateTimeOffset expiresAt, CancellationToken stop)
    {
        if (_writer is null)
        {
            return null;
        }

        var (complete, file) = await _writer.FinishAsync(FilePurposes.BatchOutput, filename, expiresAt, stop);
        transaction.BatchCommands.Add(complete);
        return file.Id;
    }

    public void Completed() => _writer?.Completed();

    public ValueTask DisposeAsync() => _writer?.DisposeAsync() ?? ValueTask.CompletedTask;
}
