using System.Net;
using System.Net.ServerSentEvents;
using System.Text.Json;
using Npgsql;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi;

public sealed class EventsTests(ResultsApiFixture fixture) : IClassFixture<ResultsApiFixture>, IAsyncLifetime
{
    private ApiCaller _api = null!;

    public async ValueTask InitializeAsync() => _api = await fixture.Host.AddTenantAsync();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task A_watcher_sees_a_job_move_and_the_stream_ends_with_it()
    {
        var job = await SeededJob.CreateAsync(_api.Database, _api.Tenant);
        await using var events = await OpenAsync(job);
        Assert.Equal("queued", Data(await events.NextAsync("progress")).GetProperty("state").GetString());

        await job.EndAsync(_api.Database, 0, 1, 2);
        var progress = await events.ProgressAsync(ended: 3);
        Assert.Equal("running", progress.GetProperty("state").GetString());
        Assert.Equal(0.3, progress.GetProperty("progress").GetDouble());
        Assert.Equal(3 * 556_000, progress.GetProperty("cost_pico_usd").GetDecimal());

        await job.EndAsync(_api.Database, [.. Enumerable.Range(3, 7)]);
        await events.ProgressAsync(ended: 10);
        var end = await events.NextAsync("job.completed");
        Assert.Equal(job.Id.ToString(), Data(end).GetProperty("job").GetString());
        Assert.Empty(await events.AllAsync());
    }

    [Fact]
    public async Task The_last_event_id_goes_on_where_the_stream_broke_off()
    {
        var job = await SeededJob.CreateAsync(_api.Database, _api.Tenant);
        string id;
        await using (var events = await OpenAsync(job))
        {
            id = (await events.NextAsync("job.queued")).EventId!;
        }

        await job.EndAllAsync(_api.Database);
        await using var resumed = await OpenAsync(job, id);

        // A look from before the end may come first, but nothing that was seen already.
        var seen = await resumed.AllAsync();
        Assert.Equal(["progress", "job.completed"], seen.Select(e => e.EventType).Distinct());
        Assert.NotEqual(id, seen[^1].EventId);
    }

    [Fact]
    public async Task Whoever_comes_back_after_the_end_is_told_to_stay_away()
    {
        var job = await SeededJob.CreateAsync(_api.Database, _api.Tenant);
        await job.EndAllAsync(_api.Database);
        await using var events = await OpenAsync(job);
        var seen = await events.AllAsync();
        Assert.Equal(["job.queued", "progress", "job.completed"], seen.Select(e => e.EventType));

        using var again = await SendAsync(job, seen[^1].EventId);

        Assert.Equal(HttpStatusCode.NoContent, again.StatusCode);
    }

    [Fact]
    public async Task An_event_of_a_transaction_that_commits_late_is_not_skipped()
    {
        var job = await SeededJob.CreateAsync(_api.Database, _api.Tenant);
        await using var connection = await _api.Database.DataSource.OpenConnectionAsync();
        await using var early = await connection.BeginTransactionAsync();
        await using (var insert = new NpgsqlCommand(InsertEvent("job.early"), connection, early))
        {
            insert.Parameters.Add(new() { Value = job.Id.Value });
            await insert.ExecuteNonQueryAsync();
        }

        await _api.Database.ExecuteAsync(InsertEvent("job.late"), job.Id.Value);
        await using var events = await OpenAsync(job);
        await events.NextAsync("job.queued");

        // The look that shows this is newer than the late event, which is held back all the same.
        await job.EndAsync(_api.Database, 0);
        await events.ProgressAsync(ended: 1);
        await early.CommitAsync();

        Assert.Equal("job.early", (await events.NextOutboxAsync()).EventType);
        Assert.Equal("job.late", (await events.NextOutboxAsync()).EventType);
    }

    [Fact]
    public async Task The_end_is_told_even_where_the_outbox_was_cleared_of_it()
    {
        var job = await SeededJob.CreateAsync(_api.Database, _api.Tenant);
        await job.EndAllAsync(_api.Database);
        await _api.Database.ExecuteAsync("DELETE FROM events WHERE job = $1", job.Id.Value);
        await using var events = await OpenAsync(job);

        var seen = await events.AllAsync();

        Assert.Equal(["progress", "job.completed"], seen.Select(e => e.EventType));
        Assert.Equal(10, Succeeded(JsonElement.Parse(seen[1].Data)));
    }

    [Fact]
    public async Task Watchers_beyond_the_most_allowed_are_turned_away_and_let_in_when_one_has_left()
    {
        await using var small = await ResultsApiHost.StartAsync(("WatchersMax", "3"));
        _api = await small.AddTenantAsync();
        var job = await SeededJob.CreateAsync(_api.Database, _api.Tenant);
        var watchers = new List<EventReader>();
        for (var i = 0; i < 3; i++)
        {
            watchers.Add(await OpenAsync(job));
        }

        using (var refused = await SendAsync(job, null))
        {
            Assert.Equal(HttpStatusCode.TooManyRequests, refused.StatusCode);
            Assert.NotNull(refused.Headers.RetryAfter);
        }

        // The job's end ends all three streams, and with them the subscriptions.
        await job.EndAllAsync(_api.Database);
        foreach (var watcher in watchers)
        {
            Assert.Equal("job.completed", (await watcher.AllAsync())[^1].EventType);
            await watcher.DisposeAsync();
        }

        await using var next = await OpenAsync(job);
        Assert.Equal(3, (await next.AllAsync()).Count);
    }

    [Theory]
    [InlineData("7")]
    [InlineData("x-1")]
    public async Task A_last_event_id_that_is_none_is_refused(string id)
    {
        var job = await SeededJob.CreateAsync(_api.Database, _api.Tenant);
        using var response = await SendAsync(job, id);

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains($"\\\"{id}\\\"", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    private static string InsertEvent(string type) =>
        $"INSERT INTO events (tenant, job, type, data, created_at) SELECT tenant, id, '{type}', '{{}}', now() FROM jobs WHERE id = $1";

    private async Task<EventReader> OpenAsync(SeededJob job, string? lastEventId = null)
    {
        var response = await SendAsync(job, lastEventId);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType?.MediaType);
        return new EventReader(response, await response.Content.ReadAsStreamAsync());
    }

    private Task<HttpResponseMessage> SendAsync(SeededJob job, string? lastEventId)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, $"/v1/jobs/{job.Id}/events");
        if (lastEventId is not null)
        {
            request.Headers.Add("Last-Event-ID", lastEventId);
        }

        return _api.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
    }

    private static JsonElement Data(SseItem<string> item) => JsonElement.Parse(item.Data);

    private static int Succeeded(JsonElement progress) => progress.GetProperty("counts").GetProperty("succeeded").GetInt32();

    private sealed class EventReader(HttpResponseMessage response, Stream body) : IAsyncDisposable
    {
        private readonly IAsyncEnumerator<SseItem<string>> _items = SseParser.Create(body).EnumerateAsync().GetAsyncEnumerator();

        /// <summary>Reads on to the next event of a type.</summary>
        public Task<SseItem<string>> NextAsync(string type) => NextAsync(item => item.EventType == type);

        /// <summary>Reads on to the next event that comes from the outbox.</summary>
        public Task<SseItem<string>> NextOutboxAsync() => NextAsync(item => item.EventType != "progress");

        /// <summary>Reads on to the progress that shows so many tasks ended.</summary>
        public async Task<JsonElement> ProgressAsync(int ended) =>
            Data(await NextAsync(item => item.EventType == "progress" && Succeeded(Data(item)) == ended));

        /// <summary>Reads to the end of the stream.</summary>
        public async Task<List<SseItem<string>>> AllAsync()
        {
            var all = new List<SseItem<string>>();
            while (await _items.MoveNextAsync())
            {
                all.Add(_items.Current);
            }

            return all;
        }

        public async ValueTask DisposeAsync()
        {
            response.Dispose();
            await body.DisposeAsync();
        }

        private async Task<SseItem<string>> NextAsync(Predicate<SseItem<string>> wanted)
        {
            while (await _items.MoveNextAsync())
            {
                if (wanted(_items.Current))
                {
                    return _items.Current;
                }
            }

            throw new Xunit.Sdk.XunitException("The stream ended before the event that was waited for.");
        }
    }
}
