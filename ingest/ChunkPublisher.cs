using System.Collections.Concurrent;
using System.Threading.Channels;
using MassTransit;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Telemetry;
using Pipeline.Ingest.Storage;
using Pipeline.Migrations;

namespace Pipeline.Ingest;

/// <summary>A queued job whose chunks are to be announced.</summary>
internal sealed record AnnouncedJob(JobOrder Order, DateTimeOffset QueuedAt, IReadOnlyList<ChunkHeader> Chunks);

/// <summary>
/// Announces committed chunks to the scheduler: a group of them in one message for each class and model, confirmed by the broker, then one
/// update that marks them.
/// Jobs take turns, express ones first, so that a small job never waits behind all the chunks of a large one. What was not confirmed is
/// found by <see cref="SweepOnceAsync"/> and published again; hearing of a chunk twice does no harm.
/// <para>
/// A chunk that somebody waits for is published by itself, at once, the way that waits for no disk of the broker's. Some time later it has ended
/// as a rule; if not, it is published once more, to be kept, and marked. (A mark at once would lock the row that its worker is about to
/// lock, and hold it for the time of a commit.)
/// </para>
/// </summary>
internal sealed partial class ChunkPublisher(
    IBus bus,
    NpgsqlDataSource database,
    IngestOptions options,
    TelemetryOptions telemetry,
    TimeProvider time,
    ILogger<ChunkPublisher> log
) : BackgroundService
{
    /// <summary>Chunks of one job in a group of publishes while others wait.</summary>
    private const int TurnChunksMax = 32;

    private readonly Channel<Waiting> _arrivals = Channel.CreateUnbounded<Waiting>(new() { SingleReader = true });
    private readonly ConcurrentDictionary<JobId, byte> _waiting = new();
    private readonly Queue<Waiting>[] _queues = [new(), new(), new()];
    private readonly ConcurrentQueue<Unkept> _unkept = new();

    /// <summary>Takes a job that was just queued. When too many wait already it is left to the sweep.</summary>
    public void Announce(AnnouncedJob job)
    {
        if (_waiting.Count < options.AnnounceQueueMax && _waiting.TryAdd(job.Order.Id, 0))
        {
            _arrivals.Writer.TryWrite(new Waiting(job, telemetry));
        }
    }

    /// <summary>
    /// Publishes the committed chunks of a job that somebody waits for. Returns at once; what cannot be published now is so a little later.
    /// </summary>
    public void AnnounceAtOnce(JobId job, IReadOnlyList<ChunkSubmitted> chunks)
    {
        if (_waiting.Count < options.AnnounceQueueMax && _waiting.TryAdd(job, 0))
        {
            _ = PublishAtOnceAsync(chunks);
        }
    }

    /// <summary>Announces to be kept what was announced at once a while ago and has not ended. Gives how many were looked at.</summary>
    public async Task<int> KeepOnceAsync(CancellationToken stop)
    {
        var due = new List<Unkept>();
        while (
            due.Count < options.KeepGroupMax
            && _unkept.TryPeek(out var next)
            && time.GetElapsedTime(next.Since) >= options.KeepAfter
            && _unkept.TryDequeue(out next)
        )
        {
            due.Add(next);
        }

        try
        {
            if (due.Count > 0 && await OpenAsync(due, stop) is { Count: > 0 } open)
            {
                await PublishAndMarkAsync(open, stop);
            }
        }
        finally
        {
            due.ForEach(unkept => _waiting.TryRemove(unkept.Chunk.Job, out _));
        }

        return due.Count;
    }

    private async Task PublishAtOnceAsync(IReadOnlyList<ChunkSubmitted> chunks)
    {
        using var patience = new CancellationTokenSource(options.PublishWaitMax, time);
        var errors = await Task.WhenAll(chunks.Select(chunk => TryPublishAsync(chunk, [chunk], patience.Token)));
        if (errors.FirstOrDefault(e => e is not null) is { } error)
        {
            LogNotConfirmed(log, errors.Count(e => e is not null), chunks.Count, error.Message);
        }

        var (since, now) = (time.GetTimestamp(), time.GetUtcNow());
        for (var i = 0; i < chunks.Count; i++)
        {
            var kept = chunks[i] with { ReplyTo = null, Payload = null, Step = null };
            _unkept.Enqueue(new Unkept(kept, since, errors[i] is null ? now : null));
        }
    }

    private async Task KeepLoopAsync(CancellationToken stop)
    {
        using var timer = new PeriodicTimer(options.KeepAfter, time);
        while (await timer.WaitForNextTickAsync(stop))
        {
            try
            {
                while (await KeepOnceAsync(stop) == options.KeepGroupMax) { }
            }
            catch (Exception e) when (e is NpgsqlException || Problems.IsLostServer(e))
            {
                LogLeftToSweep(log, _unkept.Count, e.Message);
            }
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var keeps = KeepLoopAsync(stoppingToken);
        try
        {
            while (!stoppingToken.IsCancellationRequested)
            {
                if (!await AnnounceOnceAsync(stoppingToken))
                {
                    await _arrivals.Reader.WaitToReadAsync(stoppingToken);
                }
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // What still waits is announced by the sweep of the next start.
        }

        await keeps.ContinueWith(
            static _ => { },
            CancellationToken.None,
            TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default
        );
    }

    /// <summary>One turn: publishes and marks one group. False when nothing waits.</summary>
    public async Task<bool> AnnounceOnceAsync(CancellationToken stop)
    {
        while (_arrivals.Reader.TryRead(out var arrival))
        {
            _queues[(int)arrival.Job.Order.Class].Enqueue(arrival);
        }

        var group = TakeGroup(out var finished);
        if (group.Count == 0)
        {
            return false;
        }

        try
        {
            await PublishAndMarkAsync(group, stop);
        }
        catch (Exception e) when (e is NpgsqlException || Problems.IsLostServer(e))
        {
            LogLeftToSweep(log, group.Count, e.Message);
        }
        finally
        {
            finished.ForEach(job => _waiting.TryRemove(job, out _));
        }

        return true;
    }

    /// <summary>Publishes what was committed a while ago and never confirmed. Gives the number of chunks published now.</summary>
    public async Task<int> SweepOnceAsync(CancellationToken stop)
    {
        var published = 0;
        while (true)
        {
            var group = await ReadForgottenAsync(stop);
            var confirmed = group.Count > 0 ? await PublishAndMarkAsync(group, stop) : 0;
            published += confirmed;
            if (confirmed < group.Count || group.Count < options.PublishGroupMax)
            {
                return published;
            }
        }
    }

    private List<ChunkSubmitted> TakeGroup(out List<JobId> finished)
    {
        var group = new List<ChunkSubmitted>();
        finished = [];
        foreach (var queue in _queues)
        {
            while (group.Count < options.PublishGroupMax && queue.TryDequeue(out var waiting))
            {
                var room = options.PublishGroupMax - group.Count;
                if (waiting.Take(Math.Min(room, TurnChunksMax), group))
                {
                    finished.Add(waiting.Job.Order.Id);
                }
                else
                {
                    queue.Enqueue(waiting);
                }
            }
        }

        return group;
    }

    private Task<int> PublishAndMarkAsync(List<ChunkSubmitted> group, CancellationToken stop) =>
        PublishAndMarkAsync(group.ConvertAll(chunk => new Unkept(chunk, 0, null)), stop);

    /// <summary>Publishes chunks to be kept, and marks those that the broker confirmed, as announced when they were for the first time.</summary>
    private async Task<int> PublishAndMarkAsync(List<Unkept> group, CancellationToken stop)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(stop);
        patience.CancelAfter(options.PublishWaitMax);
        var messages = group.GroupBy(unkept => (unkept.Chunk.Class, unkept.Chunk.Model.Name)).Select(alike => alike.ToList()).ToList();
        var published = await Task.WhenAll(
            messages.Select(alike =>
            {
                var chunks = alike.ConvertAll(unkept => unkept.Chunk);
                return TryPublishAsync(new ChunksSubmitted { Chunks = chunks }, chunks, patience.Token);
            })
        );
        stop.ThrowIfCancellationRequested();
        var confirmed = messages.Where((_, i) => published[i] is null).SelectMany(alike => alike).ToList();
        if (published.FirstOrDefault(e => e is not null) is { } error)
        {
            LogNotConfirmed(log, group.Count - confirmed.Count, group.Count, error.Message);
        }

        if (confirmed.Count > 0)
        {
            await MarkAsync(confirmed, stop);
        }

        return confirmed.Count;
    }

    /// <summary>Null when the broker confirmed, else why it did not. A message with chunks of several traced jobs is in the first one's trace.</summary>
    private async Task<Exception?> TryPublishAsync<T>(T message, IReadOnlyList<ChunkSubmitted> chunks, CancellationToken patience)
        where T : class
    {
        try
        {
            var traced = chunks.Select(chunk => chunk.Traceparent).OfType<string>().ToList();
            using var announces = Traces.Start("announce chunks", traced.FirstOrDefault(), links: Traces.LinksTo(traced));
            await bus.Publish(message, patience);
            return null;
        }
        catch (Exception e) when (e is OperationCanceledException || Problems.IsLostServer(e))
        {
            return e;
        }
    }

    /// <summary>Those of the chunks that have tasks left.</summary>
    private async Task<List<Unkept>> OpenAsync(List<Unkept> chunks, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            "SELECT c.job, c.no FROM unnest($1, $2) AS u (job, no) JOIN chunks c ON c.job = u.job AND c.no = u.no WHERE c.remaining > 0"
        );
        AddKeys(command, chunks);
        await using var reader = await command.ExecuteReaderAsync(stop);
        var open = new HashSet<ChunkKey>();
        while (await reader.ReadAsync(stop))
        {
            open.Add(new ChunkKey(new JobId(reader.GetGuid(0)), reader.GetInt32(1)));
        }

        return chunks.FindAll(unkept => open.Contains(new ChunkKey(unkept.Chunk.Job, unkept.Chunk.No)));
    }

    /// <summary>
    /// Rows are locked in the order in which those who end tasks lock them; a plain UPDATE … FROM would take them as it finds them, and
    /// deadlock with a worker now and then.
    /// </summary>
    private async Task MarkAsync(List<Unkept> confirmed, CancellationToken stop)
    {
        var now = time.GetUtcNow();
        var moments = confirmed.Select(unkept => (unkept.AnnouncedAt ?? now).UtcDateTime).ToArray();
        await using var command = database.CreateCommand(
            """
            WITH locked AS (
              SELECT c.job, c.no, u.at FROM unnest($1, $2, $3) AS u (job, no, at) JOIN chunks c ON c.job = u.job AND c.no = u.no
              WHERE c.remaining > 0
              ORDER BY c.job, c.no FOR NO KEY UPDATE OF c
            )
            UPDATE chunks c SET announced_at = locked.at FROM locked WHERE c.job = locked.job AND c.no = locked.no
            """
        );
        AddKeys(command, confirmed);
        command.Parameters.Add(new() { Value = moments, NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.TimestampTz });
        await command.ExecuteNonQueryAsync(stop);
    }

    private static void AddKeys(NpgsqlCommand command, List<Unkept> chunks)
    {
        command.Parameters.Add(new() { Value = chunks.Select(c => c.Chunk.Job.Value).ToArray() });
        command.Parameters.Add(new() { Value = chunks.Select(c => c.Chunk.No).ToArray() });
    }

    private async Task<List<ChunkSubmitted>> ReadForgottenAsync(CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            $"""
            SELECT c.job, c.no, j.tenant, {ChunkSql.Model}, j.class, j.deadline, j.queued_at, c.first_seq, c.tasks, c.units, c.units_max,
                   j.traceparent
            FROM chunks c JOIN jobs j ON j.id = c.job
            WHERE c.announced_at IS NULL AND c.remaining > 0 AND j.state IN ('queued', 'running')
              AND j.queued_at <= $1 AND j.id <> ALL ($2)
            ORDER BY c.job, c.no LIMIT $3
            """
        );
        var olderThan = time.GetUtcNow() - options.SweepEvery;
        command.Parameters.Add(new() { Value = olderThan.UtcDateTime, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        command.Parameters.Add(new() { Value = _waiting.Keys.Select(job => job.Value).ToArray() });
        command.Parameters.Add(new() { Value = options.PublishGroupMax });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var forgotten = new List<ChunkSubmitted>();
        while (await reader.ReadAsync(stop))
        {
            forgotten.Add(
                new ChunkSubmitted
                {
                    Job = new JobId(reader.GetGuid(0)),
                    No = reader.GetInt32(1),
                    Tenant = new TenantId(reader.GetGuid(2)),
                    Model = ModelRef.Parse(reader.GetString(3)),
                    Class = LatencyClasses.TryParse(reader.GetString(4), out var latencyClass) ? latencyClass : LatencyClass.Bulk,
                    Deadline = reader.GetFieldValue<DateTimeOffset>(5),
                    QueuedAt = reader.GetFieldValue<DateTimeOffset>(6),
                    FirstSeq = reader.GetInt32(7),
                    Tasks = reader.GetInt32(8),
                    Units = reader.GetInt64(9),
                    UnitsMax = reader.GetInt32(10),
                    Traceparent = reader.IsDBNull(11) ? null : telemetry.TraceOf(reader.GetString(11), reader.GetInt32(1)),
                }
            );
        }

        return forgotten;
    }

    /// <summary>A chunk that the broker is to keep.</summary>
    /// <param name="Since">The timestamp of its announcement at once.</param>
    /// <param name="AnnouncedAt">When it was announced without being kept; null where that failed, or was not tried.</param>
    private sealed record Unkept(ChunkSubmitted Chunk, long Since, DateTimeOffset? AnnouncedAt);

    /// <summary>A job with chunks left to announce.</summary>
    private sealed class Waiting(AnnouncedJob job, TelemetryOptions telemetry)
    {
        private int _next;

        public AnnouncedJob Job => job;

        /// <summary>Adds the next chunks to a group; true when none is left.</summary>
        public bool Take(int countMax, List<ChunkSubmitted> group)
        {
            var order = job.Order;
            for (var end = Math.Min(_next + countMax, job.Chunks.Count); _next < end; _next++)
            {
                var chunk = job.Chunks[_next];
                group.Add(
                    new ChunkSubmitted
                    {
                        Job = order.Id,
                        No = chunk.No,
                        Tenant = order.Tenant,
                        Model = order.Model.Ref,
                        Class = order.Class,
                        Deadline = order.Deadline,
                        QueuedAt = job.QueuedAt,
                        FirstSeq = chunk.FirstSeq,
                        Tasks = chunk.Tasks,
                        Units = chunk.Units,
                        UnitsMax = chunk.UnitsMax,
                        Traceparent = telemetry.TraceOf(order.Traceparent, chunk.No),
                    }
                );
            }

            return _next == job.Chunks.Count;
        }
    }

    [LoggerMessage(
        20,
        LogLevel.Warning,
        "{Missing} of {Chunks} chunks were not confirmed by the broker and will be published again: {Reason}"
    )]
    private static partial void LogNotConfirmed(ILogger log, int missing, int chunks, string reason);

    [LoggerMessage(21, LogLevel.Warning, "{Chunks} chunks are left to the sweep: {Reason}")]
    private static partial void LogLeftToSweep(ILogger log, int chunks, string reason);
}
