using System.IO.Compression;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Threading.Channels;
using MassTransit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>
/// The door in this process, on a free loopback port, over a database of its own and the in-memory broker. A stand-in for the scheduler
/// hears what is announced. Models: <c>words</c> (text, versions 1 and 2) and <c>grid</c> (a float32 tensor of shape [2, any]).
/// <see cref="ForNewTenantAsync"/> shares one among tests.
/// </summary>
internal sealed class IngestHost : IAsyncDisposable
{
    private const string FirstTenant = "test";
    private readonly WebApplication _app;
    private readonly bool _isShared;

    private IngestHost(
        TestDatabase database,
        WebApplication app,
        TenantId tenant,
        string tenantName,
        string key,
        SchedulerEar scheduler,
        bool isShared = false
    )
    {
        Database = database;
        _app = app;
        _isShared = isShared;
        Tenant = tenant;
        TenantName = tenantName;
        Key = key;
        Scheduler = scheduler;
        Address = new Uri(app.Urls.Single());
        Client = new HttpClient { BaseAddress = Address, Timeout = TimeSpan.FromMinutes(2) };
        Client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
    }

    public TestDatabase Database { get; }

    public TenantId Tenant { get; }

    public string TenantName { get; }

    public string Key { get; }

    public SchedulerEar Scheduler { get; }

    public Uri Address { get; }

    public HttpClient Client { get; }

    public T Get<T>()
        where T : notnull => _app.Services.GetRequiredService<T>();

    /// <param name="settings">Configuration, such as <c>("Ingest:LineBytesMax", "4096")</c>.</param>
    public static async Task<IngestHost> StartAsync(params (string Key, string Value)[] settings)
    {
        var database = await TestPostgres.CreateDatabaseAsync();
        var tenant = await Tenants.EnsureAsync(database.DataSource, FirstTenant);
        var key = await ApiKeyIssuer.IssueAsync(database.DataSource, tenant, "test");
        await AddModelsAsync(database);
        return await StartAsync(database, database.ConnectionString, tenant, key, settings);
    }

    /// <summary>A door that reaches its database by another address; the database is the caller's to dispose of as well.</summary>
    public static async Task<IngestHost> StartAsync(
        TestDatabase database,
        string connectionString,
        params (string Key, string Value)[] settings
    )
    {
        var tenant = await Tenants.EnsureAsync(database.DataSource, FirstTenant);
        var key = await ApiKeyIssuer.IssueAsync(database.DataSource, tenant, "test");
        await AddModelsAsync(database);
        return await StartAsync(database, connectionString, tenant, key, settings);
    }

    private static async Task<IngestHost> StartAsync(
        TestDatabase database,
        string connectionString,
        TenantId tenant,
        string key,
        (string Key, string Value)[] settings
    )
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.SetMinimumLevel(LogLevel.Error);
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Configuration.AddInMemoryCollection(
            new Dictionary<string, string?>
            {
                ["Pipeline:Database"] = connectionString,
                ["Pipeline:Broker"] = PipelineOptions.InMemoryBroker,
                // A test's forecast stays fresh while a slow machine runs the test.
                ["Ingest:ForecastAgeMax"] = "00:00:30",
            }
        );
        builder.Configuration.AddInMemoryCollection(settings.ToDictionary(s => s.Key, s => (string?)s.Value));
        var scheduler = new SchedulerEar();
        builder.Services.AddSingleton<IBusPart>(scheduler);
        builder.Services.AddPipelineDefaults(PipelineOptions.Read(builder.Configuration));
        builder.Services.AddIngest(builder.Configuration);
        var app = builder.Build();
        app.UseProblems();
        app.MapHealth();
        app.MapIngest();
        await app.StartAsync();
        return new IngestHost(database, app, tenant, FirstTenant, key, scheduler);
    }

    /// <summary>
    /// The same door for a tenant nobody had before: what a test needs that looks at its own jobs alone. The scheduler's stand-in hears only
    /// of those, no forecast is known, and <see cref="CountRowsAsync"/> counts nobody else's rows. The tests that share a door come one after
    /// the other; who changes what all tenants share starts a door of its own. Disposing leaves the door as it is.
    /// </summary>
    public async Task<IngestHost> ForNewTenantAsync()
    {
        var name = $"test-{Guid.NewGuid():N}";
        var tenant = await Tenants.EnsureAsync(Database.DataSource, name);
        var key = await ApiKeyIssuer.IssueAsync(Database.DataSource, tenant, "test");
        Get<Forecasts>().Take(new Forecast { At = DateTimeOffset.UtcNow, Pools = [] });
        return new IngestHost(Database, _app, tenant, name, key, Scheduler.Of(tenant), isShared: true);
    }

    /// <summary>Posts lines as NDJSON; <paramref name="query"/> begins after the question mark.</summary>
    public Task<HttpResponseMessage> PostAsync(string query, string body, params (string Name, string Value)[] headers) =>
        PostAsync(query, Encoding.UTF8.GetBytes(body), headers);

    public Task<HttpResponseMessage> PostAsync(string query, byte[] body, params (string Name, string Value)[] headers) =>
        PostAsync(query, new ByteArrayContent(body), "application/x-ndjson", headers);

    public async Task<HttpResponseMessage> PostAsync(
        string query,
        HttpContent body,
        string contentType,
        params (string Name, string Value)[] headers
    )
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, $"/v1/jobs?{query}") { Content = body };
        body.Headers.ContentType = MediaTypeHeaderValue.Parse(contentType);
        foreach (var (name, value) in headers)
        {
            if (!request.Headers.TryAddWithoutValidation(name, value))
            {
                body.Headers.TryAddWithoutValidation(name, value);
            }
        }

        return await Client.SendAsync(request);
    }

    /// <summary>Submits tasks <c>t-0</c>, <c>t-1</c>, … and gives the job.</summary>
    public async Task<JobId> SubmitAsync(int tasks = 3, string query = "model=words")
    {
        var body = string.Concat(Enumerable.Range(0, tasks).Select(i => $$"""{"custom_id":"t-{{i}}","input":"text {{i}}"}""" + "\n"));
        using var response = await PostAsync(query, body);
        var answer = await response.Content.ReadAsStringAsync();
        Assert.True(response.IsSuccessStatusCode, answer);
        return JobId.From(JsonElement.Parse(answer).GetProperty("id").GetGuid());
    }

    /// <summary>
    /// A forecast as the scheduler would send it now: two workers, a millisecond a unit of <c>words</c> and $3.60 an hour, so that express is let in.
    /// </summary>
    /// <param name="unitsAhead">Units ahead of express, standard and bulk work.</param>
    public void Forecast(params long[] unitsAhead) => ForecastOf(unitsAhead is [] ? [0, 0, 0] : unitsAhead, (new("words", "1"), 1_000_000));

    /// <summary>The same of several models with nothing ahead, and the nanoseconds that a unit takes each.</summary>
    public void ForecastOf(params (ModelRef Model, double UnitNs)[] models) => ForecastOf([0, 0, 0], models);

    private void ForecastOf(long[] unitsAhead, params (ModelRef Model, double UnitNs)[] models) =>
        Get<Forecasts>()
            .Take(
                new Forecast
                {
                    At = DateTimeOffset.UtcNow,
                    Pools =
                    [
                        .. models.Select(of => new PoolForecast("default", of.Model, 2, unitsAhead, 0, of.UnitNs, 1000)
                        {
                            ErrorBand = 0.1,
                            PricePerHourPico = 3_600_000_000_000,
                        }),
                    ],
                }
            );

    /// <summary>Rows in every table a submission writes; of a shared door those that are of no other tenant.</summary>
    public async Task<long> CountRowsAsync() =>
        _isShared
            ? await Database.ScalarAsync<long>(
                """
                SELECT (SELECT count(*) FROM jobs WHERE tenant = $1) + (SELECT count(*) FROM events WHERE tenant = $1)
                  + (SELECT count(*) FROM chunks WHERE job NOT IN (SELECT id FROM jobs WHERE tenant <> $1))
                  + (SELECT count(*) FROM idempotency_keys WHERE tenant = $1)
                """,
                Tenant.Value
            )
            : await Database.ScalarAsync<long>(
                "SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM chunks) + (SELECT count(*) FROM events) "
                    + "+ (SELECT count(*) FROM idempotency_keys)"
            );

    /// <summary>Every task of a job as it is stored.</summary>
    public async Task<List<(string CustomId, byte[] Input, int Units)>> ReadTasksAsync(JobId job)
    {
        await using var command = Database.DataSource.CreateCommand("SELECT payload FROM chunks WHERE job = $1 ORDER BY no");
        command.Parameters.Add(new() { Value = job.Value });
        await using var reader = await command.ExecuteReaderAsync();
        var tasks = new List<(string, byte[], int)>();
        while (await reader.ReadAsync())
        {
            using var chunk = ChunkPayload.Read(reader.GetFieldValue<byte[]>(0));
            for (var i = 0; i < chunk.Count; i++)
            {
                tasks.Add((Encoding.UTF8.GetString(chunk.CustomId(i).Span), chunk.Input(i).ToArray(), chunk.Units(i)));
            }
        }

        return tasks;
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        if (_isShared)
        {
            return;
        }

        await _app.StopAsync();
        await _app.DisposeAsync();
        await Database.DisposeAsync();
    }

    public static byte[] Gzip(string text)
    {
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Fastest))
        {
            gzip.Write(Encoding.UTF8.GetBytes(text));
        }

        return packed.ToArray();
    }

    private static async Task AddModelsAsync(TestDatabase database)
    {
        await ModelRegistry.PutAsync(database.DataSource, TestModels.Words("1"), null, 1, makeCurrent: true);
        await ModelRegistry.PutAsync(database.DataSource, TestModels.Words("2"), null, 1, makeCurrent: false);
        await ModelRegistry.PutAsync(database.DataSource, TestModels.Grid(), null, 1, makeCurrent: true);
    }
}

/// <summary>What the door is told of models: manifests as registration completes them.</summary>
internal static class TestModels
{
    public static ModelManifest Words(string version) =>
        new()
        {
            Name = "words",
            Version = version,
            File = "model.onnx",
            Sha256 = new string('0', 64),
            Kind = ModelKind.Text,
            Tokenizer = new TokenizerSpec { Type = TokenizerType.Bytes, MaxLength = 16 },
            Inputs = new Dictionary<string, TensorSpec>
            {
                ["bytes"] = new()
                {
                    BatchAxis = 0,
                    Type = "int64",
                    Shape = [-1, -1],
                },
            },
            Outputs = new Dictionary<string, TensorSpec>(),
            Limits = new LimitSpec { InputBytesMax = 5_000_000 },
        };

    public static ModelManifest Grid() =>
        new()
        {
            Name = "grid",
            Version = "1",
            File = "model.onnx",
            Sha256 = new string('0', 64),
            Kind = ModelKind.Tensor,
            Inputs = new Dictionary<string, TensorSpec>
            {
                ["cells"] = new()
                {
                    BatchAxis = 0,
                    Type = "float32",
                    Shape = [-1, 2, -1],
                },
            },
            Outputs = new Dictionary<string, TensorSpec>(),
        };
}

/// <summary>Stands where the scheduler's queue is, and keeps what it hears.</summary>
internal sealed class SchedulerEar : IBusPart
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private readonly Channel<ChunkSubmitted> _chunks = Channel.CreateUnbounded<ChunkSubmitted>();
    private readonly Channel<JobChanged> _changes = Channel.CreateUnbounded<JobChanged>();
    private readonly TenantId? _only;

    public SchedulerEar() { }

    private SchedulerEar(SchedulerEar all, TenantId only) => (_chunks, _changes, _only) = (all._chunks, all._changes, only);

    /// <summary>What it hears of one tenant's jobs; others' are dropped meanwhile.</summary>
    public SchedulerEar Of(TenantId tenant) => new(this, tenant);

    /// <summary>Whether it answers who waits until it has observed a change.</summary>
    public bool Answers { get; set; } = true;

    /// <summary>When the last change that was heard would have expired; null for never.</summary>
    public DateTime? ChangeExpires { get; private set; }

    public void Configure(IBusRegistrationContext context, IReceiveConfigurator bus) =>
        bus.ReceiveEndpoint(
            Pipeline.Hosting.Bus.SchedulerQueue,
            endpoint =>
            {
                endpoint.AsSchedulerQueue(prefetch: 64);
                endpoint.HearWaited();
                endpoint.Hear<JobChanged>();
                endpoint.Handler<ChunkSubmitted>(c => _chunks.Writer.WriteAsync(c.Message).AsTask());
                endpoint.Handler<ChunksSubmitted>(async c =>
                {
                    if (c.Message.Chunks.Select(chunk => Hosting.Bus.ChunkKey(chunk)).Distinct().Count() != 1)
                    {
                        throw new InvalidOperationException("Chunks of several routing keys came in one message.");
                    }

                    foreach (var chunk in c.Message.Chunks)
                    {
                        await _chunks.Writer.WriteAsync(chunk);
                    }
                });
                endpoint.Handler<JobChanged>(HearChangeAsync);
            }
        );

    private async Task HearChangeAsync(ConsumeContext<JobChanged> context)
    {
        ChangeExpires = context.ExpirationTime;
        await _changes.Writer.WriteAsync(context.Message);
        if (Answers && context.ResponseAddress is not null)
        {
            await context.RespondAsync(new JobChangeObserved());
        }
    }

    public Task<ChunkSubmitted> NextChunkAsync() => NextAsync(_chunks, chunk => _only is null || chunk.Tenant == _only);

    public Task<JobChanged> NextChangeAsync() => NextAsync(_changes, _ => true);

    /// <summary>The next change of that job.</summary>
    public Task<JobChanged> NextChangeAsync(JobId job) => NextAsync(_changes, change => change.Job == job);

    private static async Task<T> NextAsync<T>(Channel<T> heard, Func<T, bool> isMeant)
    {
        using var patience = new CancellationTokenSource(Patience);
        try
        {
            while (true)
            {
                if (await heard.Reader.ReadAsync(patience.Token) is var next && isMeant(next))
                {
                    return next;
                }
            }
        }
        catch (OperationCanceledException)
        {
            throw new TimeoutException($"Nothing was heard within {Patience.TotalSeconds} s.");
        }
    }
}

/// <summary>Reading answers.</summary>
internal static class Answers
{
    public static async Task<JsonElement> JsonAsync(this HttpResponseMessage response) =>
        JsonElement.Parse(await response.Content.ReadAsStringAsync());

    /// <summary>The first mistake of a problem as (line, field, expected, given, custom_id).</summary>
    public static (long? Line, string? Field, string? Expected, string? Given, string? CustomId) FirstMistake(this JsonElement problem)
    {
        var first = problem.GetProperty("errors")[0];
        return (
            first.GetProperty("line").ValueKind == JsonValueKind.Null ? null : first.GetProperty("line").GetInt64(),
            first.GetProperty("field").GetString(),
            first.GetProperty("expected").GetString(),
            first.GetProperty("given").GetString(),
            first.GetProperty("custom_id").GetString()
        );
    }
}
