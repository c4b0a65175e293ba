using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Migrations;

public sealed class PartitionsTests : IAsyncLifetime
{
    private static readonly DateOnly Today = DateOnly.FromDateTime(DateTime.UtcNow);

    private TestDatabase _db = null!;

    public async ValueTask InitializeAsync() => _db = await TestPostgres.CreateDatabaseAsync();

    public ValueTask DisposeAsync() => _db?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task Partitions_exist_from_yesterday_to_two_weeks_ahead_and_rows_land_in_theirs()
    {
        for (var day = Today.AddDays(-1); day < Today.AddDays(Partitions.DaysAhead); day = day.AddDays(1))
        {
            // The last millisecond of a day and the first of the next are on different sides.
            var end = new DateTimeOffset(day.AddDays(1).ToDateTime(TimeOnly.MinValue), TimeSpan.Zero).AddMilliseconds(-1);
            var last = await InsertAsync(JobId.New(end));
            var next = await InsertAsync(JobId.New(end.AddMilliseconds(1)));

            Assert.Equal(Partitions.NameOf(day), await PartitionOfAsync(last));
            Assert.Equal(Partitions.NameOf(day.AddDays(1)), await PartitionOfAsync(next));
        }
    }

    [Fact]
    public async Task A_row_of_a_day_without_a_partition_is_kept_and_moves_when_its_partition_is_made()
    {
        var day = Today.AddDays(100);
        var job = await InsertAsync(JobId.New(new DateTimeOffset(day.ToDateTime(new TimeOnly(12, 0)), TimeSpan.Zero)));
        Assert.Equal("results_default", await PartitionOfAsync(job));

        var made = await Partitions.EnsureAheadAsync(_db.DataSource, day, 2);

        Assert.Equal([Partitions.NameOf(day), Partitions.NameOf(day.AddDays(1))], made);
        Assert.Equal(Partitions.NameOf(day), await PartitionOfAsync(job));
        Assert.Equal(0, await _db.ScalarAsync<long>("SELECT count(*) FROM results_default"));
    }

    [Fact]
    public async Task Makers_at_the_same_time_make_each_partition_once()
    {
        var from = Today.AddDays(200);

        var made = await Task.WhenAll(
            Enumerable.Range(0, 4).Select(_ => Task.Run(() => Partitions.EnsureAheadAsync(_db.DataSource, from, 5)))
        );

        Assert.Equal(
            Enumerable.Range(0, 5).Select(d => Partitions.NameOf(from.AddDays(d))),
            made.SelectMany(m => m).Order(StringComparer.Ordinal)
        );
    }

    [Fact]
    public async Task A_partition_is_made_while_results_are_being_read_and_written()
    {
        var job = await InsertAsync(JobId.New(DateTimeOffset.UtcNow));
        await using var connection = await _db.DataSource.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using (var command = connection.CreateCommand())
        {
            command.CommandText =
                $"UPDATE results SET turns = 2 WHERE job = '{job}' AND seq = 0; SELECT * FROM results WHERE job = '{job}'";
            await command.ExecuteNonQueryAsync();
        }

        var made = await Partitions.EnsureAheadAsync(_db.DataSource, Today.AddDays(300), 1);

        Assert.Single(made);
        await transaction.CommitAsync();
    }

    [Fact]
    public async Task A_partition_has_the_key_and_the_checks_of_the_table()
    {
        var job = await InsertAsync(JobId.New(DateTimeOffset.UtcNow));
        var twice = await Assert.ThrowsAsync<Npgsql.PostgresException>(() => InsertAsync(job));
        var wrong = await Assert.ThrowsAsync<Npgsql.PostgresException>(() =>
            _db.ExecuteAsync("UPDATE results SET error_code = 'x', error_message = 'x' WHERE job = $1", job.Value)
        );

        Assert.Equal(Npgsql.PostgresErrorCodes.UniqueViolation, twice.SqlState);
        Assert.Equal("ck_results_error", wrong.ConstraintName);
    }

    private async Task<JobId> InsertAsync(JobId job)
    {
        await _db.ExecuteAsync(
            """
            INSERT INTO results (job, seq, chunk, custom_id, status, output, content_type, model, turns, cost_pico,
                                 queued_us, staged_us, device_us, total_us, finished_at)
            VALUES ($1, 0, 0, 'a', 'succeeded', '{}', 'application/json', 'm@1', 1, 0, 0, 0, 0, 0, now())
            """,
            job.Value
        );
        return job;
    }

    private Task<string?> PartitionOfAsync(JobId job) =>
        _db.ScalarAsync<string>("SELECT tableoid::regclass::text FROM results WHERE job = $1", job.Value);
}
