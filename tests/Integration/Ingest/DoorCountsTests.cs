using System.Net;
using System.Text;
using Pipeline.Contracts;
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
}
