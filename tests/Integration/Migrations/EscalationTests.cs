using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Migrations;

/// <summary>Two runs of one chunk that judge the same task otherwise: it goes the way of whoever was first, and ends once.</summary>
public sealed class EscalationTests : IAsyncLifetime
{
    private static readonly BatchId Batch = BatchId.New(Seeds.Now);
    private TestDatabase _db = null!;
    private JobId _job;

    public async ValueTask InitializeAsync()
    {
        _db = await TestPostgres.CreateDatabaseAsync();
        _job = await Seeds.JobAsync(_db, 4, 6);
        await _db.ExecuteAsync(
            """UPDATE jobs SET route = '{"name": "r", "version": 1, "variants": [{"model": "m@1", "accept": {"probability_min": 0.5}}, {"model": "l@1"}]}'"""
        );
    }

    public ValueTask DisposeAsync() => _db?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task A_task_that_has_escalated_takes_no_result_from_its_old_chunk()
    {
        var first = await WriteAsync(accepted: [1], escalated: [0, 2]);
        var late = await WriteAsync(accepted: [0, 1, 3], escalated: [2]);

        Assert.Equal([false, false, true], Enumerable.Range(0, 3).Select(late.WasInserted));
        Assert.False(late.HasEscalated(0));
        Assert.Single(first.Opened);
        Assert.Empty(late.Opened);
        Assert.Equal("0,2,2", await CountsAsync(chunk: 0));
        Assert.Equal("2,0,0", await CountsAsync(first.Opened[0].Chunk.No));
    }

    [Fact]
    public async Task A_task_that_has_ended_does_not_escalate_any_more()
    {
        await WriteAsync(accepted: [0, 1], escalated: []);
        var late = await WriteAsync(accepted: [], escalated: [0, 2]);

        Assert.Equal([false, true], Enumerable.Range(0, 2).Select(late.HasEscalated));
        Assert.Equal("1,2,1", await CountsAsync(chunk: 0));
        Assert.Equal(1, Assert.Single(late.Opened).Chunk.Tasks);
    }

    [Fact]
    public async Task One_commit_that_holds_a_task_twice_lets_it_end()
    {
        var both = await WriteAsync(accepted: [3], escalated: [3]);

        Assert.True(both.WasInserted(0));
        Assert.False(both.HasEscalated(0));
        Assert.Empty(both.Opened);
    }

    [Fact]
    public async Task A_job_whose_chunks_have_all_escalated_runs_on_until_the_new_ones_end()
    {
        var left = await WriteAsync(accepted: [], escalated: [0, 1, 2, 3]);
        var rows = new TaskEndRows();
        foreach (var seq in Enumerable.Range(4, 6))
        {
            Add(rows, 1, seq);
        }

        await WriteAsync(rows, new EscalationRows());

        Assert.Equal("running 1 3", await _db.ScalarAsync<string>("SELECT concat_ws(' ', state, open_chunks, chunks) FROM jobs"));
        var last = new TaskEndRows();
        foreach (var seq in Enumerable.Range(0, 4))
        {
            Add(last, left.Opened[0].Chunk.No, seq, turn: 2);
        }

        await WriteAsync(last, new EscalationRows());
        Assert.Equal("completed 0 10", await _db.ScalarAsync<string>("SELECT concat_ws(' ', state, open_chunks, succeeded) FROM jobs"));
        Assert.Equal(140, await _db.ScalarAsync<decimal>("SELECT cost_pico FROM jobs"));
        Assert.Equal("17 17 17 17", await _db.ScalarAsync<string>("SELECT string_agg(cost_pico::text, ' ') FROM results WHERE turns = 2"));
        Assert.Equal(1, await _db.ScalarAsync<long>("SELECT count(*) FROM events WHERE type = 'job.completed'"));
    }

    [Fact]
    public async Task Commits_at_once_of_chunks_of_one_job_number_their_new_chunks_one_after_the_other()
    {
        var writes = await Task.WhenAll(
            Enumerable
                .Range(0, 4)
                .Select(seq => WriteAsync(accepted: [], escalated: [seq]))
                .Concat([.. Enumerable.Range(4, 6).Select(EscalateAsync)])
        );

        Assert.Equal(Enumerable.Range(2, 10), writes.Select(w => w.Opened[0].Chunk.No).Order());
        Assert.Equal("10 12", await _db.ScalarAsync<string>("SELECT concat_ws(' ', open_chunks, chunks) FROM jobs"));

        async Task<EndedTasks> EscalateAsync(int seq)
        {
            var escalations = new EscalationRows();
            escalations.Add(new EscalationFrom(new ChunkKey(_job, 1), 1, 4, new ModelRef("l", "1")), seq, 1, "m@1", Batch, 5, 7);
            return await WriteAsync(new TaskEndRows(), escalations);
        }
    }

    private Task<EndedTasks> WriteAsync(int[] accepted, int[] escalated)
    {
        var (rows, escalations) = (new TaskEndRows(), new EscalationRows());
        foreach (var seq in accepted)
        {
            Add(rows, 0, seq);
        }

        foreach (var seq in escalated)
        {
            escalations.Add(new EscalationFrom(new ChunkKey(_job, 0), 0, 0, new ModelRef("l", "1")), seq, 1, "m@1", Batch, 5, 7);
        }

        return WriteAsync(rows, escalations);
    }

    private async Task<EndedTasks> WriteAsync(TaskEndRows rows, EscalationRows escalations)
    {
        await using var connection = await _db.DataSource.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        var ended = await TaskEnds.InsertAsync(connection, transaction, rows, escalations, Seeds.Now, null, default);
        await using var batch = new NpgsqlBatch(connection, transaction);
        TaskEnds.AddCounts(batch, ended, Seeds.Now);
        if (batch.BatchCommands.Count > 0)
        {
            await using var reader = await batch.ExecuteReaderAsync();
            do
            {
                await ended.ReadOpenedAsync(reader, default);
            } while (await reader.NextResultAsync());
        }

        await transaction.CommitAsync();
        return ended;
    }

    private void Add(TaskEndRows rows, int chunk, int seq, int turn = 1) =>
        rows.Add(
            _job,
            chunk,
            seq,
            TaskOutcome.Succeeded,
            $"t-{seq}",
            "{}"u8.ToArray(),
            "application/json",
            null,
            null,
            turn == 1 ? "m@1" : "l@1",
            (short)turn,
            turn == 1 ? 12 : 10,
            Batch,
            0,
            0,
            0,
            0,
            5,
            routeTurn: turn
        );

    private Task<string?> CountsAsync(int chunk) =>
        _db.ScalarAsync<string>($"SELECT concat_ws(',', remaining, succeeded, escalated) FROM chunks WHERE no = {chunk}");
}
