using System.Threading.Channels;
using MassTransit;
using Microsoft.Extensions.Logging;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Stages;
using Pipeline.Hosting;
using Pipeline.Hosting.Telemetry;
using Bus = Pipeline.Hosting.Bus;

namespace Pipeline.GpuWorker;

/// <summary>What every life of this process's worker is made of.</summary>
internal sealed record WorkerParts(
    WorkerOptions Options,
    NpgsqlDataSource Database,
    IModelSource Models,
    Registration Registration,
    KnownEpoch Epoch,
    IReceiveEndpointConnector Lanes,
    IBus Bus,
    WorkerMetrics Metrics,
    TelemetryOptions Telemetry,
    TimeProvider Time,
    ILoggerFactory Logs
);

/// <summary>
/// One registered life: its lanes, its stages and the bounded queues between them.
/// <code>
/// express ─> fetch ─> pack ─┐                                ┌─> finished ─> acknowledged
///                           ├─> device ─> unpack ─> write ───┤
/// bulk    ─> fetch ─> pack ─┘   (express first)              └─> ledger
/// </code>
/// It ends when the process stops (what ran is written, the rest handed back) or when the scheduler has given it up (nothing of it
/// can be written any more; the process registers anew).
/// </summary>
internal sealed partial class WorkerLife : Pack.IOutput, Run.IOutput, IDisposable
{
    /// <summary>Dispatches a lane holds before the fetch; the broker sends two at most.</summary>
    private const int StagedDispatchesMax = 16;

    private readonly WorkerParts _parts;
    private readonly WorkerId _worker;
    private readonly ILogger _log;
    private readonly DeviceMeter _meter;
    private readonly HeldDispatches _held = new();
    private readonly Heartbeat _heartbeat;
    private readonly DispatchConsumer _consumer;
    private readonly Fetch _fetch;
    private readonly Pack _pack;
    private readonly Run _run;
    private readonly Write _write;
    private readonly Unwritten _unwritten;
    private readonly DeviceQueue _queue;
    private readonly LanePipe[] _lanes = [new(), new()];
    private readonly Channel<RanWork> _ran;
    private readonly Channel<FinishedBatch> _finished;

    /// <summary>No further batch is begun.</summary>
    private readonly CancellationTokenSource _stop = new();

    /// <summary>Whatever is under way is left.</summary>
    private readonly CancellationTokenSource _abort = new();
    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool _accepting;

    private WorkerLife(WorkerParts parts, WorkerId worker, KnownPrices prices, DeviceMeter meter)
    {
        var (options, time) = (parts.Options, parts.Time);
        (_parts, _worker, _meter) = (parts, worker, meter);
        _log = parts.Logs.CreateLogger<WorkerLife>();
        _unwritten = new Unwritten(options.UnwrittenTimeMax, time);
        parts.Metrics.Watch(_unwritten);
        _queue = new DeviceQueue(options.PackedBatchesMax, _unwritten, time);
        _ran = Channel.CreateBounded<RanWork>(options.RanBatchesMax);
        _finished = Channel.CreateBounded<FinishedBatch>(options.RanBatchesMax);
        _heartbeat = new(
            worker,
            options,
            parts.Models,
            meter,
            prices,
            parts.Epoch,
            _held,
            parts.Bus,
            time,
            parts.Logs.CreateLogger<Heartbeat>()
        );
        _consumer = new(worker, parts.Epoch, _held, options, parts.Bus, time);
        _fetch = new(parts.Database, parts.Telemetry);
        _pack = new(parts.Models, new StoppedJobs(parts, _log), new KnownEnds(parts, _log), meter);
        _run = new(_queue, meter, parts.Epoch, time, parts.Logs.CreateLogger<Run>());
        var answers = new Answers(parts.Bus, options, parts.Logs.CreateLogger<Answers>());
        var reuse = new ReuseWrites(parts, parts.Logs.CreateLogger<ReuseWrites>());
        _write = new(
            parts.Database,
            worker,
            prices,
            meter,
            answers,
            reuse,
            _unwritten,
            parts.Metrics,
            options,
            time,
            parts.Logs.CreateLogger<Write>()
        );
    }

    public WorkerId Worker => _worker;

    /// <summary>True from when its lanes are there until it drains or is closed.</summary>
    public bool Accepting => _accepting;

    /// <summary>Registers: a new id, from whose first moment on the device's time is booked.</summary>
    public static async Task<WorkerLife> BeginAsync(WorkerParts parts, CancellationToken stop)
    {
        parts.Epoch.Learn(await parts.Registration.ReadEpochAsync(stop));
        var (worker, prices) = await parts.Registration.RegisterAsync(stop);
        return new WorkerLife(parts, worker, new KnownPrices(prices), new DeviceMeter(parts.Time));
    }

    /// <summary>Lives until told to drain, or closed by the scheduler.</summary>
    /// <param name="drain">Finish the batch on the device, write it, hand back the rest.</param>
    /// <param name="abort">Leave at once; the scheduler will find this worker lost.</param>
    /// <returns>True when it ended in good order; false when it was closed, and the process should register anew.</returns>
    public async Task<bool> RunAsync(CancellationToken drain, CancellationToken abort)
    {
        await using var aborts = abort.Register(_abort.Cancel);
        await using var drains = drain.Register(() => _closed.TrySetCanceled(drain));
        _parts.Epoch.Raised += DropOutdated;
        var stages = StartStages();
        var beats = Task.CompletedTask;
        var lanes = new List<HostReceiveEndpointHandle>();
        try
        {
            _accepting = true;
            lanes.AddRange(await ConnectAsync(Lane.Express), await ConnectAsync(Lane.Bulk));
            // Not earlier: who hears of a worker sends it work, and without its lanes that would come back.
            beats = _heartbeat.LoopAsync(_abort.Token);
            LogAlive(_log, _worker, _parts.Options.Name, _parts.Options.Pool, _parts.Models.Provider, _parts.Models.Device);
            await Task.WhenAny([_closed.Task, .. stages.All]);
            _accepting = false;
            return drain.IsCancellationRequested ? await DrainAsync(stages, lanes) : await LeaveAsync(stages, lanes);
        }
        finally
        {
            _parts.Epoch.Raised -= DropOutdated;
            await _stop.CancelAsync();
            await _abort.CancelAsync();
            foreach (var run in _held.Runs)
            {
                run.Forget();
            }

            await Task.WhenAll(stages.All).ContinueWith(_ => { }, TaskScheduler.Default);
            await beats;
            _queue.Dispose();
            while (_ran.Reader.TryRead(out var left))
            {
                left.Discard();
            }
        }
    }

    public void Dispose()
    {
        _stop.Dispose();
        _abort.Dispose();
    }

    private Stages StartStages() =>
        new(
            Fetch: Task.WhenAll(Task.Run(() => FetchLoopAsync(_lanes[0])), Task.Run(() => FetchLoopAsync(_lanes[1]))),
            Pack: Task.WhenAll(Task.Run(() => PackLoopAsync(_lanes[0])), Task.Run(() => PackLoopAsync(_lanes[1]))),
            Device: Task.Factory.StartNew(
                () => _run.Loop(this, _stop.Token, _abort.Token),
                CancellationToken.None,
                TaskCreationOptions.LongRunning,
                TaskScheduler.Default
            ),
            Unpack: Task.Run(UnpackLoopAsync),
            Write: Task.Run(() => _write.LoopAsync(_finished.Reader, _abort.Token))
        );

    private async Task<HostReceiveEndpointHandle> ConnectAsync(Lane lane)
    {
        var handle = _parts.Lanes.ConnectReceiveEndpoint(
            Bus.LaneQueue(_worker, lane),
            (_, endpoint) =>
            {
                endpoint.AsWorkerLane(_worker, lane);
                // The Fault is published all the same; an error queue of a temporary queue would stay behind, read by nobody.
                endpoint.DiscardFaultedMessages();
                // Not the context's token: it ends with the connection, and the report should go out over the next one.
                endpoint.Handler<Dispatch>(context => _consumer.ConsumeAsync(context.Message, TryStart, _abort.Token));
            }
        );
        await handle.Ready.WaitAsync(_abort.Token);
        return handle;
    }

    /// <summary>In good order: the batch on the device is finished and written, the rest handed back, the books closed.</summary>
    private async Task<bool> DrainAsync(Stages stages, List<HostReceiveEndpointHandle> lanes)
    {
        LogDraining(_log, _worker);
        _heartbeat.Draining = true;
        await _stop.CancelAsync();
        await _heartbeat.BeatAsync(_abort.Token);
        await Task.WhenAll(stages.Fetch, stages.Pack, stages.Device);
        _ran.Writer.Complete();
        await stages.Unpack;
        if (!await stages.Write)
        {
            return await LeaveAsync(stages, lanes);
        }

        foreach (var run in _held.Runs)
        {
            run.Finish();
        }

        foreach (var lane in lanes)
        {
            await lane.StopAsync(_abort.Token);
        }

        await _write.StopAsync(_abort.Token);
        LogStopped(_log, _worker);
        return true;
    }

    /// <summary>Given up by the scheduler, or broken inside: what is not committed is dropped, and nobody is told of it.</summary>
    private async Task<bool> LeaveAsync(Stages stages, List<HostReceiveEndpointHandle> lanes)
    {
        var reason = stages.All.FirstOrDefault(s => s.IsFaulted)?.Exception?.GetBaseException();
        if (reason is null)
        {
            LogClosed(_log, _worker);
        }
        else
        {
            LogBroken(_log, reason, _worker);
        }

        await _stop.CancelAsync();
        await _abort.CancelAsync();
        foreach (var run in _held.Runs)
        {
            run.Forget();
        }

        foreach (var lane in lanes)
        {
            await lane.StopAsync(CancellationToken.None);
        }

        return false;
    }

    private bool TryStart(DispatchRun run)
    {
        if (run.Dispatch.Lane == Lane.Express)
        {
            _queue.ExpressComes();
        }

        return _accepting && _lanes[(int)run.Dispatch.Lane].Staged.Writer.TryWrite(run);
    }

    /// <summary>A new scheduler plans anew what has not begun.</summary>
    private void DropOutdated(long epoch)
    {
        foreach (var run in _held.Runs.Where(r => r.Dispatch.Epoch < epoch))
        {
            run.Drop();
        }
    }

    private async Task FetchLoopAsync(LanePipe lane)
    {
        try
        {
            await foreach (var run in lane.Staged.Reader.ReadAllAsync(_stop.Token))
            {
                if (!run.Dropped && await FetchAsync(run))
                {
                    await lane.Fetched.Writer.WriteAsync(run, _stop.Token);
                }
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested) { }
    }

    /// <summary>True when something of the dispatch is to be run.</summary>
    private async Task<bool> FetchAsync(DispatchRun run)
    {
        using var fetches = Traces.Start("fetch", run.Trace);
        try
        {
            await Patience.UntilAsync(token => _fetch.ReadAsync(run, token), _parts, _log, _stop.Token);
        }
        catch (Exception e) when (!_stop.IsCancellationRequested)
        {
            LogNotFetched(_log, e, run.Dispatch.Id);
            run.Fail(e);
            return false;
        }

        if (run.Open > 0)
        {
            return true;
        }

        run.Finish();
        return false;
    }

    private async Task PackLoopAsync(LanePipe lane)
    {
        try
        {
            Task before = Task.CompletedTask;
            await foreach (var run in lane.Fetched.Reader.ReadAllAsync(_stop.Token))
            {
                run.Before = before;
                before = run.Finished;
                if (!run.Dropped)
                {
                    await PackAsync(run);
                }
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested) { }
    }

    private async Task PackAsync(DispatchRun run)
    {
        using var packs = Traces.Start("pack", run.Trace);
        try
        {
            await _pack.PackAsync(run, this, _stop.Token);
        }
        catch (ModelNotLoadedException e)
        {
            LogNotLoaded(_log, run.Dispatch.Model, run.Dispatch.Id, e.Message);
            run.GiveBack(e);
        }
        catch (Exception e) when (!_stop.IsCancellationRequested)
        {
            LogNotPacked(_log, e, run.Dispatch.Model, run.Dispatch.Id);
            run.Fail(e);
        }
    }

    private async Task UnpackLoopAsync()
    {
        try
        {
            await foreach (var work in _ran.Reader.ReadAllAsync(_abort.Token))
            {
                await _finished.Writer.WriteAsync(Unpack.Turn(work), _abort.Token);
            }
        }
        finally
        {
            _finished.Writer.Complete();
        }
    }

    ValueTask Pack.IOutput.PackedAsync(PackedWork work, CancellationToken stop) => _queue.AddAsync(work, stop);

    ValueTask Pack.IOutput.EndedAsync(RanWork work, CancellationToken stop)
    {
        _unwritten.Add(work.Rows);
        return _ran.Writer.WriteAsync(work, stop);
    }

    bool Run.IOutput.MarkBegun(DispatchRun run, CancellationToken abort)
    {
        var alive = false;
        try
        {
            Patience
                .UntilAsync(
                    async token => alive = await _parts.Registration.MarkBegunAsync(_worker, run.Dispatch, token),
                    _parts,
                    _log,
                    _stop.Token
                )
                .GetAwaiter()
                .GetResult();
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            return false;
        }

        if (!alive)
        {
            _closed.TrySetResult();
        }

        return alive;
    }

    void Run.IOutput.Ran(RanWork work, CancellationToken abort)
    {
        _unwritten.Add(work.Rows);
        if (!_ran.Writer.TryWrite(work))
        {
            _ran.Writer.WriteAsync(work, abort).AsTask().GetAwaiter().GetResult();
        }
    }

    /// <summary>Dispatches of a lane before they are packed.</summary>
    private sealed class LanePipe
    {
        public Channel<DispatchRun> Staged { get; } = Channel.CreateBounded<DispatchRun>(StagedDispatchesMax);

        public Channel<DispatchRun> Fetched { get; } = Channel.CreateBounded<DispatchRun>(1);
    }

    private sealed record Stages(Task Fetch, Task Pack, Task Device, Task Unpack, Task<bool> Write)
    {
        public Task[] All { get; } = [Fetch, Pack, Device, Unpack, Write];
    }

    [LoggerMessage(1, LogLevel.Information, "Worker {Worker} ({Name}, pool {Pool}) takes work on {Provider}: {Device}")]
    private static partial void LogAlive(ILogger log, WorkerId worker, string name, string pool, string provider, string device);

    [LoggerMessage(2, LogLevel.Information, "Worker {Worker} drains: it finishes the batch on the device and hands back the rest")]
    private static partial void LogDraining(ILogger log, WorkerId worker);

    [LoggerMessage(3, LogLevel.Information, "Worker {Worker} has stopped, its books closed")]
    private static partial void LogStopped(ILogger log, WorkerId worker);

    [LoggerMessage(4, LogLevel.Warning, "Worker {Worker} was declared lost; dropping what is not committed and registering anew")]
    private static partial void LogClosed(ILogger log, WorkerId worker);

    [LoggerMessage(5, LogLevel.Critical, "Worker {Worker} broke; dropping what is not committed and registering anew")]
    private static partial void LogBroken(ILogger log, Exception reason, WorkerId worker);

    [LoggerMessage(6, LogLevel.Error, "Dispatch {Dispatch} could not be read")]
    private static partial void LogNotFetched(ILogger log, Exception reason, DispatchId dispatch);

    [LoggerMessage(7, LogLevel.Error, "Dispatch {Dispatch} of {Model} could not be packed")]
    private static partial void LogNotPacked(ILogger log, Exception reason, ModelRef model, DispatchId dispatch);

    [LoggerMessage(8, LogLevel.Error, "{Model} cannot be loaded here (dispatch {Dispatch} is handed back): {Reason}")]
    private static partial void LogNotLoaded(ILogger log, ModelRef model, DispatchId dispatch, string reason);
}
