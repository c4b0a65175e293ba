using System.Text.Json;
using System.Threading.Channels;
using MassTransit;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.Tests.Integration.Transport;
using Pipeline.Tests.Support.Servers;
using Bus = Pipeline.Hosting.Bus;

namespace Pipeline.Tests.Integration.Scheduler;

/// <summary>A worker that does what the test says: it listens on its lanes, sends heartbeats ten times a second, and ends tasks for real.</summary>
internal sealed class ScriptedWorker(TestDatabase database, ModelRef model) : IBusPart, IAsyncDisposable
{
    public const long PricePerHour = Cost.PicoPerUsd;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private readonly Channel<Dispatch> _received = Channel.CreateUnbounded<Dispatch>();
    private readonly List<HeldDispatch> _held = [];
    private readonly CancellationTokenSource _stop = new();
    private IBus _bus = null!;
    private BusProcess? _process;
    private Task _beating = Task.CompletedTask;
    private long _uptimeNs;

    public WorkerId Id { get; } = WorkerId.New(DateTimeOffset.UtcNow);

    /// <summary>The newest epoch it was told.</summary>
    public long Epoch { get; private set; }

    /// <summary>Throw at every dispatch, as a broken consumer does.</summary>
    public string? ThrowsAlways { get; set; }

    public Task RegisterAsync() =>
        database.ExecuteAsync(
            """
            INSERT INTO workers (id, name, pool, provider, device, price_per_hour_pico, state, started_at, last_seen)
            VALUES ($1, 'scripted', 'default', 'cpu', 'none', $2, 'alive', now(), now())
            """,
            Id.Value,
            PricePerHour
        );

    public void Configure(IBusRegistrationContext context, IReceiveConfigurator bus)
    {
        foreach (var lane in Enum.GetValues<Lane>())
        {
            bus.ReceiveEndpoint(
                Bus.LaneQueue(Id, lane),
                endpoint =>
                {
                    endpoint.AsWorkerLane(Id, lane);
                    endpoint.Handler<Dispatch>(context => Receive(context.Message));
                }
            );
        }

        bus.ReceiveEndpoint(
            $"pipeline.worker.{Id}",
            endpoint =>
            {
                endpoint.AsTemporary(prefetch: 1);
                endpoint.Hear<SchedulerChanged>();
                endpoint.Handler<SchedulerChanged>(context =>
                {
                    Epoch = Math.Max(Epoch, context.Message.Epoch);
                    return Task.CompletedTask;
                });
            }
        );
    }

    public async Task StartAsync(IBus bus, BusProcess? process = null)
    {
        (_bus, _process) = (bus, process);
        await BeatAsync();
        _beating = KeepBeatingAsync();
    }

    /// <summary>The next dispatch that came.</summary>
    public async Task<Dispatch> NextAsync() => await _received.Reader.ReadAsync().AsTask().WaitAsync(Patience);

    /// <summary>True when something came that was not read.</summary>
    public bool HasMore => _received.Reader.Count > 0;

    /// <summary>Takes the dispatch onto the device, and notes it in its row.</summary>
    public async Task BeginAsync(Dispatch dispatch)
    {
        lock (_held)
        {
            var at = _held.FindIndex(h => h.Id == dispatch.Id);
            _held[at] = _held[at] with { Begun = true };
        }

        var begun = dispatch.Slices.Select(s => new
        {
            job = s.Job,
            no = s.No,
            commitRows = dispatch.CommitRowsMax,
        });
        await using var command = database.DataSource.CreateCommand("UPDATE workers SET begun = begun || $2 WHERE id = $1");
        command.Parameters.Add(new() { Value = Id.Value });
        command.Parameters.Add(new() { Value = JsonSerializer.Serialize(begun), NpgsqlDbType = NpgsqlDbType.Jsonb });
        await command.ExecuteNonQueryAsync();
    }

    /// <summary>The dispatch that comes when something was submitted.</summary>
    public async Task<Dispatch> NextAfterAsync(Func<Task> submit)
    {
        await submit();
        return await NextAsync();
    }

    /// <summary>Ends all its tasks, commits, and tells.</summary>
    public async Task FinishAsync(Dispatch dispatch)
    {
        var rows = await CommitAsync(dispatch);
        await TellAsync(dispatch, SliceOutcome.Done, new BatchFact(rows, rows, rows, 1_000_000));
    }

    /// <summary>Ends the tasks of its slices and commits.</summary>
    public async Task<int> CommitAsync(Dispatch dispatch)
    {
        await using var connection = await database.DataSource.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        var rows = new TaskEndRows();
        foreach (var slice in dispatch.Slices)
        {
            var first = await database.ScalarAsync<int>(
                "SELECT first_seq FROM chunks WHERE job = $1 AND no = $2",
                slice.Job.Value,
                slice.No
            );
            for (var task = first + slice.First; task < first + slice.First + slice.Count; task++)
            {
                rows.Add(
                    slice.Job,
                    slice.No,
                    task,
                    TaskOutcome.Succeeded,
                    SchedulerWorld.CustomId(task),
                    "{}"u8.ToArray(),
                    "application/json",
                    null,
                    null,
                    model.ToString(),
                    1,
                    0,
                    null,
                    0,
                    0,
                    0,
                    0
                );
            }
        }

        await TaskEnds.WriteAsync(connection, transaction, rows, DateTimeOffset.UtcNow);
        await transaction.CommitAsync();
        return rows.Count;
    }

    public Task HandBackAsync(Dispatch dispatch) => TellAsync(dispatch, SliceOutcome.HandedBack);

    /// <summary>The process dies: no more heartbeats, its queues are gone.</summary>
    public async Task KillAsync()
    {
        await SilenceAsync();
        if (_process is not null)
        {
            await _process.DisposeAsync();
            _process = null;
        }
    }

    /// <summary>No more heartbeats, while its queues stay.</summary>
    public async Task SilenceAsync()
    {
        await _stop.CancelAsync();
        await _beating;
    }

    public async ValueTask DisposeAsync()
    {
        await KillAsync();
        _stop.Dispose();
    }

    private async Task Receive(Dispatch dispatch)
    {
        if (ThrowsAlways is { } reason)
        {
            await _received.Writer.WriteAsync(dispatch);
            throw new InvalidOperationException(reason);
        }

        lock (_held)
        {
            _held.Add(new HeldDispatch(dispatch.Id, dispatch.Epoch, dispatch.Lane, false, dispatch.Slices));
        }

        await _received.Writer.WriteAsync(dispatch);
    }

    private async Task TellAsync(Dispatch dispatch, SliceOutcome outcome, params BatchFact[] batches)
    {
        lock (_held)
        {
            _held.RemoveAll(h => h.Id == dispatch.Id);
        }

        await _bus.Publish(
            new DispatchFinished
            {
                Id = dispatch.Id,
                Epoch = dispatch.Epoch,
                Worker = Id,
                Lane = dispatch.Lane,
                Model = dispatch.Model,
                Slices = [.. dispatch.Slices.Select(s => new SliceReport(s.Job, s.No, s.First, s.Count, outcome))],
                Batches = batches,
            }
        );
    }

    private async Task KeepBeatingAsync()
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        try
        {
            while (await timer.WaitForNextTickAsync(_stop.Token))
            {
                await BeatAsync();
            }
        }
        catch (OperationCanceledException)
        {
            // It was told to be silent.
        }
    }

    private Task BeatAsync()
    {
        List<HeldDispatch> held;
        lock (_held)
        {
            held = [.. _held];
        }

        return _bus.Publish(
            new WorkerHeartbeat
            {
                Worker = Id,
                Name = "scripted",
                Pool = "default",
                Provider = "cpu",
                Device = "none",
                PricePerHourPico = PricePerHour,
                UptimeNs = _uptimeNs += 100_000_000,
                Models = [new LoadedModel(model, "cpu", 1)],
                MemoryBudgetBytes = 1,
                Epoch = Epoch,
                Held = held,
                Draining = false,
            },
            _stop.Token
        );
    }
}
