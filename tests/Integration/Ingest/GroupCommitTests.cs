using Npgsql;
using Pipeline.Contracts;
using Pipeline.Ingest;
using Pipeline.Ingest.Storage;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

public sealed class GroupCommitTests : IAsyncLifetime
{
    private IngestHost _host = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _host = await IngestHost.StartAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_comes_meanwhile_shares_a_commit(bool onDisk)
    {
        var jobs = Jobs(20);

        Assert.All(await StoreAsync(jobs, onDisk, new IngestOptions { CommitWriters = 1 }), Assert.Null);

        Assert.Equal(20, await CountAsync("count(*)"));
        Assert.Equal(1, await CountAsync("count(DISTINCT xmin::text)"));
        Assert.Equal(20, await _host.Database.ScalarAsync<long>("SELECT count(*) FROM chunks WHERE remaining = tasks"));
        Assert.Equal(20, await _host.Database.ScalarAsync<long>("SELECT count(*) FROM events WHERE type = 'job.queued'"));
    }

    [Fact]
    public async Task A_job_that_is_refused_fails_alone()
    {
        var jobs = Jobs(16);
        jobs[3] = jobs[3] with { Order = jobs[3].Order with { Id = jobs[2].Order.Id } };

        var failures = await StoreAsync(jobs, onDisk: true, new IngestOptions { CommitWriters = 1 });

        Assert.Equal(PostgresErrorCodes.UniqueViolation, Assert.IsType<PostgresException>(failures[3]).SqlState);
        Assert.All(failures.Where((_, i) => i != 3), Assert.Null);
        Assert.Equal(15, await CountAsync("count(*)"));
        Assert.Equal(4, await CountAsync("count(DISTINCT xmin::text)"));
    }

    [Fact]
    public async Task A_commit_takes_no_more_once_it_has_its_bytes()
    {
        var options = new IngestOptions { CommitWriters = 1, StoreBytesMax = 2 * Jobs(1)[0].Chunks[0].Payload.Length };

        Assert.All(await StoreAsync(Jobs(6), onDisk: true, options), Assert.Null);

        Assert.Equal(3, await CountAsync("count(DISTINCT xmin::text)"));
    }

    /// <summary>Stores them all at once; gives why each was not.</summary>
    private async Task<Exception?[]> StoreAsync(QueuedJob[] jobs, bool onDisk, IngestOptions options)
    {
        using var commit = new GroupCommit(_host.Get<JobStore>(), _host.Get<IngestMetrics>(), options);
        var stored = Array.ConvertAll(jobs, job => Record.ExceptionAsync(() => commit.StoreAsync(job, onDisk, Stop)));
        await commit.StartAsync(Stop);
        var failures = await Task.WhenAll(stored.Select(s => s.AsTask()));
        await commit.StopAsync(Stop);
        return failures;
    }

    private Task<long> CountAsync(string what) => _host.Database.ScalarAsync<long>($"SELECT {what} FROM jobs");

    private QueuedJob[] Jobs(int count)
    {
        var now = DateTimeOffset.UtcNow;
        var payload = new ChunkPayloadWriter();
        payload.Add("t-0"u8, "text"u8, 4);
        var bytes = payload.Finish();
        return
        [
            .. Enumerable
                .Range(0, count)
                .Select(_ => new QueuedJob(
                    new JobOrder
                    {
                        Id = JobId.New(now),
                        Tenant = _host.Tenant,
                        Model = new FakeModel(new ModelRef("words", "1"), 16).Manifest,
                        Class = LatencyClass.Bulk,
                        Deadline = now.AddDays(1),
                        CreatedAt = now,
                    },
                    new JobTotals(1, 4, 1),
                    [(new ChunkHeader(0, 0, 1, 4, 4), bytes)],
                    [],
                    now,
                    null
                )),
        ];
    }
}
