using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Migrations;

/// <summary>Jobs are scored against what was predicted at their acceptance, each once, when its end is rolled up.</summary>
public sealed class CalibrationTests : IAsyncLifetime
{
    private static readonly DateTimeOffset Accepted = new(2026, 1, 3, 12, 0, 0, TimeSpan.Zero);

    private TestDatabase _db = null!;

    public async ValueTask InitializeAsync() => _db = await TestPostgres.CreateDatabaseAsync();

    public ValueTask DisposeAsync() => _db?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task Jobs_of_a_day_class_and_model_are_summed_with_their_errors()
    {
        // Predicted 100 s (80 to 150) and 20 pico-USD; a task costs 10.
        await EndAsync(await AddJobAsync(), afterSeconds: 80);
        await EndAsync(await AddJobAsync(), afterSeconds: 200);
        await RolledUp.Async(_db);
        await EndAsync(await AddJobAsync(), afterSeconds: 79);
        await RolledUp.Async(_db);

        Assert.Equal("2026-01-03 bulk m@1 3 1 3", await SumsAsync());
        var (near, far, early) = ((100.0 / 80) - 1, (100.0 / 200) - 1, (100.0 / 79) - 1);
        Assert.Equal(near + far + early, await _db.ScalarAsync<double>("SELECT time_error FROM calibration_days"), 1e-9);
        Assert.Equal(near - far + early, await _db.ScalarAsync<double>("SELECT time_error_absolute FROM calibration_days"), 1e-9);
        Assert.Equal(3 * 1.0, await _db.ScalarAsync<double>("SELECT cost_error_absolute FROM calibration_days"), 1e-9);
    }

    [Fact]
    public async Task A_job_that_expired_is_not_covered_and_its_cost_is_not_compared()
    {
        await EndAsync(await AddJobAsync(), afterSeconds: 100, TaskOutcome.Expired);
        await RolledUp.Async(_db);

        Assert.Equal("2026-01-03 bulk m@1 1 0 0", await SumsAsync());
    }

    [Fact]
    public async Task Jobs_that_cost_nothing_or_ended_at_once_hold_up_no_sums()
    {
        for (var job = 0; job < 20; job++)
        {
            await EndAsync(await AddJobAsync(), afterSeconds: 100, job % 2 == 0 ? TaskOutcome.Expired : TaskOutcome.Succeeded);
            await EndAsync(await AddJobAsync(), afterSeconds: 0, TaskOutcome.Expired);
        }

        await _db.ExecuteAsync("UPDATE jobs SET cost_pico = 0");
        await _db.ExecuteAsync("ANALYZE jobs, events");
        await RolledUp.Async(_db);

        Assert.Equal("2026-01-03 bulk m@1 20 10 0", await SumsAsync());
    }

    [Fact]
    public async Task Jobs_that_were_cancelled_or_held_back_or_had_no_prediction_are_left_out()
    {
        var (cancelled, paused, unknown) = (await AddJobAsync(), await AddJobAsync(), await AddJobAsync());
        await _db.ExecuteAsync("UPDATE jobs SET state = 'cancelling' WHERE id = $1", cancelled.Value);
        await _db.ExecuteAsync(
            "INSERT INTO events (tenant, job, type, data, created_at) SELECT tenant, id, 'job.paused', '{}', now() FROM jobs WHERE id = $1",
            paused.Value
        );
        await _db.ExecuteAsync(
            "UPDATE jobs SET predicted_at = NULL, predicted_early_at = NULL, predicted_late_at = NULL WHERE id = $1",
            unknown.Value
        );
        await EndAsync(cancelled, afterSeconds: 100, TaskOutcome.Cancelled);
        await EndAsync(paused, afterSeconds: 100);
        await EndAsync(unknown, afterSeconds: 100);
        await RolledUp.Async(_db);

        Assert.Null(await SumsAsync());
    }

    [Fact]
    public async Task A_job_that_is_completed_apart_from_its_last_task_is_scored_then()
    {
        var job = await AddJobAsync();
        await _db.ExecuteAsync(
            """
            INSERT INTO openai_batches (job, tenant, endpoint, input_file, completion_window, expires_at, class, output_seconds, created_at)
            SELECT id, tenant, '/v1/embeddings', gen_random_uuid(), '24h', now(), 'bulk', 1, now() FROM jobs WHERE id = $1
            """,
            job.Value
        );
        await EndAsync(job, afterSeconds: 90);
        await RolledUp.Async(_db);
        Assert.Null(await SumsAsync());

        await _db.ExecuteAsync(
            """
            WITH done AS (UPDATE jobs SET state = 'completed', finished_at = $1 RETURNING *)
            INSERT INTO events (tenant, job, type, data, created_at) SELECT tenant, id, 'job.completed', '{}', $1 FROM done
            """,
            Accepted.AddSeconds(100)
        );
        await RolledUp.Async(_db);

        Assert.Equal("2026-01-03 bulk m@1 1 1 1", await SumsAsync());
    }

    private async Task<JobId> AddJobAsync()
    {
        var job = await Seeds.JobAsync(_db, 1);
        await _db.ExecuteAsync(
            """
            UPDATE jobs SET queued_at = $2, predicted_at = $2 + interval '100 s', predicted_early_at = $2 + interval '80 s',
              predicted_late_at = $2 + interval '150 s', predicted_cost_pico = 20 WHERE id = $1
            """,
            job.Value,
            Accepted
        );
        return job;
    }

    private async Task EndAsync(JobId job, double afterSeconds, TaskOutcome outcome = TaskOutcome.Succeeded)
    {
        var rows = new TaskEndRows();
        rows.Add(job, 0, 0, outcome);
        await using var connection = await _db.DataSource.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await TaskEnds.WriteAsync(connection, transaction, rows, Accepted.AddSeconds(afterSeconds));
        await transaction.CommitAsync();
    }

    private Task<string?> SumsAsync() =>
        _db.ScalarAsync<string>("SELECT concat_ws(' ', day, class, model, jobs, covered, cost_jobs) FROM calibration_days");
}
