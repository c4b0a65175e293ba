using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Migrations;

/// <summary>The database refuses what the tables of states do not draw, whoever writes it.</summary>
public sealed class ChecksTests : IAsyncLifetime
{
    private TestDatabase _db = null!;

    public async ValueTask InitializeAsync() => _db = await TestPostgres.CreateDatabaseAsync();

    public ValueTask DisposeAsync() => _db?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Theory]
    [InlineData("state = 'waiting', open_chunks = 0", "ck_jobs_state")]
    [InlineData("class = 'urgent'", "ck_jobs_class")]
    [InlineData("state = 'running'", "ck_jobs_started_at")]
    [InlineData("started_at = now()", "ck_jobs_started_at")]
    [InlineData("queued_at = NULL", "ck_jobs_queued_at")]
    [InlineData("state = 'receiving', open_chunks = 0", "ck_jobs_queued_at")]
    [InlineData("finished_at = now()", "ck_jobs_finished_at")]
    [InlineData("state = 'failed', error = '{}'", "ck_jobs_finished_at")]
    [InlineData("state = 'failed', finished_at = now()", "ck_jobs_error")]
    [InlineData("error = '{}'", "ck_jobs_error")]
    [InlineData("open_chunks = 0", "ck_jobs_open_chunks")]
    [InlineData("open_chunks = 3", "ck_jobs_open_chunks")]
    [InlineData("open_chunks = -1", "ck_jobs_open_chunks")]
    [InlineData("state = 'cancelled', finished_at = now(), open_chunks = 0", "ck_jobs_totals")]
    [InlineData("succeeded = 0, failed = 0, expired = 0, cancelled = 2, cost_pico = 0", "ck_jobs_totals")]
    [InlineData(
        "state = 'cancelled', finished_at = now(), open_chunks = 0, succeeded = 1, failed = 0, expired = 0, cancelled = 0, cost_pico = 0",
        "ck_jobs_totals_sum"
    )]
    [InlineData("tasks = 1", "ck_jobs_counts")]
    public async Task A_job_is_in_a_state_that_is_drawn(string change, string refusedBy)
    {
        await Seeds.JobAsync(_db, 1, 1);

        var error = await Assert.ThrowsAsync<PostgresException>(() => _db.ExecuteAsync($"UPDATE jobs SET {change}"));

        Assert.Equal(refusedBy, error.ConstraintName);
    }

    [Theory]
    [InlineData("state = 'running', started_at = now()")]
    [InlineData("state = 'cancelling'")]
    [InlineData("state = 'failed', error = '{}', finished_at = now()")]
    [InlineData(
        "state = 'finalizing', started_at = now(), open_chunks = 0, succeeded = 2, failed = 0, expired = 0, cancelled = 0, cost_pico = 9"
    )]
    [InlineData(
        "state = 'expired', finished_at = now(), open_chunks = 0, succeeded = 0, failed = 0, expired = 2, cancelled = 0, cost_pico = 0"
    )]
    [InlineData("state = 'receiving', queued_at = NULL, tasks = 0, units = 0, chunks = 0, open_chunks = 0")]
    public async Task What_is_drawn_is_allowed(string change)
    {
        await Seeds.JobAsync(_db, 1, 1);

        Assert.Equal(1, await _db.ExecuteAsync($"UPDATE jobs SET {change}"));
    }

    [Fact]
    public void Every_job_state_and_outcome_is_read_back_from_its_word()
    {
        Assert.All(Enum.GetValues<JobState>(), s => Assert.Equal(s, JobStates.ParseJobState(s.Name())));
        Assert.All(Enum.GetValues<TaskOutcome>(), o => Assert.Equal(o, JobStates.ParseTaskOutcome(o.Name())));
        Assert.All(Enum.GetValues<LedgerAccount>(), a => Assert.Equal(a, Words.Parse<LedgerAccount>(a.Name(), LedgerAccounts.Name)));
    }

    [Fact]
    public async Task There_is_one_scheduler_epoch()
    {
        var second = await Assert.ThrowsAsync<PostgresException>(() =>
            _db.ExecuteAsync("INSERT INTO scheduler_epoch (epoch, instance, taken_at) SELECT 1, instance, now() FROM scheduler_epoch")
        );
        var other = await Assert.ThrowsAsync<PostgresException>(() => _db.ExecuteAsync("UPDATE scheduler_epoch SET one = false"));

        Assert.Equal("pk_scheduler_epoch", second.ConstraintName);
        Assert.Equal("ck_scheduler_epoch_one", other.ConstraintName);
    }

    [Fact]
    public async Task An_answer_to_an_idempotent_request_is_whole_or_absent()
    {
        var tenant = await Tenants.EnsureAsync(_db.DataSource, "test");
        await _db.ExecuteAsync(
            "INSERT INTO idempotency_keys (tenant, key, fingerprint, created_at) VALUES ($1, 'k', '\\x00', now())",
            tenant.Value
        );

        var error = await Assert.ThrowsAsync<PostgresException>(() => _db.ExecuteAsync("UPDATE idempotency_keys SET status = 200"));

        Assert.Equal("ck_idempotency_keys_finished", error.ConstraintName);
        Assert.Equal(1, await _db.ExecuteAsync("UPDATE idempotency_keys SET status = 200, response = '{}', finished_at = now()"));
    }
}
