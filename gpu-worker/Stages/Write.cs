using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;
using Pipeline.Migrations;

namespace Pipeline.GpuWorker.Stages;

/// <summary>
/// Writes what has run: gathers the batches that are ready, of any dispatch, and commits results, batches and the device's time in
/// one transaction. While PostgreSQL is away it holds its rows and tries again. What it refuses goes alone, so that the rest passes.
/// </summary>
internal sealed partial class Write(
    NpgsqlDataSource database,
    WorkerId worker,
    KnownPrices prices,
    DeviceMeter meter,
    Answers answers,
    ReuseWrites reuse,
    Unwritten unwritten,
    WorkerMetrics metrics,
    WorkerOptions options,
    TimeProvider time,
    ILogger log
)
{
    private const int ImpossibleMax = 3;

    private readonly TaskEndRows _rows = new();

    /// <summary>Turns after which tasks go on to the next variant of their route.</summary>
    private readonly EscalationRows _escalations = new();

    /// <summary>Where each task of the group stands: in the rows, or (as the complement) in the escalations.</summary>
    private readonly List<int> _places = [];

    /// <summary>Who waits for each row.</summary>
    private readonly List<Guid?> _waitsFor = [];

    private readonly WrittenEnds _written = new();

    /// <summary>What the last commit inserted; null when its answer was lost.</summary>
    private EndedTasks? _ended;

    /// <summary>Spans taken from the meter and not yet committed: they begin where the ledger ends.</summary>
    private readonly List<DeviceSpan> _spans = [];
    private long _accountedNs;

    /// <summary>How one attempt to commit ended.</summary>
    private enum Commit
    {
        Done,

        /// <summary>The scheduler has closed this life; nothing of it can be written any more.</summary>
        Closed,

        /// <summary>PostgreSQL does not take these rows, however often it is asked.</summary>
        Refused,
    }

    /// <summary>Writes until no more batches come. False when this life has been closed.</summary>
    public async Task<bool> LoopAsync(ChannelReader<FinishedBatch> finished, CancellationToken abort)
    {
        var group = new List<FinishedBatch>();
        while (true)
        {
            if (!await ReadyAsync(finished, abort))
            {
                if (!await ExtendAsync(abort))
                {
                    return false;
                }

                continue;
            }

            await GatherAsync(finished, group, abort);
            if (group.Count == 0)
            {
                return true;
            }

            if (!await WriteAsync(group, abort))
            {
                return false;
            }
        }
    }

    /// <summary>Commits these batches, all together or, where that is refused, one by one. False when this life has been closed.</summary>
    internal async Task<bool> WriteAsync(IReadOnlyList<FinishedBatch> group, CancellationToken abort)
    {
        if (group.LastOrDefault(b => b.Device is not null)?.Device is { } last)
        {
            meter.TakeThrough(last.Span, _spans);
        }

        var (outcome, refusal) = await CommitAsync(group, abort);
        if (outcome == Commit.Refused && group.Count > 1)
        {
            foreach (var batch in group)
            {
                (outcome, refusal) = await CommitAsync([batch], abort);
                if (outcome == Commit.Refused)
                {
                    Refuse(batch, refusal!);
                }
                else if (outcome == Commit.Closed)
                {
                    return false;
                }
            }

            return true;
        }

        if (outcome == Commit.Refused)
        {
            Refuse(group[0], refusal!);
        }

        return outcome != Commit.Closed;
    }

    /// <summary>Extends the ledger over time in which nothing was written. False when this life has been closed.</summary>
    internal async Task<bool> ExtendAsync(CancellationToken abort)
    {
        meter.TakeGaps(_spans);
        return _spans.Count == 0 || (await CommitAsync([], abort)).Outcome == Commit.Done;
    }

    /// <summary>Extends the ledger for the last time, and ends this life in good order.</summary>
    public async Task StopAsync(CancellationToken abort)
    {
        meter.TakeGaps(_spans);
        await RetryAsync(
            async () =>
            {
                await using var connection = await database.OpenConnectionAsync(abort);
                await using var transaction = await connection.BeginTransactionAsync(abort);
                var extension = Extension([], [], _spans, null);
                await using var batch = new NpgsqlBatch(connection, transaction) { BatchCommands = { extension.Command() } };
                extension.Took(await LastScalarAsync(batch, null, abort));
                await Ledger.CloseAsync(connection, transaction, worker, WorkerState.Stopped, time.GetUtcNow(), abort);
                await transaction.CommitAsync(abort);
                metrics.Booked(extension);
                return Commit.Done;
            },
            0,
            abort
        );
    }

    private async Task<bool> ReadyAsync(ChannelReader<FinishedBatch> finished, CancellationToken abort)
    {
        try
        {
            var ready = finished.WaitToReadAsync(abort);
            if (!ready.IsCompleted)
            {
                await ready.AsTask().WaitAsync(options.LedgerEvery, time, abort);
            }

            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }

    /// <summary>
    /// Takes the batches that are there. Bulk rows wait a little for more: a commit costs the same for one batch as for ten, and on a
    /// device that shares its processor that time is the device's. Nobody waits for rows that end a dispatch, or came by express.
    /// </summary>
    private async Task GatherAsync(ChannelReader<FinishedBatch> finished, List<FinishedBatch> group, CancellationToken abort)
    {
        group.Clear();
        var (rows, started) = (0, time.GetTimestamp());
        do
        {
            while (finished.TryPeek(out var next) && (rows == 0 || rows + next.Tasks.Length <= options.WriteRowsMax))
            {
                finished.TryRead(out next);
                group.Add(next!);
                rows += next!.Tasks.Length;
            }
        } while (
            rows > 0
            && MayWait(group)
            && unwritten.HasRoom
            && await MoreComesAsync(finished, options.WriteWaitMax - time.GetElapsedTime(started), abort)
        );
    }

    private static bool MayWait(List<FinishedBatch> group) =>
        group.TrueForAll(b => b.Gate is null && b.Run.Dispatch.Lane == Lane.Bulk && !b.Run.Dropped)
        && group.GroupBy(b => b.Run).All(dispatch => dispatch.Sum(b => b.Tasks.Length) < dispatch.Key.Open);

    /// <summary>False when nothing came in time, nothing will, or what is there does not fit.</summary>
    private async Task<bool> MoreComesAsync(ChannelReader<FinishedBatch> finished, TimeSpan wait, CancellationToken abort)
    {
        if (wait <= TimeSpan.Zero || finished.TryPeek(out _))
        {
            return false;
        }

        try
        {
            return await finished.WaitToReadAsync(abort).AsTask().WaitAsync(wait, time, abort);
        }
        catch (TimeoutException)
        {
            return false;
        }
    }

    private async Task<(Commit Outcome, Exception? Refusal)> CommitAsync(IReadOnlyList<FinishedBatch> group, CancellationToken abort)
    {
        var lastSpan = group.LastOrDefault(b => b.Device is not null)?.Device!.Span;
        var spans =
            group.Count == 0 ? [.. _spans]
            : lastSpan is null ? []
            : _spans.GetRange(0, _spans.IndexOf(lastSpan) + 1);
        using var writes = BatchTrace.StartWrite(group);
        var began = 0L;
        var (outcome, refusal) = await RetryAsync(
            () =>
            {
                began = time.GetTimestamp();
                return TryCommitAsync(group, Book(group), spans, abort);
            },
            group.Sum(b => b.Tasks.Length),
            abort
        );
        if (outcome == Commit.Done)
        {
            var took = time.GetElapsedTime(began);
            unwritten.Remove(_places.Count, took);
            Measure(group, took);
            _spans.RemoveRange(0, spans.Count);
            _accountedNs = spans.Count > 0 ? spans[^1].ToNs : _accountedNs;
            if (_ended is { Count: > 0 } ended)
            {
                answers.Send(_rows, _waitsFor, ended);
                await reuse.AfterCommitAsync(group, _rows, ended, abort);
            }

            Tell(group, _ended?.Opened ?? []);
        }

        return (outcome, refusal);
    }

    /// <summary>Tells the metrics what was committed; its tasks lie in the order of the group.</summary>
    private void Measure(IReadOnlyList<FinishedBatch> group, TimeSpan took)
    {
        var place = 0;
        for (var i = 0; i < group.Count; i++)
        {
            var (batch, dispatch) = (group[i], group[i].Run.Dispatch);
            if (batch.Device is { } device)
            {
                metrics.Ran(dispatch, batch.Ends.Length, device);
            }

            // Tasks that end in the same way lie together as a rule.
            for (var end = place + batch.Tasks.Length; place < end; )
            {
                var (outcome, first) = (OutcomeAt(place), place);
                while (++place < end && OutcomeAt(place) == outcome) { }

                metrics.Ended(dispatch, outcome, place - first);
            }
        }

        if (group.Count > 0)
        {
            metrics.Wrote(_places.Count, took);
        }
    }

    private string OutcomeAt(int place) => _places[place] is >= 0 and var row ? _rows.OutcomeOf(row) : "escalated";

    /// <summary>Fills the rows, and works out what each costs.</summary>
    private BatchBooking?[] Book(IReadOnlyList<FinishedBatch> group)
    {
        _rows.Clear();
        _escalations.Clear();
        _places.Clear();
        _waitsFor.Clear();
        var now = time.GetUtcNow();
        var booked = new BatchBooking?[group.Count];
        for (var i = 0; i < booked.Length; i++)
        {
            var (run, device) = (group[i].Run, group[i].Device);
            if (device is not null)
            {
                var units = Array.ConvertAll(group[i].Tasks[..group[i].Ends.Length], t => (long)run.Tasks[t].Prepared!.Units);
                booked[i] = new BatchBooking(device.Span, units, device.PaddedUnits, prices.Value, options.SplitMethodChosen);
            }

            AddRows(group[i], booked[i], now);
        }

        return booked;
    }

    private void AddRows(FinishedBatch batch, BatchBooking? booked, DateTimeOffset now)
    {
        var (run, model) = (batch.Run, batch.Run.Dispatch.Model.ToString());
        var stagedUs = (int)Math.Min(int.MaxValue, Microseconds(run.ReceivedAt, batch.StartedAt));
        var deviceUs = (int)Math.Min(int.MaxValue, (batch.Device?.Span.Ns ?? 0) / 1000);
        for (var row = 0; row < batch.Tasks.Length; row++)
        {
            var task = run.Tasks[batch.Tasks[row]];
            var slice = run.Slices[task.Slice];
            var end = batch.EndOf(row);
            var (output, failure, known) = batch.Ends[end];
            var reused = failure is null ? known ?? ReusedOf(batch, booked, row) : null;
            var ran = known is null && end == row;
            var (units, costPico) = (reused?.Units ?? task.Prepared?.Units ?? 0, ran ? booked?.TaskPico[row] ?? 0 : 0);
            if (ran && failure is null && slice.Step is { Next: { } next } step && !Accepts(step, output, units))
            {
                var from = new EscalationFrom(slice.Slice.Chunk, slice.Root ?? slice.Slice.No, slice.FirstSeq, next);
                _places.Add(~_escalations.Count);
                _escalations.Add(from, task.Seq, step.Turn, model, batch.Device!.Id, units, costPico);
                continue;
            }

            _places.Add(_rows.Count);
            _waitsFor.Add(slice.ReplyTo);
            _rows.Add(
                slice.Slice.Job,
                slice.Slice.No,
                task.Seq,
                Outcome(failure),
                task.CustomId,
                failure is null ? output.Bytes : null,
                failure is null ? output.ContentType : null,
                failure?.Kind.Info().Code,
                failure?.Message,
                model,
                turns: (short)(
                    (slice.Step?.Turn ?? 1)
                    - (!ran || failure is { Kind: FailureKind.InvalidInput or FailureKind.BudgetExceeded or FailureKind.Cancelled } ? 1 : 0)
                ),
                costPico,
                ran ? batch.Device?.Id : null,
                Microseconds(slice.QueuedAt, run.ReceivedAt),
                stagedUs,
                ran ? deviceUs : 0,
                Microseconds(slice.QueuedAt, now),
                units,
                reused?.Source,
                reused?.SavedPico ?? 0,
                slice.Step?.Turn ?? 0
            );
        }
    }

    /// <summary>What a copy takes over from the task of its batch that ran; null for that task itself.</summary>
    private static ReusedEnd? ReusedOf(FinishedBatch batch, BatchBooking? booked, int row)
    {
        var end = batch.EndOf(row);
        return end == row
            ? null
            : new ReusedEnd(ReuseSource.Job, batch.Run.Tasks[batch.Tasks[end]].Prepared?.Units ?? 0, booked?.TaskPico[end] ?? 0);
    }

    private static bool Accepts(RouteStep step, in TaskOutput output, int units) =>
        step.Accept?.Accepts(output.Top, output.Second, units) ?? true;

    private static TaskOutcome Outcome(TaskFailure? failure) =>
        failure is null ? TaskOutcome.Succeeded
        : failure.Kind is FailureKind.BudgetExceeded or FailureKind.Cancelled ? TaskOutcome.Cancelled
        : TaskOutcome.Failed;

    /// <summary>The one transaction. The worker's own row is locked last, so that the device's thread hardly ever waits for it.</summary>
    private async Task<Commit> TryCommitAsync(
        IReadOnlyList<FinishedBatch> group,
        BatchBooking?[] booked,
        List<DeviceSpan> spans,
        CancellationToken abort
    )
    {
        _ended = null;
        await using var connection = await database.OpenConnectionAsync(abort);
        await using (var transaction = await connection.BeginTransactionAsync(abort))
        {
            var now = time.GetUtcNow();
            var ended = await TaskEnds.InsertAsync(connection, transaction, _rows, _escalations, now, _written, abort);
            await using var batch = new NpgsqlBatch(connection, transaction);
            TaskEnds.AddCounts(batch, ended, now, worker);
            AddBatches(batch, group, booked);
            var extension = Extension(group, booked, spans, ended);
            batch.BatchCommands.Add(extension.Command());
            if (extension.Took(await LastScalarAsync(batch, ended, abort)))
            {
                await transaction.CommitAsync(abort);
                metrics.Booked(extension);
                _written.Take(ended);
                _ended = ended;
                return Commit.Done;
            }
        }

        // The answer to an earlier attempt may have been lost after it was committed.
        var reached = spans.Count > 0 && await Registration.ReachesAsync(connection, worker, spans[^1].ToNs, abort);
        return reached ? Commit.Done : Commit.Closed;
    }

    /// <summary>Runs the batch; what its last command gave, or null when that gave no row. The chunks it made on the way are noted.</summary>
    private static async Task<object?> LastScalarAsync(NpgsqlBatch batch, EndedTasks? ended, CancellationToken abort)
    {
        await batch.PrepareAsync(abort);
        await using var reader = await batch.ExecuteReaderAsync(abort);
        object? last = null;
        do
        {
            if (ended is not null && await ended.ReadOpenedAsync(reader, abort))
            {
                continue;
            }

            last = await reader.ReadAsync(abort) && reader.FieldCount > 0 ? reader.GetValue(0) : null;
        } while (await reader.NextResultAsync(abort));

        return last;
    }

    private void AddBatches(NpgsqlBatch batch, IReadOnlyList<FinishedBatch> group, BatchBooking?[] booked)
    {
        if (booked.Any(b => b is not null))
        {
            batch.BatchCommands.Add(InsertBatches(group, booked));
        }

        var ended = group
            .GroupBy(b => b.Run)
            .Where(g => g.Key.Begun && g.Key.Open == g.Sum(b => b.Tasks.Length))
            .Select(g => g.Key.Dispatch.Id)
            .ToList();
        if (ended.Count > 0)
        {
            batch.BatchCommands.Add(Registration.UnmarkBegun(worker, ended));
        }
    }

    private NpgsqlBatchCommand InsertBatches(IReadOnlyList<FinishedBatch> group, BatchBooking?[] booked)
    {
        var ran = group.Zip(booked).Where(b => b.Second is not null).Select(b => (Batch: b.First, Booked: b.Second!)).ToArray();
        return new(
            """
            INSERT INTO batches (worker, id, dispatch, lane, model, provider, rows, units, padded_units, device_ns, cost_pico,
                                 padding_pico, split_method, started_at, finished_at)
            SELECT $1, b.* FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) AS b
            """
        )
        {
            Parameters =
            {
                new() { Value = worker.Value },
                Column(NpgsqlDbType.Uuid, b => b.Batch.Device!.Id.Value),
                Column(NpgsqlDbType.Uuid, b => b.Batch.Run.Dispatch.Id.Value),
                Column(NpgsqlDbType.Text, b => b.Batch.Run.Dispatch.Lane.Name()),
                Column(NpgsqlDbType.Text, b => b.Batch.Run.Dispatch.Model.ToString()),
                Column(NpgsqlDbType.Text, b => b.Batch.Device!.Provider),
                Column(NpgsqlDbType.Integer, b => b.Batch.Ends.Length),
                Column(NpgsqlDbType.Bigint, b => b.Batch.Device!.Units),
                Column(NpgsqlDbType.Bigint, b => b.Batch.Device!.PaddedUnits),
                Column(NpgsqlDbType.Bigint, b => b.Booked.Span.Ns),
                Column(NpgsqlDbType.Bigint, b => b.Booked.CostPico),
                Column(NpgsqlDbType.Bigint, b => b.Booked.PaddingPico),
                Column(NpgsqlDbType.Text, b => b.Booked.Method.Name()),
                Column(NpgsqlDbType.TimestampTz, b => b.Batch.StartedAt),
                Column(NpgsqlDbType.TimestampTz, b => Later(b.Batch.StartedAt, b.Batch.Device!.FinishedAt)),
            },
        };

        NpgsqlParameter Column<T>(NpgsqlDbType element, Func<(FinishedBatch Batch, BatchBooking Booked), T> value) =>
            new() { Value = ran.Select(value).ToArray(), NpgsqlDbType = NpgsqlDbType.Array | element };
    }

    private LedgerExtension Extension(IReadOnlyList<FinishedBatch> group, BatchBooking?[] booked, List<DeviceSpan> spans, EndedTasks? ended)
    {
        var sums = new LedgerSums();
        foreach (var span in spans)
        {
            if (span.Kind != SpanKind.Batch)
            {
                sums.Add(span, prices.Value);
            }
        }

        var firstRow = 0;
        for (var i = 0; i < booked.Length; i++)
        {
            var offset = firstRow;
            booked[i]?.AddTo(sums, row => WasWritten(ended!, _places[offset + row]));
            firstRow += group[i].Tasks.Length;
        }

        var toNs = spans.Count > 0 ? spans[^1].ToNs : _accountedNs;
        return new LedgerExtension(worker, _accountedNs, toNs, sums.Entries);
    }

    private static bool WasWritten(EndedTasks ended, int place) => place >= 0 ? ended.WasInserted(place) : ended.HasEscalated(~place);

    /// <summary>The rows are committed: opens gates, and lets dispatches that are done be reported and acknowledged.</summary>
    private static void Tell(IReadOnlyList<FinishedBatch> group, IReadOnlyList<OpenedChunk> opened)
    {
        foreach (var chunk in opened)
        {
            _ = group.Any(batch => batch.Run.Escalated(chunk));
        }

        foreach (var batch in group)
        {
            var device = batch.Device;
            var fact = device is null ? null : new BatchFact(batch.Ends.Length, device.Units, device.PaddedUnits, device.Span.Ns);
            var last = batch.Run.Committed(batch.Tasks, fact);
            batch.Gate?.Committed(batch.Ends.Length);
            if (last)
            {
                batch.Run.Finish();
            }
        }
    }

    /// <summary>The dispatch is given up with the reason; the device's time for the batch was spent for nothing.</summary>
    private void Refuse(FinishedBatch batch, Exception reason)
    {
        LogRefused(log, reason, batch.Run.Dispatch.Id, batch.Tasks.Length);
        unwritten.Remove(batch.Tasks.Length, null);
        if (batch.Device?.Span is { } span)
        {
            _spans[_spans.IndexOf(span)] = span with { Kind = SpanKind.Waste, Detail = "refused" };
        }

        batch.Run.Fail(reason);
    }

    /// <summary>Tries until PostgreSQL is back, or says that it will never take this.</summary>
    private async Task<(Commit Outcome, Exception? Refusal)> RetryAsync(Func<Task<Commit>> attempt, int rows, CancellationToken abort)
    {
        var impossible = 0;
        for (var pause = options.RetryPauseMin; ; pause = Patience.Next(pause, options))
        {
            try
            {
                return (await attempt(), null);
            }
            catch (WrongPriceException e) when (prices.Learn(e.Prices))
            {
                LogPrices(log, e.Message);
            }
            catch (PostgresException e) when (Patience.IsRefusal(e))
            {
                return (Commit.Refused, e);
            }
            catch (InvalidOperationException e) when (++impossible >= ImpossibleMax)
            {
                // A chunk that is gone, or a task outside of it; a connection that broke says the same, but not every time.
                return (Commit.Refused, e);
            }
            catch (Exception e) when (Patience.IsAway(e) || e is InvalidOperationException)
            {
                LogHeld(log, rows, pause.TotalMilliseconds, e.Message);
                await Task.Delay(pause, time, abort);
            }
        }
    }

    private static long Microseconds(DateTimeOffset from, DateTimeOffset to) =>
        Math.Max(0, (to - from).Ticks / TimeSpan.TicksPerMicrosecond);

    private static DateTimeOffset Later(DateTimeOffset a, DateTimeOffset b) => a > b ? a : b;

    [LoggerMessage(1, LogLevel.Warning, "PostgreSQL did not take {Rows} results; holding them, next attempt in {PauseMs} ms: {Reason}")]
    private static partial void LogHeld(ILogger log, int rows, double pauseMs, string reason);

    [LoggerMessage(2, LogLevel.Error, "PostgreSQL refuses {Rows} results of dispatch {Dispatch}; it is given up")]
    private static partial void LogRefused(ILogger log, Exception reason, DispatchId dispatch, int rows);

    [LoggerMessage(3, LogLevel.Information, "A price of the pool was set; booking anew: {Reason}")]
    private static partial void LogPrices(ILogger log, string reason);
}
