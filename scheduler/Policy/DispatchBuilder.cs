using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>How large a dispatch may become, and what it is for.</summary>
/// <param name="Time">Estimated device time of the whole.</param>
/// <param name="BatchTimeMax">Device time of one batch.</param>
internal readonly record struct DispatchBounds(Lane Lane, TimeSpan Time, TimeSpan BatchTimeMax, string Reason);

/// <summary>
/// Fills a dispatch for one worker and one model from the class queues of a lane, most urgent job first, chunk by chunk. Chunks of
/// many jobs share it; suspects, and what faulted before, travel alone and smaller.
/// </summary>
internal sealed class DispatchBuilder(Backlog backlog, CostBook costs, long epoch)
{
    /// <summary>Tasks of the first dispatch to a model nobody has measured.</summary>
    private const int TasksUnmeasuredMax = 512;

    /// <summary>A chunk is cut to fill up a dispatch only when at least this share of it fits: each slice is fetched with its whole row.</summary>
    private const int CutShareMin = 4;

    private long _sent;

    public PolicyOptions Options { get; set; } = new();

    /// <summary>Takes the most urgent work into flight.</summary>
    /// <returns>Null when nothing of these queues waits after all.</returns>
    public (Flight Flight, SendDispatch Decision)? Build(
        FleetWorker worker,
        ReadOnlySpan<ClassQueue> queues,
        DispatchBounds bounds,
        long now
    )
    {
        var model = queues[0].Model;
        var cost = costs.Of(worker.Pool, model);
        var pace = costs.Pace(cost, model, bounds.BatchTimeMax);
        var flight = new Flight(NextId(), epoch, worker.Id, worker.Pool, bounds.Lane, model, now);
        var urgent = MostUrgent(queues, static q => q.Due);
        var waiting = urgent.Chunks;
        var due = urgent.Due;
        var ns =
            urgent.DueAlone <= urgent.DueShared
                ? FillAlone(flight, urgent.Alone.Min!, pace, bounds.Time)
                : Fill(flight, queues, pace, bounds);
        return flight.Slices.Count == 0 ? null : Close(flight, ns, pace, bounds, new TimeSpan(due - now), waiting);
    }

    /// <summary>Takes the most urgent express chunks into flight, this many, whole.</summary>
    /// <param name="fillUnits">Units of standard and bulk work that may travel with them.</param>
    /// <returns>Null when nothing of the queue waits after all.</returns>
    public (Flight Flight, SendDispatch Decision)? BuildExpress(
        FleetWorker worker,
        ClassQueue queue,
        int chunksMax,
        double fillUnits,
        DispatchBounds bounds,
        long now
    )
    {
        if (queue.DueAlone <= queue.DueShared)
        {
            return Build(worker, [queue], bounds, now);
        }

        var pace = costs.Pace(costs.Of(worker.Pool, queue.Model), queue.Model, bounds.BatchTimeMax);
        var flight = new Flight(NextId(), epoch, worker.Id, worker.Pool, bounds.Lane, queue.Model, now);
        var (due, waiting, tasks) = (queue.DueShared, queue.Chunks, 0);
        while (flight.Slices.Count < chunksMax && queue.Jobs.Min is { } job)
        {
            if (backlog.NextOf(job) is { } chunk)
            {
                tasks += Take(flight, chunk, chunk.Waiting.First.Count).Count;
            }
        }

        if (fillUnits > 0 && flight.Slices.Count > 0)
        {
            tasks += FillUp(flight, fillUnits, pace.RowsMax - tasks);
        }

        return flight.Slices.Count == 0
            ? null
            : Close(flight, pace.BatchNs(flight.Units, tasks), pace, bounds, new TimeSpan(due - now), waiting);
    }

    /// <summary>Takes one suspect into flight that has the worker for itself.</summary>
    public (Flight Flight, SendDispatch Decision) BuildApart(FleetWorker worker, WaitingChunk chunk, DispatchBounds bounds, long now)
    {
        var queue = chunk.Job.Queue;
        var pace = costs.Pace(costs.Of(worker.Pool, queue.Model), queue.Model, bounds.BatchTimeMax);
        var flight = new Flight(NextId(), epoch, worker.Id, worker.Pool, bounds.Lane, queue.Model, now) { Apart = true };
        var ns = FillAlone(flight, chunk, pace, bounds.Time);
        return Close(flight, ns, pace, bounds, new TimeSpan(chunk.Job.TargetAt - now), queue.Chunks);
    }

    private static (Flight Flight, SendDispatch Decision) Close(
        Flight flight,
        double ns,
        Pace pace,
        DispatchBounds bounds,
        TimeSpan slack,
        int waiting
    )
    {
        flight.Tasks = flight.Slices.Sum(s => s.Range.Count);
        flight.EstimatedTicks = Backlog.Ticks(ns);
        flight.BatchTicks = Math.Min(flight.EstimatedTicks, bounds.BatchTimeMax.Ticks);
        var first = flight.Slices[0].Chunk;
        var reason =
            flight.Apart ? Reasons.SuspectApart
            : first.Attempts > 0 ? Reasons.SuspectAlone
            : first.Faults > 0 ? Reasons.FaultSmaller
            : bounds.Reason;
        var why = new Why(reason, flight.Tasks, flight.Units, new TimeSpan(flight.EstimatedTicks), slack, waiting);
        return (flight, new SendDispatch(Message(flight, first, pace, bounds, reason), why));
    }

    private double Fill(Flight flight, ReadOnlySpan<ClassQueue> queues, Pace pace, DispatchBounds bounds)
    {
        var oneBatch = bounds.Time <= bounds.BatchTimeMax;
        var tasksLeft = pace.Cost.IsKnown ? Options.TasksMax : Math.Min(TasksUnmeasuredMax, Options.TasksMax);
        var left = Math.Max(1, bounds.Time.TotalNanoseconds - pace.Cost.AlphaNs);
        var spent = pace.Cost.AlphaNs;
        while (flight.Slices.Count < Options.SlicesMax && tasksLeft > 0 && left > 0)
        {
            var queue = MostUrgent(queues, static q => q.DueShared);
            if (queue.Jobs.Min is not { } job)
            {
                break;
            }

            if (backlog.NextOf(job) is not { } chunk)
            {
                continue;
            }

            var unitsPerTask = (double)chunk.Units / chunk.Tasks;
            var nsPerTask = oneBatch ? pace.BetaNs * unitsPerTask * pace.Cost.PaddingRatio : pace.Ns(unitsPerTask, 1);
            var fits = (int)Math.Min(left / nsPerTask, tasksLeft);
            var count = chunk.Waiting.First.Count;
            if (fits < count && flight.Slices.Count > 0 && fits < count / CutShareMin)
            {
                backlog.Stand(chunk);
                break;
            }

            var range = Take(flight, chunk, Math.Max(1, fits));
            tasksLeft -= range.Count;
            left -= nsPerTask * range.Count;
            spent += nsPerTask * range.Count;
        }

        return spent;
    }

    /// <summary>
    /// Standard and bulk tasks join an express batch, the most urgent first, as long as none can be longer than the longest express
    /// task: they make no row longer.
    /// </summary>
    /// <returns>How many.</returns>
    private int FillUp(Flight flight, double units, int rows)
    {
        var unitsMax = flight.Slices.Max(s => s.Chunk.UnitsMax);
        var model = flight.Slices[0].Chunk.Job.Queue.Model;
        ClassQueue[] queues = [backlog.QueueOf(model, LatencyClass.Standard), backlog.QueueOf(model, LatencyClass.Bulk)];
        var tasks = 0;
        while (flight.Slices.Count < Options.SlicesMax)
        {
            var queue = MostUrgent(queues, static q => q.DueShared);
            if (queue.Jobs.Min is not { } job)
            {
                break;
            }

            if (backlog.NextOf(job) is not { } chunk)
            {
                continue;
            }

            var fits = (int)Math.Min(rows - tasks, units * chunk.Tasks / Math.Max(1, chunk.Units));
            if (fits < 1 || chunk.UnitsMax > unitsMax)
            {
                backlog.Stand(chunk);
                break;
            }

            var range = Take(flight, chunk, fits);
            units -= chunk.UnitsOf(range.Count);
            tasks += range.Count;
        }

        return tasks;
    }

    private double FillAlone(Flight flight, WaitingChunk chunk, Pace pace, TimeSpan time)
    {
        Backlog.Withdraw(chunk);
        var nsPerTask = pace.Ns((double)chunk.Units / chunk.Tasks, 1);
        var fits = Math.Max(1, (int)Math.Min(time.TotalNanoseconds / nsPerTask, Options.TasksMax));
        var range = Take(flight, chunk, Math.Min(fits, SuspectRule.SliceTasksMax(chunk)));
        flight.Faults = chunk.Faults;
        return pace.Cost.AlphaNs + (nsPerTask * range.Count);
    }

    private TaskRange Take(Flight flight, WaitingChunk chunk, int countMax)
    {
        var range = Backlog.Take(chunk, countMax);
        flight.Slices.Add((chunk, range));
        flight.Units += chunk.UnitsOf(range.Count);
        backlog.Stand(chunk);
        backlog.Rank(chunk.Job);
        return range;
    }

    /// <summary>What a batch costs beside the device: its row, its trips between threads.</summary>
    private const double BatchOverheadNs = 50_000;

    private static Dispatch Message(Flight flight, WaitingChunk first, Pace pace, DispatchBounds bounds, string reason) =>
        new()
        {
            Id = flight.Id,
            Epoch = flight.Epoch,
            Worker = flight.Worker,
            Lane = flight.Lane,
            Model = first.Job.Queue.Model,
            Slices = [.. flight.Slices.Select(s => new Slice(s.Chunk.Job.Id, s.Chunk.No, s.Range.First, s.Range.Count))],
            BatchTimeMax = bounds.BatchTimeMax,
            // One task must always fit, whatever the model says it takes.
            PaddedUnitsMax = Math.Max(pace.PaddedUnitsMax, flight.Slices.Max(s => s.Chunk.UnitsMax)),
            BatchCostUnits = (pace.Cost.AlphaNs + BatchOverheadNs) / pace.Cost.BetaNs,
            CommitRowsMax = SuspectRule.CommitRowsMax(first),
            Reason = reason,
        };

    private static ClassQueue MostUrgent(ReadOnlySpan<ClassQueue> queues, Func<ClassQueue, long> due)
    {
        var best = queues[0];
        foreach (var queue in queues[1..])
        {
            best = due(queue) < due(best) ? queue : best;
        }

        return best;
    }

    /// <summary>Ids follow from the epoch and a count: the same facts give the same ids (RFC 9562, section 5.8: UUIDv8).</summary>
    private DispatchId NextId()
    {
        var count = ++_sent;
        return new DispatchId(new Guid((int)(epoch >> 12), (short)epoch, (short)(0x8000 | (int)(epoch & 0xfff)), Tail(count)));
    }

    private static byte[] Tail(long count)
    {
        var bytes = new byte[8];
        System.Buffers.Binary.BinaryPrimitives.WriteInt64BigEndian(bytes, count);
        bytes[0] = (byte)((bytes[0] & 0x3f) | 0x80);
        return bytes;
    }
}
