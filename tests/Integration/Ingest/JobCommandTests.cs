using System.Net;
using System.Text;
using System.Text.Json;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Ingest;
using Pipeline.Migrations;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>Cancel, pause, resume and retry-failed: the row changes first, then the scheduler hears of it.</summary>
public sealed class JobCommandTests(IngestDoor door) : IClassFixture<IngestDoor>, IAsyncLifetime
{
    private IngestHost? _host;

    private IngestHost Host => _host!;

    public async ValueTask InitializeAsync() => _host = await door.NewTenantAsync();

    public ValueTask DisposeAsync() => _host?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task Cancelling_makes_the_job_cancelling_and_tells_the_scheduler_however_often_it_is_asked()
    {
        var job = await Host.SubmitAsync();
        for (var time = 0; time < 2; time++)
        {
            var (status, body) = await CommandAsync(job, "cancel");
            Assert.Equal((HttpStatusCode.OK, "cancelling"), (status, State(body)));
            Assert.Equal((job, JobChange.Cancelled), await NextChangeAsync(job));
        }

        Assert.Equal(1, await CountEventsAsync(job, "job.cancelling"));
    }

    [Fact]
    public async Task A_lost_message_about_a_cancelled_job_is_sent_again()
    {
        await OwnDoorAsync();
        var job = await Host.SubmitAsync();
        await CommandAsync(job, "cancel");
        await NextChangeAsync(job);

        Assert.Equal(1, await Host.Get<JobCommands>().SweepOnceAsync(CancellationToken.None));
        Assert.Equal((job, JobChange.Cancelled), await NextChangeAsync(job));
    }

    [Fact]
    public async Task Pausing_and_resuming_set_the_flag_and_tell_the_scheduler()
    {
        var job = await Host.SubmitAsync();

        var (_, paused) = await CommandAsync(job, "pause");
        Assert.Equal((true, "queued"), (paused.GetProperty("paused").GetBoolean(), State(paused)));
        Assert.Equal((job, JobChange.Paused), await NextChangeAsync(job));

        await CommandAsync(job, "pause");
        Assert.Equal((job, JobChange.Paused), await NextChangeAsync(job));

        var (_, resumed) = await CommandAsync(job, "resume");
        Assert.False(resumed.GetProperty("paused").GetBoolean());
        Assert.Equal((job, JobChange.Resumed), await NextChangeAsync(job));
        Assert.Equal(1, await CountEventsAsync(job, "job.paused"));
        Assert.Equal(1, await CountEventsAsync(job, "job.resumed"));
    }

    [Fact]
    public async Task A_pause_is_answered_when_the_scheduler_has_observed_it_or_its_time_is_over_and_never_expires_itself()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:PauseWaitMax", "00:01:00"));
        var job = await host.SubmitAsync();
        using var observed = await host.Client.PostAsync($"/v1/jobs/{job}/pause", null);
        Assert.Equal(job, (await host.Scheduler.NextChangeAsync()).Job);

        await using var unheard = await IngestHost.StartAsync(("Ingest:PauseWaitMax", "00:00:00.1"));
        unheard.Scheduler.Answers = false;
        var other = await unheard.SubmitAsync();
        using var paused = await unheard.Client.PostAsync($"/v1/jobs/{other}/pause", null);

        Assert.Equal((HttpStatusCode.OK, HttpStatusCode.OK), (observed.StatusCode, paused.StatusCode));
        Assert.True((await paused.JsonAsync()).GetProperty("paused").GetBoolean());
        Assert.Equal(other, (await unheard.Scheduler.NextChangeAsync()).Job);
        Assert.Null(unheard.Scheduler.ChangeExpires);
    }

    [Fact]
    public async Task A_job_that_has_ended_takes_no_commands()
    {
        var job = await Host.SubmitAsync();
        await EndAsync(job, TaskOutcome.Succeeded, 0, 1, 2);
        foreach (var command in new[] { "cancel", "pause", "resume" })
        {
            var (status, body) = await CommandAsync(job, command);
            Assert.Equal(HttpStatusCode.Conflict, status);
            Assert.StartsWith("A job that is completed cannot be ", body.GetProperty("detail").GetString(), StringComparison.Ordinal);
        }

        var (nothing, why) = await CommandAsync(job, "retry-failed");
        Assert.Equal(HttpStatusCode.Conflict, nothing);
        Assert.Equal("Nothing to retry: the job has no failed task.", why.GetProperty("detail").GetString());
    }

    [Fact]
    public async Task A_job_that_does_not_exist_or_is_another_tenants_is_unknown()
    {
        var job = await Host.SubmitAsync();
        var stranger = await Tenants.EnsureAsync(Host.Database.DataSource, "stranger");
        var key = await ApiKeyIssuer.IssueAsync(Host.Database.DataSource, stranger, "stranger");
        foreach (var command in new[] { "cancel", "pause", "resume", "retry-failed" })
        {
            Assert.Equal(HttpStatusCode.NotFound, (await CommandAsync(JobId.New(DateTimeOffset.UtcNow), command)).Status);
            using var request = new HttpRequestMessage(HttpMethod.Post, $"/v1/jobs/{job}/{command}");
            request.Headers.Authorization = new("Bearer", key);
            using var response = await Host.Client.SendAsync(request);
            Assert.Equal(HttpStatusCode.NotFound, response.StatusCode);
            using var garbled = await Host.Client.PostAsync($"/v1/jobs/no-id/{command}", null);
            Assert.Equal("There is no job \"no-id\".", (await garbled.JsonAsync()).GetProperty("detail").GetString());
        }

        Assert.Equal("queued", await Host.Database.ScalarAsync<string>("SELECT state FROM jobs WHERE id = $1", job.Value));
    }

    [Fact]
    public async Task Cancelling_a_job_whose_body_is_still_coming_in_takes_it_back()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:StoreChunksMax", "1"));
        using var body = new HeldContent(Lines(0, 2_000), Lines(2_000, 4_000));
        var answer = host.PostAsync("model=words", body, "application/x-ndjson");
        await host.Database.UntilAsync("SELECT count(*) > 1 FROM chunks");
        var job = new JobId(await host.Database.ScalarAsync<Guid>("SELECT id FROM jobs WHERE state = 'receiving'"));

        using var cancelled = await host.Client.PostAsync($"/v1/jobs/{job}/cancel", null);
        Assert.Equal("cancelled", State(await cancelled.JsonAsync()));
        body.Release();

        using var response = await answer;
        Assert.Equal(HttpStatusCode.Conflict, response.StatusCode);
        Assert.Equal(0, await host.CountRowsAsync());
    }

    [Fact]
    public async Task Retrying_makes_a_new_job_of_the_failed_tasks()
    {
        var old = await Host.SubmitAsync(1_200, "model=words@2&class=standard&webhook=https://example.org/&metadata[k]=v&max_cost=0.5");
        await EndAsync(old, TaskOutcome.Succeeded, [.. Enumerable.Range(0, 1_200).Where(i => i % 100 != 7)]);
        var (early, _) = await CommandAsync(old, "retry-failed");
        Assert.Equal(HttpStatusCode.Conflict, early);
        await EndAsync(old, TaskOutcome.Failed, [.. Enumerable.Range(0, 12).Select(i => (100 * i) + 7)]);

        var (status, body) = await CommandAsync(old, "retry-failed?class=bulk&deadline=3h");
        Assert.Equal(HttpStatusCode.OK, status);
        Assert.Equal(
            ("queued", "words@2", "bulk"),
            (State(body), body.GetProperty("model").GetString(), body.GetProperty("class").GetString())
        );
        Assert.Equal((old.Value, 12), (body.GetProperty("retry_of").GetGuid(), body.GetProperty("tasks").GetInt32()));
        Assert.Equal("v", body.GetProperty("metadata").GetProperty("k").GetString());
        Assert.Equal(500_000_000_000, body.GetProperty("max_cost_pico_usd").GetInt64());

        var tasks = await Host.ReadTasksAsync(JobId.From(body.GetProperty("id").GetGuid()));
        Assert.Equal(
            Enumerable.Range(0, 12).Select(i => ($"t-{(100 * i) + 7}", $"text {(100 * i) + 7}")),
            tasks.Select(t => (t.CustomId, Encoding.UTF8.GetString(t.Input)))
        );
    }

    [Fact]
    public async Task Retrying_twice_with_one_key_makes_one_job()
    {
        var old = await Host.SubmitAsync(1);
        await EndAsync(old, TaskOutcome.Failed, 0);
        var first = await CommandAsync(old, "retry-failed", "key-1");
        var second = await CommandAsync(old, "retry-failed", "key-1");
        var other = await CommandAsync(old, "retry-failed?class=express", "key-1");

        Assert.Equal(first.Body.GetRawText(), second.Body.GetRawText());
        Assert.Equal(HttpStatusCode.UnprocessableEntity, other.Status);
        Assert.Equal(2, await Host.Database.ScalarAsync<long>("SELECT count(*) FROM jobs WHERE tenant = $1", Host.Tenant.Value));
    }

    /// <summary>For a test that looks at what all tenants share.</summary>
    private async Task OwnDoorAsync()
    {
        await Host.DisposeAsync();
        _host = await door.StartAsync();
    }

    private async Task<(HttpStatusCode Status, JsonElement Body)> CommandAsync(JobId job, string command, string? key = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, $"/v1/jobs/{job}/{command}");
        if (key is not null)
        {
            request.Headers.Add("Idempotency-Key", key);
        }

        using var response = await Host.Client.SendAsync(request);
        return (response.StatusCode, await response.JsonAsync());
    }

    private async Task<(JobId, JobChange)> NextChangeAsync(JobId job)
    {
        var change = await Host.Scheduler.NextChangeAsync(job);
        return (change.Job, change.Change);
    }

    private Task<long> CountEventsAsync(JobId job, string type) =>
        Host.Database.ScalarAsync<long>("SELECT count(*) FROM events WHERE job = $1 AND type = $2", job.Value, type)!;

    /// <summary>Ends tasks as a worker would.</summary>
    private async Task EndAsync(JobId job, TaskOutcome outcome, params int[] seqs)
    {
        var failed = outcome == TaskOutcome.Failed;
        foreach (var chunk in seqs.GroupBy(seq => seq / ChunkPayload.TasksMax))
        {
            var rows = new TaskEndRows();
            foreach (var seq in chunk)
            {
                rows.Add(
                    job,
                    chunk.Key,
                    seq,
                    outcome,
                    $"t-{seq}",
                    failed ? null : "{}"u8.ToArray(),
                    failed ? null : "application/json",
                    failed ? "model_failed" : null,
                    failed ? "It failed." : null,
                    "words@1",
                    1,
                    10,
                    null,
                    1,
                    1,
                    1,
                    3
                );
            }

            await using var connection = await Host.Database.DataSource.OpenConnectionAsync();
            await using var transaction = await connection.BeginTransactionAsync();
            await TaskEnds.WriteAsync(connection, transaction, rows, DateTimeOffset.UtcNow);
            await transaction.CommitAsync();
        }
    }

    private static string? State(JsonElement job) => job.GetProperty("state").GetString();

    private static byte[] Lines(int from, int to) =>
        Encoding.UTF8.GetBytes(
            string.Concat(Enumerable.Range(from, to - from).Select(i => $$"""{"custom_id":"t-{{i}}","input":"text"}""" + "\n"))
        );
}

/// <summary>A body that stops in the middle until it is let go on.</summary>
internal sealed class HeldContent(byte[] first, byte[] second) : HttpContent
{
    private readonly TaskCompletionSource _released = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public void Release() => _released.TrySetResult();

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
    {
        await stream.WriteAsync(first);
        await stream.FlushAsync();
        await _released.Task;
        await stream.WriteAsync(second);
    }

    protected override bool TryComputeLength(out long length)
    {
        length = 0;
        return false;
    }
}
