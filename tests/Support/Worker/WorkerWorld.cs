using MassTransit;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.GpuWorker;
using Pipeline.Hosting;
using Pipeline.Hosting.Telemetry;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Support.Worker;

/// <summary>
/// A worker over a real PostgreSQL, with a fake model and a test in the scheduler's place: it sends dispatches and hears what the
/// schedulers hear.
/// </summary>
internal sealed class WorkerWorld : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly IHost _host;
    private readonly SchedulerEars _ears;
    private readonly HashSet<WorkerId> _lives = [];
    private bool _stopped;

    private WorkerWorld(TestDatabase database, FakeModels models, IHost host, SchedulerEars ears) =>
        (Database, Models, _host, _ears) = (database, models, host, ears);

    public TestDatabase Database { get; }

    public NpgsqlDataSource Rows => Database.DataSource;

    public FakeModels Models { get; }

    public FakeModel Model => Models.Model;

    /// <summary>The id of the newest life.</summary>
    public WorkerId Worker { get; private set; }

    /// <summary>Starts a worker on a database of its own and waits for its first heartbeat.</summary>
    /// <param name="broker">In memory unless given.</param>
    /// <param name="settings">Options by key, as <c>Worker:WriteRowsMax</c>.</param>
    public static async Task<WorkerWorld> StartAsync(
        string broker = PipelineOptions.InMemoryBroker,
        int batchRowsMax = 4,
        params (string Key, string Value)[] settings
    )
    {
        var database = await TestPostgres.CreateDatabaseAsync();
        var (models, ears) = (new FakeModels(batchRowsMax), new SchedulerEars());
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Configuration.AddInMemoryCollection(
            settings
                .Append(("Pipeline:Database", database.ConnectionString))
                .Append(("Pipeline:Broker", broker))
                .Append(("Worker:RetryPauseMin", "00:00:00.005"))
                .Append(("Worker:RetryPauseMax", "00:00:00.050"))
                .Append(("Worker:HeartbeatEvery", "00:00:00.050"))
                .Append(("Worker:LedgerEvery", "00:00:00.100"))
                .Select(s => KeyValuePair.Create(s.Item1, (string?)s.Item2))
        );
        builder.Services.AddSingleton(TelemetryOptions.Read(builder.Configuration));
        builder.Services.AddPipelineDefaults(PipelineOptions.Read(builder.Configuration));
        builder.Services.AddSingleton<IBusPart>(ears);
        builder.Services.AddWorker(builder.Configuration);
        builder.Services.Replace(ServiceDescriptor.Singleton<IModelSource>(models));
        builder.Logging.AddTestLog();

        var world = new WorkerWorld(database, models, builder.Build(), ears);
        await world._host.StartAsync(TestContext.Current.CancellationToken);
        await world.NextLifeAsync();
        return world;
    }

    public Task<SeededJob> SeedAsync(IReadOnlyList<string> inputs, int chunkTasks = 8) => SeededJob.CreateAsync(Rows, inputs, chunkTasks);

    /// <summary>Sends a dispatch of the whole job, as <paramref name="change"/> would have it.</summary>
    public async Task<Dispatch> SendAsync(SeededJob job, Func<Dispatch, Dispatch>? change = null)
    {
        var dispatch = new Dispatch
        {
            Id = DispatchId.New(DateTimeOffset.UtcNow),
            Epoch = 1,
            Worker = Worker,
            Lane = Lane.Bulk,
            Model = FakeModels.Name,
            Slices = job.Slices,
            BatchTimeMax = TimeSpan.FromMilliseconds(250),
            PaddedUnitsMax = 100_000,
            Reason = "test",
        };
        dispatch = change?.Invoke(dispatch) ?? dispatch;
        await _host.Services.GetRequiredService<IBus>().PublishAsync(dispatch, Patience, CancellationToken.None);
        return dispatch;
    }

    /// <summary>Sends until a lane takes it: after a broken connection it takes a moment until they are there again.</summary>
    public async Task<Dispatch> SendUntilTakenAsync(SeededJob job)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return await SendAsync(job);
            }
            catch (Exception e) when (attempt < 200 && Problems.IsLostServer(e))
            {
                var uptime = _ears.Heartbeats.All[^1].UptimeNs;
                await HeartbeatAsync(h => h.UptimeNs > uptime);
            }
        }
    }

    public Task PublishAsync<T>(T message)
        where T : class => _host.Services.GetRequiredService<IBus>().Publish(message);

    /// <summary>Waits for a dispatch's report.</summary>
    public Task<DispatchFinished> FinishedAsync(Dispatch dispatch) => _ears.Finished.FirstAsync(f => f.Id == dispatch.Id, Patience);

    public async Task<DispatchFinished> RunAsync(SeededJob job, Func<Dispatch, Dispatch>? change = null) =>
        await FinishedAsync(await SendAsync(job, change));

    /// <summary>Waits for a heartbeat that says so.</summary>
    public Task<WorkerHeartbeat> HeartbeatAsync(Func<WorkerHeartbeat, bool> says) =>
        _ears.Heartbeats.FirstAsync(h => h.Worker == Worker && says(h), Patience);

    public Task<string> FaultAsync(Dispatch dispatch) =>
        _ears.Faults.FirstAsync(f => f.Id == dispatch.Id, Patience).ContinueWith(f => f.Result.Reason, TaskScheduler.Default);

    /// <summary>Waits until a life not seen before gives a sign.</summary>
    public async Task<WorkerId> NextLifeAsync()
    {
        Worker = (await _ears.Heartbeats.FirstAsync(h => !_lives.Contains(h.Worker), Patience)).Worker;
        _lives.Add(Worker);
        return Worker;
    }

    /// <summary>Stops the process as SIGTERM does.</summary>
    public async Task StopAsync()
    {
        if (!_stopped)
        {
            _stopped = true;
            await _host.StopAsync(TestContext.Current.CancellationToken);
        }
    }

    /// <summary>
    /// Waits until work on these texts stands before the device: batches are packed one after the other, so when its
    /// <paramref name="batches"/>-th is being packed, the one before is there.
    /// </summary>
    public Task WaitsForDeviceAsync(string word, int batches = 2)
    {
        var packed = 0;
        return Model.Packs.FirstAsync(p => p[0].StartsWith(word, StringComparison.Ordinal) && ++packed == batches, Patience);
    }

    /// <summary>Sequence numbers of the results, in order.</summary>
    public async Task<IReadOnlyList<int>> SeqsAsync(string where = "true") =>
        await Database.ScalarAsync<int[]>($"SELECT array_agg(seq ORDER BY seq) FROM results WHERE {where}") ?? [];

    /// <summary>Dispatches that the worker's row lists as begun.</summary>
    public async Task<IReadOnlyList<string>> BegunAsync() =>
        await Database.ScalarAsync<string[]>("SELECT array_agg(DISTINCT b ->> 'dispatch') FROM workers, jsonb_array_elements(begun) AS b")
        ?? [];

    /// <summary>Ends every connection to the database, whatever is under way on it.</summary>
    public async Task BreakConnectionsAsync()
    {
        var name = new NpgsqlConnectionStringBuilder(Database.ConnectionString).Database;
        await TestPostgres.ExecuteAsync($"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        Rows.Clear();
    }

    /// <summary>Closes the worker's books as the scheduler does when it has not been heard.</summary>
    public async Task DeclareLostAsync()
    {
        var heard = _ears.Heartbeats.All.Last(h => h.Worker == Worker);
        await Database.ExecuteAsync("UPDATE workers SET uptime_ns = $2 WHERE id = $1", Worker.Value, heard.UptimeNs);
        await using var connection = await Rows.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        Assert.True(await Ledger.CloseAsync(connection, transaction, Worker, WorkerState.Lost, DateTimeOffset.UtcNow));
        await transaction.CommitAsync();
    }

    /// <summary>
    /// Begins to stop the worker alone, and returns the task that ends when it has: the ears share the process's bus, and would be deaf
    /// to its last words if the bus stopped with it.
    /// </summary>
    public Task BeginStop() => _host.Services.GetRequiredService<WorkerHost>().StopAsync(TestContext.Current.CancellationToken);

    public async ValueTask DisposeAsync()
    {
        Model.LetGo();
        await StopAsync();
        _host.Dispose();
        await Database.DisposeAsync();
    }
}

/// <summary>Hears what a scheduler hears.</summary>
internal sealed class SchedulerEars : IBusPart
{
    public Heard<DispatchFinished> Finished { get; } = new();

    public Heard<WorkerHeartbeat> Heartbeats { get; } = new();

    public Heard<(DispatchId Id, string Reason)> Faults { get; } = new();

    public void Configure(IBusRegistrationContext context, IReceiveConfigurator bus) =>
        bus.ReceiveEndpoint(
            $"test.{Guid.NewGuid():N}",
            e =>
            {
                e.AsTemporary(prefetch: 100);
                e.Hear<DispatchFinished>();
                e.Hear<WorkerHeartbeat>();
                e.Hear<Fault<Dispatch>>();
                e.Handler<DispatchFinished>(c => Hear(Finished, c.Message));
                e.Handler<WorkerHeartbeat>(c => Hear(Heartbeats, c.Message));
                e.Handler<Fault<Dispatch>>(c => Hear(Faults, (c.Message.Message.Id, c.Message.Exceptions[0].Message)));
            }
        );

    private static Task Hear<T>(Heard<T> heard, T message)
    {
        heard.Add(message);
        return Task.CompletedTask;
    }
}
