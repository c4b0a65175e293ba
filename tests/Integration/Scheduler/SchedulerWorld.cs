using System.Globalization;
using System.Text;
using MassTransit;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Scheduler.Service;
using Pipeline.Tests.Integration.Transport;
using Pipeline.Tests.Support;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Scheduler;

/// <summary>A database and a broker of one test, with schedulers that live ten times as fast as in production, and scripted workers.</summary>
internal sealed class SchedulerWorld : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private static readonly ModelRef Model = new("m", "1");

    private readonly TestVhost? _vhost;
    private readonly List<IAsyncDisposable> _started = [];
    private readonly TenantId _tenant = TenantId.New(DateTimeOffset.UtcNow);
    private BusProcess? _ingest;

    private SchedulerWorld(TestDatabase database, TestVhost? vhost) => (Database, _vhost) = (database, vhost);

    public TestDatabase Database { get; }

    /// <summary>Whose the jobs are.</summary>
    public TenantId Tenant => _tenant;

    public string Broker => _vhost?.Uri ?? PipelineOptions.InMemoryBroker;

    /// <summary>Settings of the schedulers that are started from now on.</summary>
    public Dictionary<string, string?> Settings { get; } =
        new()
        {
            ["Scheduler:TickEvery"] = "00:00:00.1",
            ["Scheduler:TickFreshFor"] = "00:00:02",
            ["Scheduler:TickSilenceMax"] = "00:00:05",
            ["Scheduler:ChoresEvery"] = "00:00:00.1",
            ["Scheduler:SweepEvery"] = "00:01:00",
            ["Scheduler:RetryPauseMax"] = "00:00:00.5",
            // Not sooner than in production: a scripted worker that is late on a busy machine and taken for lost does not come back.
            ["Scheduler:Policy:WorkerLostAfter"] = "00:00:03",
            ["Scheduler:Policy:DispatchUnlistedAfter"] = "00:00:04",
            ["Scheduler:Policy:EndingRetryAfter"] = "00:00:00.2",
            ["Scheduler:Policy:DispatchesPerLaneMax"] = "1",
            // However busy the machine is, express is not late: it would go the way of standard work.
            ["Scheduler:Policy:Classes:Express:Target"] = "00:05:00",
            ["Scheduler:Policy:Classes:Express:CompletionWindow"] = "00:10:00",
            ["Scheduler:Policy:Classes:Express:PriceFactor"] = "4",
        };

    public static async Task<SchedulerWorld> CreateAsync(bool inMemory = false)
    {
        var world = new SchedulerWorld(await TestPostgres.CreateDatabaseAsync(), inMemory ? null : await TestRabbitMq.CreateVhostAsync());
        await world.Database.ExecuteAsync("INSERT INTO tenants (id, name, created_at) VALUES ($1, 't', now())", world._tenant.Value);
        return world;
    }

    /// <summary>Starts a scheduler process; parts given live on its bus.</summary>
    public async Task<SchedulerProcess> StartSchedulerAsync(params IBusPart[] parts)
    {
        var process = await SchedulerProcess.StartAsync(Database.ConnectionString, Broker, Settings, parts);
        _started.Add(process);
        return process;
    }

    /// <summary>Starts a worker process: registered, listening, sending heartbeats.</summary>
    public async Task<ScriptedWorker> StartWorkerAsync()
    {
        var worker = new ScriptedWorker(Database, Model);
        await worker.RegisterAsync();
        var process = await BusProcess.StartAsync(Broker, worker);
        await worker.StartAsync(process.Bus, process);
        _started.Add(worker);
        return worker;
    }

    /// <summary>A worker that shares the bus of the scheduler that is started with it.</summary>
    public async Task<ScriptedWorker> PrepareWorkerAsync()
    {
        var worker = new ScriptedWorker(Database, Model);
        await worker.RegisterAsync();
        _started.Add(worker);
        return worker;
    }

    /// <summary>A queued job in PostgreSQL, as ingest leaves it.</summary>
    public async Task<JobId> StoreJobAsync(
        LatencyClass latencyClass = LatencyClass.Bulk,
        TimeSpan? deadline = null,
        string state = "queued",
        params int[] chunkTasks
    )
    {
        var now = DateTimeOffset.UtcNow;
        var job = JobId.New(now);
        await Database.ExecuteAsync(
            """
            INSERT INTO jobs (id, tenant, model, model_version, class, state, tasks, units, chunks, open_chunks, deadline, created_at, queued_at)
            VALUES ($1, $2, 'm', '1', $3, $4, $5, $5, $6, $6, $7, $8, $8)
            """,
            job.Value,
            _tenant.Value,
            latencyClass.Name(),
            state,
            chunkTasks.Sum(),
            chunkTasks.Length,
            now + (deadline ?? TimeSpan.FromHours(1)),
            now
        );
        var first = 0;
        for (var no = 0; no < chunkTasks.Length; no++)
        {
            var writer = new ChunkPayloadWriter();
            for (var task = 0; task < chunkTasks[no]; task++)
            {
                writer.Add(Encoding.UTF8.GetBytes(CustomId(first + task)), "x"u8, 1);
            }

            await Database.ExecuteAsync(
                """
                INSERT INTO chunks (job, no, first_seq, tasks, units, units_max, remaining, announced_at, payload)
                VALUES ($1, $2, $3, $4, $4, 1, $4, now(), $5)
                """,
                job.Value,
                no,
                first,
                chunkTasks[no],
                writer.Finish()
            );
            first += chunkTasks[no];
        }

        return job;
    }

    /// <summary>Announces a stored job's chunks.</summary>
    public async Task AnnounceAsync(JobId job)
    {
        await using var command = Database.DataSource.CreateCommand(
            """
            SELECT c.no, c.first_seq, c.tasks, c.units, c.units_max, j.class, j.deadline, j.queued_at
            FROM chunks c JOIN jobs j ON j.id = c.job WHERE j.id = $1 ORDER BY c.no
            """
        );
        command.Parameters.Add(new() { Value = job.Value });
        await using var reader = await command.ExecuteReaderAsync();
        while (await reader.ReadAsync())
        {
            Assert.True(LatencyClasses.TryParse(reader.GetString(5), out var latencyClass));
            await PublishAsync(
                new ChunkSubmitted
                {
                    Job = job,
                    No = reader.GetInt32(0),
                    Tenant = _tenant,
                    Model = Model,
                    Class = latencyClass,
                    Deadline = reader.GetFieldValue<DateTimeOffset>(6),
                    QueuedAt = reader.GetFieldValue<DateTimeOffset>(7),
                    FirstSeq = reader.GetInt32(1),
                    Tasks = reader.GetInt32(2),
                    Units = reader.GetInt64(3),
                    UnitsMax = reader.GetInt32(4),
                }
            );
        }
    }

    public async Task<JobId> SubmitAsync(LatencyClass latencyClass = LatencyClass.Bulk, TimeSpan? deadline = null, params int[] chunkTasks)
    {
        var job = await StoreJobAsync(latencyClass, deadline, chunkTasks: chunkTasks);
        await AnnounceAsync(job);
        return job;
    }

    public async Task CancelAsync(JobId job)
    {
        await Database.ExecuteAsync("UPDATE jobs SET state = 'cancelling' WHERE id = $1 AND state IN ('queued', 'running')", job.Value);
        await PublishAsync(new JobChanged { Job = job, Change = JobChange.Cancelled });
    }

    public async Task PublishAsync<T>(T message)
        where T : class
    {
        _ingest ??= await BusProcess.StartAsync(Broker);
        await _ingest.Bus.Publish(message);
    }

    /// <summary>Asks the scheduler, and waits for its answer.</summary>
    public async Task AskAsync<TQuestion, TAnswer>(TQuestion question)
        where TQuestion : class
        where TAnswer : class
    {
        _ingest ??= await BusProcess.StartAsync(Broker);
        await _ingest.Bus.CreateRequestClient<TQuestion>(RequestTimeout.After(s: 30)).GetResponse<TAnswer>(question);
    }

    public static string CustomId(int seq) => string.Create(CultureInfo.InvariantCulture, $"t-{seq}");

    public Task<string?> StateAsync(JobId job) => Database.ScalarAsync<string>("SELECT state FROM jobs WHERE id = $1", job.Value);

    /// <summary>Waits until a query gives true; PostgreSQL has no signal for it, so it asks again and again.</summary>
    public async Task UntilAsync(string what, string sql, params object[] parameters)
    {
        using var patience = new CancellationTokenSource(Patience);
        while (!await HoldsAsync(sql, parameters))
        {
            Assert.False(patience.IsCancellationRequested, $"waited for: {what}");
            await Task.Delay(20);
        }
    }

    /// <summary>False as well while the database is away.</summary>
    private async Task<bool> HoldsAsync(string sql, object[] parameters)
    {
        try
        {
            return await Database.ScalarAsync<bool>(sql, parameters);
        }
        catch (NpgsqlException)
        {
            return false;
        }
    }

    public Task UntilJobIsAsync(JobId job, string state) =>
        UntilAsync($"job {job} is {state}", "SELECT state = $2 FROM jobs WHERE id = $1", job.Value, state);

    public async ValueTask DisposeAsync()
    {
        foreach (var started in Enumerable.Reverse(_started))
        {
            await started.DisposeAsync();
        }

        if (_ingest is not null)
        {
            await _ingest.DisposeAsync();
        }

        if (_vhost is not null)
        {
            await _vhost.DisposeAsync();
        }

        await Database.DisposeAsync();
    }
}

/// <summary>A scheduler as its own process has it.</summary>
internal sealed class SchedulerProcess : IAsyncDisposable
{
    private readonly IHost _host;
    private bool _disposed;

    private SchedulerProcess(IHost host) => _host = host;

    public SchedulerLoop Loop => _host.Services.GetRequiredService<SchedulerLoop>();

    public IBus Bus => _host.Services.GetRequiredService<IBus>();

    public static async Task<SchedulerProcess> StartAsync(
        string database,
        string broker,
        Dictionary<string, string?> settings,
        params IBusPart[] parts
    )
    {
        var builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Configuration.AddInMemoryCollection(settings);
        builder.Services.AddPipelineDefaults(
            new PipelineOptions
            {
                Database = database,
                Broker = broker,
                DatabaseConnectionsMax = 8,
            }
        );
        builder.Services.AddScheduler(builder.Configuration);
        foreach (var part in parts)
        {
            builder.Services.AddSingleton(part);
        }

        builder.Logging.AddTestLog();

        var host = builder.Build();
        await host.StartAsync();
        return new SchedulerProcess(host);
    }

    public async ValueTask DisposeAsync()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        await _host.StopAsync();
        _host.Dispose();
    }
}
