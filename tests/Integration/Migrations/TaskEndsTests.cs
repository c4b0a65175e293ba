using System.Text.Json;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Migrations;

public sealed class TaskEndsTests : IAsyncLifetime
{
    private TestDatabase _db = null!;

    public async ValueTask InitializeAsync() => _db = await TestPostgres.CreateDatabaseAsync();

    public ValueTask DisposeAsync() => _db?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task The_first_end_starts_the_job_and_counts_in_its_chunk()
    {
        var job = await Seeds.JobAsync(_db, 4, 4);
        var rows = new TaskEndRows();
        rows.Add(job, 0, 1);
        rows.Add(job, 0, 2, TaskOutcome.Failed, cost: 7);

        var ended = await Seeds.EndAsync(_db, rows);

        Assert.Equal(2, ended.Count);
        Assert.Equal("running", await _db.ScalarAsync<string>("SELECT state FROM jobs"));
        Assert.Equal(2, await _db.ScalarAsync<int>("SELECT open_chunks FROM jobs WHERE started_at IS NOT NULL"));
        Assert.Equal(
            "2,1,1,17",
            await _db.ScalarAsync<string>("SELECT concat_ws(',', remaining, succeeded, failed, cost_pico) FROM chunks WHERE no = 0")
        );
        Assert.Equal(2, await _db.ScalarAsync<long>("SELECT count(*) FROM results WHERE job = $1", job.Value));
        Assert.Equal(0, await _db.ScalarAsync<long>("SELECT count(*) FROM events"));
    }

    [Fact]
    public async Task A_task_that_had_ended_is_reported_back_and_counted_once()
    {
        var job = await Seeds.JobAsync(_db, 4);
        var first = new TaskEndRows();
        first.Add(job, 0, 1);
        first.Add(job, 0, 2);
        await Seeds.EndAsync(_db, first);

        var second = new TaskEndRows();
        second.Add(job, 0, 0);
        second.Add(job, 0, 1, TaskOutcome.Failed);
        second.Add(job, 0, 0, TaskOutcome.Failed);
        var ended = await Seeds.EndAsync(_db, second);

        Assert.Equal([true, false, false], Enumerable.Range(0, 3).Select(ended.WasInserted));
        Assert.Equal(1, await _db.ScalarAsync<int>("SELECT remaining FROM chunks"));
        Assert.Equal("succeeded", await _db.ScalarAsync<string>("SELECT status FROM results WHERE seq = 1"));
        Assert.Equal("succeeded", await _db.ScalarAsync<string>("SELECT status FROM results WHERE seq = 0"));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_large_write_also_leaves_out_what_had_ended_and_what_it_holds_twice(bool touched)
    {
        const int tasks = 400;
        var job = await Seeds.JobAsync(_db, tasks);
        if (touched)
        {
            var first = new TaskEndRows();
            first.Add(job, 0, 7);
            await Seeds.EndAsync(_db, first);
        }

        var rows = new TaskEndRows();
        for (var seq = 0; seq < tasks; seq++)
        {
            rows.Add(job, 0, seq);
        }

        rows.Add(job, 0, 9);
        var ended = await Seeds.EndAsync(_db, rows);

        Assert.Equal(touched ? tasks - 1 : tasks, ended.Count);
        Assert.Equal(!touched, ended.WasInserted(7));
        Assert.False(ended.WasInserted(tasks));
        Assert.Equal(tasks, await _db.ScalarAsync<long>("SELECT count(*) FROM results"));
        Assert.Equal("completed", await _db.ScalarAsync<string>("SELECT state FROM jobs"));
    }

    [Theory]
    [InlineData(300, 600, 0)]
    [InlineData(200, 600, 0)]
    [InlineData(0, 300, 0)]
    [InlineData(300, 600, 10)]
    [InlineData(200, 600, 10)]
    public async Task A_writer_that_goes_on_with_a_chunk_leaves_out_what_it_or_another_has_ended(int from, int to, int others)
    {
        var job = await Seeds.JobAsync(_db, 600);
        var written = new WrittenEnds();
        await Seeds.EndAsync(_db, Range(0, 300), written);
        if (others > 0)
        {
            await Seeds.EndAsync(_db, Range(300, 300 + others));
        }

        var ended = await Seeds.EndAsync(_db, Range(from, to), written);

        Assert.Equal(
            Enumerable.Range(from, to - from).Select(seq => seq >= 300 + others),
            Enumerable.Range(0, to - from).Select(ended.WasInserted)
        );
        Assert.Equal(Math.Max(300, to), await _db.ScalarAsync<long>("SELECT count(*) FROM results"));
        Assert.Equal(600 - Math.Max(300, to), await _db.ScalarAsync<int>("SELECT remaining FROM chunks"));

        TaskEndRows Range(int first, int end)
        {
            var rows = new TaskEndRows();
            for (var seq = first; seq < end; seq++)
            {
                rows.Add(job, 0, seq);
            }

            return rows;
        }
    }

    [Fact]
    public async Task The_last_end_completes_the_job_with_totals_and_one_event()
    {
        var job = await Seeds.JobAsync(_db, 3, 2);
        var rows = new TaskEndRows();
        for (var seq = 0; seq < 5; seq++)
        {
            rows.Add(job, seq / 3, seq, seq == 4 ? TaskOutcome.Failed : TaskOutcome.Succeeded);
        }

        await Seeds.EndAsync(_db, rows);
        var again = await Seeds.EndAsync(_db, rows);

        Assert.Equal(0, again.Count);
        Assert.Equal(
            "completed,0,4,1,0,0,50",
            await _db.ScalarAsync<string>(
                "SELECT concat_ws(',', state, open_chunks, succeeded, failed, expired, cancelled, cost_pico) FROM jobs"
            )
        );
        Assert.Equal("job.completed", await _db.ScalarAsync<string>("SELECT string_agg(type, ',') FROM events"));
        var data = JsonDocument.Parse((await _db.ScalarAsync<string>("SELECT data::text FROM events"))!).RootElement;
        Assert.Equal(job.ToString(), data.GetProperty("job").GetString());
        Assert.Equal(50, data.GetProperty("cost_pico_usd").GetInt64());
    }

    [Theory]
    [InlineData("cancelling", TaskOutcome.Cancelled, "cancelled")]
    [InlineData("running", TaskOutcome.Expired, "expired")]
    public async Task What_remains_is_ended_and_the_job_with_it(string state, TaskOutcome outcome, string end)
    {
        var job = await Seeds.JobAsync(_db, 3, 3);
        var rows = new TaskEndRows();
        rows.Add(job, 0, 1);
        await Seeds.EndAsync(_db, rows);
        await _db.ExecuteAsync("UPDATE jobs SET state = $1", state);

        await using (var connection = await _db.DataSource.OpenConnectionAsync())
        await using (var transaction = await connection.BeginTransactionAsync())
        {
            var ended = await TaskEnds.EndRemainingAsync(
                connection,
                transaction,
                [new ChunkKey(job, 1), new ChunkKey(job, 0)],
                outcome,
                FailureKind.Cancelled,
                "No longer wanted.",
                Seeds.Now
            );
            Assert.Equal(5, ended.Count);
            await transaction.CommitAsync();
        }

        Assert.Equal(end, await _db.ScalarAsync<string>("SELECT state FROM jobs WHERE finished_at IS NOT NULL"));
        Assert.Equal($"job.{end}", await _db.ScalarAsync<string>("SELECT type FROM events"));
        Assert.Equal(
            "t-0,t-2,t-3,t-4,t-5",
            await _db.ScalarAsync<string>("SELECT string_agg(custom_id, ',' ORDER BY seq) FROM results WHERE error_code = 'cancelled'")
        );
        Assert.Equal("m@1", await _db.ScalarAsync<string>("SELECT DISTINCT model FROM results"));
    }

    [Fact]
    public async Task Endings_say_which_tasks_ended_in_which_transaction()
    {
        var job = await Seeds.JobAsync(_db, 12);
        var rows = new TaskEndRows();
        rows.Add(job, 0, 0);
        rows.Add(job, 0, 9);
        await Seeds.EndAsync(_db, rows);
        rows.Add(job, 0, 11);
        await Seeds.EndAsync(_db, rows);

        Assert.Equal("0102,0008", await _db.ScalarAsync<string>("SELECT string_agg(encode(tasks, 'hex'), ',' ORDER BY xid) FROM endings"));
        // Not "older than the oldest open one": tests beside this one keep transactions open on the same server.
        Assert.True(await _db.ScalarAsync<bool>("SELECT bool_and(pg_visible_in_snapshot(xid, pg_current_snapshot())) FROM endings"));
    }

    [Fact]
    public async Task Two_writers_with_the_same_tasks_in_opposite_order_write_each_once_without_a_deadlock()
    {
        // Small writes and large ones: the large look at the locked chunks before they insert.
        const int chunks = 8;
        for (var round = 0; round < 16; round++)
        {
            var tasks = round % 2 == 0 ? 16 : 64;
            var job = await Seeds.JobAsync(_db, [.. Enumerable.Repeat(tasks, chunks)]);
            var (forwards, backwards) = (new TaskEndRows(), new TaskEndRows());
            for (var seq = 0; seq < chunks * tasks; seq++)
            {
                forwards.Add(job, seq / tasks, seq);
                var mirrored = (chunks * tasks) - 1 - seq;
                backwards.Add(job, mirrored / tasks, mirrored);
            }

            var ended = await Task.WhenAll(Task.Run(() => Seeds.EndAsync(_db, forwards)), Task.Run(() => Seeds.EndAsync(_db, backwards)));

            Assert.Equal(chunks * tasks, ended.Sum(e => e.Count));
            Assert.Equal(chunks * tasks, await _db.ScalarAsync<long>("SELECT count(*) FROM results WHERE job = $1", job.Value));
            Assert.Equal(1, await _db.ScalarAsync<long>("SELECT count(*) FROM events WHERE job = $1", job.Value));
            Assert.Equal("completed", await _db.ScalarAsync<string>("SELECT state FROM jobs WHERE id = $1", job.Value));
        }
    }

    [Fact]
    public async Task Writers_that_close_the_last_chunks_at_once_finalise_the_job_exactly_once()
    {
        for (var round = 0; round < 16; round++)
        {
            var job = await Seeds.JobAsync(_db, 1, 1, 1, 1);
            await Task.WhenAll(
                Enumerable
                    .Range(0, 4)
                    .Select(no =>
                        Task.Run(() =>
                        {
                            var rows = new TaskEndRows();
                            rows.Add(job, no, no);
                            return Seeds.EndAsync(_db, rows);
                        })
                    )
            );

            Assert.Equal("completed", await _db.ScalarAsync<string>("SELECT state FROM jobs WHERE id = $1 AND succeeded = 4", job.Value));
            Assert.Equal(1, await _db.ScalarAsync<long>("SELECT count(*) FROM events WHERE job = $1", job.Value));
        }
    }

    [Fact]
    public async Task A_row_outside_of_its_chunk_is_refused_and_nothing_is_written()
    {
        var job = await Seeds.JobAsync(_db, 2, 2);
        var outside = new TaskEndRows();
        outside.Add(job, 0, 2);
        var nowhere = new TaskEndRows();
        nowhere.Add(job, 9, 0);

        await Assert.ThrowsAsync<InvalidOperationException>(() => Seeds.EndAsync(_db, outside));
        await Assert.ThrowsAsync<InvalidOperationException>(() => Seeds.EndAsync(_db, nowhere));

        Assert.Equal(0, await _db.ScalarAsync<long>("SELECT count(*) FROM results"));
    }

    [Fact]
    public async Task A_chunk_that_counts_more_ends_than_tasks_is_impossible()
    {
        await Seeds.JobAsync(_db, 2);

        var error = await Assert.ThrowsAsync<PostgresException>(() => _db.ExecuteAsync("UPDATE chunks SET succeeded = succeeded + 1"));

        Assert.Equal("ck_chunks_counts", error.ConstraintName);
    }
}
