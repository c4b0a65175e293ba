using System.Net;
using System.Net.Http.Json;
using System.Text;
using Microsoft.Extensions.Logging;
using Pipeline.Contracts;
using Pipeline.Ingest;
using Pipeline.Ingest.Door;
using Pipeline.Migrations;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>How requests were answered, as reports of availability read it.</summary>
public sealed class DoorCountsTests : IAsyncLifetime
{
    private IngestHost? _host;

    private IngestHost Host => _host!;

    // The writer's own turns would come between a test's.
    public async ValueTask InitializeAsync() =>
        _host = await IngestHost.StartAsync(("Ingest:DoorCountsEvery", "00:01:00"), ("Ingest:KeyConcurrentMax", "1"));

    public ValueTask DisposeAsync() => _host?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task Answers_are_counted_by_class_and_whose_fault_they_are()
    {
        await Host.SubmitAsync(1, "model=words");
        await Host.SubmitAsync(1, "model=words&class=standard");
        (await Host.PostAsync("model=nobody&class=standard", "{}")).Dispose();
        (await Host.PostAsync("model=words&class=nonsense", "{}")).Dispose();
        using (var stranger = new HttpClient { BaseAddress = Host.Address })
        {
            (await stranger.PostAsync("/v1/jobs?model=words", new StringContent("{}"))).Dispose();
        }

        await WriteAsync(answers: 4);

        Assert.Equal((1, 0, 1, 0), await CountsAsync(LatencyClass.Bulk));
        Assert.Equal((1, 0, 1, 0), await CountsAsync(LatencyClass.Standard));
        Assert.Equal(0, await Host.Database.ScalarAsync<long>("SELECT count(*) FROM sla_doors WHERE tenant <> $1", Host.Tenant.Value));
    }

    [Fact]
    public async Task Answers_are_counted_by_the_registered_model_they_are_about_and_by_none_where_it_is_not_known()
    {
        await Host.SubmitAsync(1, "model=words");
        await Host.SubmitAsync(1, "model=words@2");
        (await Host.PostAsync("", """{"job":{"model":"grid"}}""" + "\n{}")).Dispose();
        (await Host.PostAsync("model=words&class=nonsense", "{}")).Dispose();
        (await Host.PostAsync("model=nobody", "{}")).Dispose();
        (await Host.PostAsync("", "{}")).Dispose();
        (await InferAsync(CancellationToken.None)).Dispose();
        foreach (
            var (path, body) in new (string, object)[]
            {
                ("/v1/embeddings", new { model = "words@2", input = "a" }),
                ("/v2/models/grid/infer", new { inputs = Array.Empty<object>() }),
                ("/v2/models/words/versions/2/infer", new { inputs = Array.Empty<object>() }),
                ("/v2/models/nobody/infer", new { inputs = Array.Empty<object>() }),
                ("/v1/batches", new { }),
            }
        )
        {
            (await Host.Client.PostAsJsonAsync(path, body)).Dispose();
        }

        await WriteAsync(answers: 12);

        Assert.Equal(
            [
                "bulk  0 0 3 0",
                "bulk grid@1 0 0 1 0",
                "bulk words@1 1 0 1 0",
                "bulk words@2 1 0 0 0",
                "express  0 0 1 0",
                "express grid@1 0 0 1 0",
                "express words@1 0 1 0 0",
                "express words@2 0 0 2 0",
            ],
            await ByModelAsync()
        );
    }

    [Fact]
    public async Task A_fault_of_ours_counts_under_the_model_too_and_a_route_under_its_first_variant()
    {
        await Host.Database.ExecuteAsync("UPDATE api_keys SET operator = true");
        object[] variants = [new { model = "words@2", accept = new { units_max = 8 } }, new { model = "words@1" }];
        (await Host.Client.PutAsJsonAsync("/v1/routes/r", new { variants })).EnsureSuccessStatusCode().Dispose();
        await Host.SubmitAsync(1, "route=r");
        Host.Forecast();
        await Host.Database.ExecuteAsync("ALTER TABLE jobs RENAME TO jobs_away");
        (await InferAsync(CancellationToken.None)).Dispose();
        object[] inputs =
        [
            new
            {
                name = "text",
                datatype = "BYTES",
                shape = new[] { 1 },
                data = new[] { "some text" },
            },
        ];
        (await Host.Client.PostAsJsonAsync("/v2/models/words/infer", new { inputs })).Dispose();
        (await Host.PostAsync("route=r", """{"custom_id":"a","input":"text"}""")).Dispose();

        await WriteAsync(answers: 4);

        Assert.Equal(["bulk words@2 1 0 0 1", "express words@1 0 0 0 2"], await ByModelAsync());
    }

    [Fact]
    public async Task A_write_that_is_refused_is_told_in_one_line()
    {
        await Host.SubmitAsync(1);
        await UntilCountedAsync(1);
        await Host.Database.ExecuteAsync("ALTER TABLE sla_doors RENAME TO sla_doors_away");
        var log = new Lines();
        var options = Host.Get<IngestOptions>();
        using var writer = new DoorCountsWriter(Host.Database.DataSource, Host.Get<DoorCounts>(), options, TimeProvider.System, log);

        await writer.TurnAsync(CancellationToken.None);

        var line = Assert.Single(log.All);
        Assert.Contains("42P01: relation \"sla_doors\" does not exist", line, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', line);
    }

    [Fact]
    public async Task A_client_that_leaves_is_counted_apart_and_one_beyond_its_limit_too()
    {
        Host.Forecast();
        using var leave = new CancellationTokenSource();
        var waiting = InferAsync(leave.Token);
        await Host.Scheduler.NextChunkAsync();
        using (var limited = await InferAsync(CancellationToken.None))
        {
            Assert.Equal(HttpStatusCode.TooManyRequests, limited.StatusCode);
        }

        await leave.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
        await WriteAsync(answers: 2);

        Assert.Equal((0, 1, 0, 0), await CountsAsync(LatencyClass.Express));
        Assert.Equal(1, await Host.Database.ScalarAsync<long>("SELECT sum(g)::bigint FROM sla_doors, unnest(disconnects) g"));
    }

    [Fact]
    public async Task What_was_counted_while_the_database_refused_is_written_later_and_a_write_twice_changes_nothing()
    {
        await Host.SubmitAsync(1);
        await Host.Database.ExecuteAsync("ALTER TABLE sla_doors RENAME TO sla_doors_away");
        await UntilCountedAsync(1);
        await Host.Get<DoorCountsWriter>().TurnAsync(CancellationToken.None);
        await Host.SubmitAsync(1);
        await Host.Database.ExecuteAsync("ALTER TABLE sla_doors_away RENAME TO sla_doors");

        await WriteAsync(answers: 2);
        await Host.Get<DoorCountsWriter>().TurnAsync(CancellationToken.None);
        Assert.Equal((2, 0, 0, 0), await CountsAsync(LatencyClass.Bulk));
        await Host.SubmitAsync(1);
        await WriteAsync(answers: 1);

        Assert.Equal((3, 0, 0, 0), await CountsAsync(LatencyClass.Bulk));
    }

    private Task<HttpResponseMessage> InferAsync(CancellationToken stop) =>
        Host.Client.PostAsync(
            "/v1/infer",
            new StringContent("""{"model":"words","input":"some text"}""", Encoding.UTF8, "application/json"),
            stop
        );

    /// <summary>An answer is counted just after it was sent, so its client may be here first.</summary>
    private async Task WriteAsync(int answers)
    {
        await UntilCountedAsync(answers);
        await Host.Get<DoorCountsWriter>().TurnAsync(CancellationToken.None);
    }

    private Task UntilCountedAsync(int answers) =>
        Waits.UntilAsync(() => Task.FromResult(Counted() >= answers), $"{answers} answers are counted");

    private long Counted() =>
        Host.Get<DoorCounts>()
            .Unwritten()
            .Sum(c => c.Count.Accepted + c.Count.Limited + c.Count.ClientFaults + c.Count.Failed + c.Count.Disconnects.Sum());

    private async Task<(long Accepted, long Limited, long ClientFaults, long Failed)> CountsAsync(LatencyClass latencyClass)
    {
        async Task<long> OfAsync(string column) =>
            (long)(
                await Host.Database.ScalarAsync<decimal>(
                    $"SELECT coalesce(sum({column}), 0) FROM sla_doors WHERE class = $1",
                    latencyClass.Name()
                )
            );
        return (await OfAsync("accepted"), await OfAsync("limited"), await OfAsync("client_faults"), await OfAsync("failed"));
    }

    /// <summary>Class, model, and what was taken, limited, a client's fault, and failed.</summary>
    private async Task<string[]> ByModelAsync() =>
        (
            await Host.Database.ScalarAsync<string[]>(
                """
                SELECT array_agg(line ORDER BY line) FROM (
                  SELECT concat_ws(' ', class, model, sum(accepted), sum(limited), sum(client_faults), sum(failed)) COLLATE "C" AS line
                  FROM sla_doors GROUP BY class, model
                ) l
                """
            )
        )!;

    /// <summary>Keeps what is logged as it would be printed, an error's stack with it.</summary>
    private sealed class Lines : ILogger<DoorCountsWriter>
    {
        public List<string> All { get; } = [];

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(
            LogLevel logLevel,
            EventId eventId,
            TState state,
            Exception? exception,
            Func<TState, Exception?, string> formatter
        ) => All.Add($"{formatter(state, exception)}{exception}");
    }
}
