using System.Net;
using System.Text;
using Pipeline.Contracts;
using Pipeline.Ingest;
using Pipeline.Ingest.Storage;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>A key makes a request safe to send again: replay, conflict, in progress; refused requests leave the key free.</summary>
public sealed class IdempotencyTests(IngestDoor door) : IClassFixture<IngestDoor>, IAsyncLifetime
{
    private const string Body = """{"custom_id":"a","input":"x"}""";
    private IngestHost? _host;

    private IngestHost Host => _host!;

    public async ValueTask InitializeAsync() => _host = await door.NewTenantAsync();

    public ValueTask DisposeAsync() => _host?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task The_same_request_gets_the_same_answer_and_makes_one_job()
    {
        using var first = await PostAsync("model=words&class=bulk", Body);
        using var again = await PostAsync("class=bulk&model=words", Body);
        using var packed = await Host.PostAsync(
            "model=words",
            IngestHost.Gzip(Body),
            ("Idempotency-Key", "\"key-1\""),
            ("Pipeline-Class", "bulk"),
            ("Content-Encoding", "gzip")
        );

        Assert.Equal(HttpStatusCode.OK, again.StatusCode);
        Assert.Equal(await first.Content.ReadAsStringAsync(), await again.Content.ReadAsStringAsync());
        Assert.Equal(await first.Content.ReadAsStringAsync(), await packed.Content.ReadAsStringAsync());
        Assert.Equal(1, await JobsAsync());
    }

    [Fact]
    public async Task Another_request_with_the_key_is_refused()
    {
        using var first = await PostAsync("model=words", Body);
        using var otherBody = await PostAsync("model=words", Body + "\n");
        using var otherParameter = await PostAsync("model=words&class=express", Body);
        using var otherKey = await PostAsync("model=words", Body, "key-2");

        Assert.Equal(HttpStatusCode.UnprocessableEntity, otherBody.StatusCode);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, otherParameter.StatusCode);
        Assert.Equal("idempotency_key_reused", (await otherBody.JsonAsync()).GetProperty("error").GetProperty("code").GetString());
        Assert.Equal(HttpStatusCode.OK, otherKey.StatusCode);
        Assert.Equal(2, await JobsAsync());
    }

    [Fact]
    public async Task A_packed_body_that_cannot_be_read_is_refused_though_the_key_has_an_answer()
    {
        using var first = await PostAsync("model=words", Body);
        using var broken = await Host.PostAsync(
            "model=words",
            "plain"u8.ToArray(),
            ("Idempotency-Key", "\"key-1\""),
            ("Content-Encoding", "br")
        );

        Assert.Equal(HttpStatusCode.BadRequest, broken.StatusCode);
        Assert.Contains("The packed body cannot be read", await broken.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        Assert.Equal(1, await JobsAsync());
    }

    [Fact]
    public async Task A_request_whose_first_is_still_coming_in_is_told_so()
    {
        using var body = new HeldContent(Encoding.UTF8.GetBytes(Body + "\n"), """{"custom_id":"b","input":"y"}"""u8.ToArray());
        var first = Host.PostAsync("model=words", body, "application/x-ndjson", ("Idempotency-Key", "key-1"));
        await Host.Database.UntilAsync("SELECT EXISTS (SELECT FROM idempotency_keys WHERE tenant = $1)", Host.Tenant.Value);

        using var second = await PostAsync("model=words", Body);
        Assert.Equal(HttpStatusCode.Conflict, second.StatusCode);
        Assert.Equal("idempotency_in_progress", (await second.JsonAsync()).GetProperty("error").GetProperty("code").GetString());

        body.Release();
        using var answer = await first;
        Assert.Equal(2, (await answer.JsonAsync()).GetProperty("tasks").GetInt32());
    }

    [Fact]
    public async Task A_refused_request_may_be_corrected_under_its_key()
    {
        using var bad = await PostAsync("model=words", Body + "\noops");
        Assert.Equal(HttpStatusCode.BadRequest, bad.StatusCode);
        Assert.Equal(0, await Host.CountRowsAsync());

        using var good = await PostAsync("model=words", Body);
        Assert.Equal(HttpStatusCode.OK, good.StatusCode);
    }

    [Fact]
    public async Task A_key_left_behind_by_a_process_that_died_is_taken_over()
    {
        await Host.Database.ExecuteAsync(
            "INSERT INTO idempotency_keys (tenant, key, fingerprint, created_at) VALUES ($1, 'key-1', '', now())",
            Host.Tenant.Value
        );
        using var response = await PostAsync("model=words", Body);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
    }

    [Fact]
    public async Task A_key_past_its_life_is_free()
    {
        using var first = await PostAsync("model=words", Body);
        await Host.Database.ExecuteAsync(
            "UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE tenant = $1",
            Host.Tenant.Value
        );
        Host.Forecast();
        using var second = await PostAsync("model=words&class=express", Body);
        Assert.Equal(HttpStatusCode.OK, second.StatusCode);
        Assert.Equal(2, await JobsAsync());
    }

    [Fact]
    public async Task Many_at_once_make_one_job()
    {
        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => PostAsync("model=words", Body)));
        Assert.All(answers, a => Assert.True(a.StatusCode is HttpStatusCode.OK or HttpStatusCode.Conflict));
        Assert.Contains(answers, a => a.StatusCode == HttpStatusCode.OK);
        Assert.Equal(1, await JobsAsync());
    }

    [Theory]
    [InlineData("")]
    [InlineData("\"\"")]
    public async Task A_key_that_is_none_is_refused(string key)
    {
        using var response = await PostAsync("model=words", Body, key);
        Assert.Equal(
            (null, "Idempotency-Key", "1 to 255 printable ASCII characters", "0 characters", null),
            (await response.JsonAsync()).FirstMistake()
        );
    }

    [Fact]
    public async Task An_upload_whose_process_died_is_swept_and_a_living_one_is_not()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:StoreChunksMax", "1"), ("Ingest:SweepEvery", "01:00:00"));
        var lines = string.Concat(Enumerable.Range(0, 2_000).Select(i => $$"""{"custom_id":"t-{{i}}","input":"text"}""" + "\n"));
        using var body = new HeldContent(Encoding.UTF8.GetBytes(lines), "{\"custom_id\":\"last\",\"input\":\"text\"}"u8.ToArray());
        var answer = host.PostAsync("model=words", body, "application/x-ndjson");
        await host.Database.UntilAsync("SELECT count(*) > 1 FROM chunks");

        // What a killed process leaves: the row and some chunks, and nobody who holds the lease.
        await host.Database.ExecuteAsync(
            """
            INSERT INTO jobs (id, tenant, model, model_version, class, state, deadline, created_at)
            SELECT gen_random_uuid(), tenant, model, model_version, class, state, deadline, created_at FROM jobs
            """
        );
        await host.Database.ExecuteAsync("UPDATE jobs SET created_at = now() - interval '2 hours'");
        Assert.Equal(1, await host.Get<UploadSweep>().SweepOnceAsync(CancellationToken.None));
        Assert.Equal(0, await host.Get<UploadSweep>().SweepOnceAsync(CancellationToken.None));

        body.Release();
        using var response = await answer;
        Assert.Equal(2_001, (await response.JsonAsync()).GetProperty("tasks").GetInt32());
    }

    [Fact]
    public async Task Leases_outlive_the_connection_that_held_them()
    {
        await OwnDoorAsync();
        var leases = Host.Get<UploadLeases>();
        var lease = await leases.TakeAsync(77, CancellationToken.None);
        Assert.NotNull(lease);
        await Host.Database.ExecuteAsync(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        );
        await Host.Database.UntilAsync("SELECT NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 77)");

        await leases.KeepAsync(CancellationToken.None);
        Assert.True(
            await Host.Database.ScalarAsync<bool>("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 77)")
        );
        Assert.Null(await leases.TakeAsync(77, CancellationToken.None));
        await lease.DisposeAsync();
        Assert.NotNull(await leases.TakeAsync(77, CancellationToken.None));
    }

    /// <summary>For a test that looks at what all tenants share.</summary>
    private async Task OwnDoorAsync()
    {
        await Host.DisposeAsync();
        _host = await door.StartAsync();
    }

    private Task<HttpResponseMessage> PostAsync(string query, string body, string key = "key-1") =>
        Host.PostAsync(query, body, ("Idempotency-Key", key));

    private Task<long> JobsAsync() => Host.Database.ScalarAsync<long>("SELECT count(*) FROM jobs WHERE tenant = $1", Host.Tenant.Value)!;
}
