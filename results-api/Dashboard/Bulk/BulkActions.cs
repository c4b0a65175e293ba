using System.Text.Json;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Jobs;
using Pipeline.ResultsApi.Jobs;

namespace Pipeline.ResultsApi.Dashboard.Bulk;

/// <summary>A bulk action as its page shows it.</summary>
public sealed record BulkAction(
    Guid Id,
    string Action,
    JobChangeAsk? Change,
    string Query,
    string Reason,
    string Operator,
    DateTimeOffset CreatedAt,
    int Items,
    int Done,
    int Refused,
    bool Stopped,
    DateTimeOffset? FinishedAt
)
{
    public double Progress => FinishedAt is not null ? 1 : (double)(Done + Refused) / Items;
}

/// <summary>One of its jobs.</summary>
public sealed record BulkItem(Guid Job, string Outcome, string? Detail);

/// <summary>What a bulk action would act on.</summary>
/// <param name="Jobs">At most one more than an action may have.</param>
/// <param name="Tasks">The failed tasks of those jobs; of a job without one all of its tasks.</param>
public sealed record BulkPreview(long Jobs, long Tasks);

/// <summary>Stores bulk actions with the jobs they act on, and reads them.</summary>
internal sealed class BulkActions(NpgsqlDataSource database, AuditLog audit, DashboardOptions options, TimeProvider time)
{
    /// <summary>What ingest would take: of the jobs that fit the filters, those in a state for it.</summary>
    private static string Eligible(string action) =>
        action switch
        {
            "cancel" => "state IN ('queued', 'running') AND finished_at IS NULL",
            "pause" => "state IN ('queued', 'running') AND finished_at IS NULL AND NOT paused",
            "resume" => "state IN ('queued', 'running') AND finished_at IS NULL AND paused",
            JobActions.Change => "state IN ('queued', 'running') AND finished_at IS NULL",
            _ => "finished_at IS NOT NULL AND failed > 0",
        };

    public async Task<BulkPreview> PreviewAsync(JobFilter filter, string action, CancellationToken stop)
    {
        await using var command = database.CreateCommand(options);
        var where = For(action, filter).Conditions(command).Add(Eligible(action)).Where;
        command.CommandText = $"""
            SELECT count(*), coalesce(sum(tasks), 0)::bigint
            FROM (SELECT CASE WHEN failed > 0 THEN failed ELSE tasks END AS tasks FROM jobs {where} LIMIT {options.BulkItemsMax + 1}) j
            """;
        await using var reader = await command.ExecuteReaderAsync(stop);
        await reader.ReadAsync(stop);
        return new(reader.GetInt64(0), reader.GetInt64(1));
    }

    /// <summary>Some of the jobs that an action would act on, drawn from all of them; the same ones where it is asked again.</summary>
    public async Task<List<EstimatedJob>> DrawAsync(JobFilter filter, string action, int jobsMax, CancellationToken stop)
    {
        await using var command = database.CreateCommand(options);
        var where = For(action, filter).Conditions(command).Add(Eligible(action)).Where;
        command.CommandText = $"""
            SELECT id, tenant, class, per_million_units_pico
            FROM (SELECT id, tenant, class, per_million_units_pico FROM jobs {where} ORDER BY id DESC LIMIT {options.BulkItemsMax}) j
            ORDER BY hashtext(id::text), id LIMIT {jobsMax}
            """;
        return await Rows.ReadAsync(
            command,
            row => new EstimatedJob(
                row.GetGuid(0),
                new TenantId(row.GetGuid(1)),
                row.GetString(2),
                row.IsDBNull(3) ? null : row.GetInt64(3)
            ),
            stop
        );
    }

    /// <summary>The filters as an action takes them: what was dismissed before is not dismissed again.</summary>
    public static JobFilter For(string action, JobFilter filter) =>
        action == JobActions.Dismiss ? filter with { Failed = (filter.Failed ?? new()) with { NotDismissed = true } } : filter;

    /// <summary>Chooses the jobs and stores the action with them; the runner works it off.</summary>
    /// <returns>Its id, or null where no job fits any more.</returns>
    public async Task<Guid?> CreateAsync(
        JobFilter filter,
        string action,
        JobChangeAsk? change,
        string query,
        Actor actor,
        CancellationToken stop
    )
    {
        var id = Guid.CreateVersion7(time.GetUtcNow());
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var transaction = await connection.BeginTransactionAsync(stop);
        await using var command = new NpgsqlCommand { Connection = connection, CommandTimeout = (int)options.QueryTimeMax.TotalSeconds };
        var where = For(action, filter).Conditions(command).Add(Eligible(action)).Where;
        var first = command.Parameters.Count + 1;
        command.CommandText = $"""
            WITH chosen AS (SELECT id, tenant FROM jobs {where} ORDER BY id DESC LIMIT {options.BulkItemsMax}),
            made AS (
              INSERT INTO bulk_actions (id, action, query, reason, operator, operator_name, created_at, change, items)
              SELECT ${first}, ${first + 1}, ${first + 2}, ${first + 3}, ${first + 4}, ${first + 5}, ${first + 6}, ${first + 7}, n
              FROM (SELECT count(*)::int AS n FROM chosen) c WHERE n > 0
              RETURNING id
            )
            INSERT INTO bulk_action_items (bulk_action, job, tenant, outcome)
            SELECT made.id, chosen.id, chosen.tenant, 'waiting' FROM made, chosen
            """;
        foreach (var value in new object[] { id, action, query, actor.Reason, actor.Id, actor.Name, time.GetUtcNow() })
        {
            command.Parameters.Add(new() { Value = value });
        }

        command.Parameters.Add(
            new()
            {
                Value = change is null ? DBNull.Value : JsonSerializer.Serialize(change, ApiJson.Options),
                NpgsqlDbType = NpgsqlDbType.Jsonb,
            }
        );
        if (await command.ExecuteNonQueryAsync(stop) == 0)
        {
            return null;
        }

        var deed = new Deed($"bulk.{action.Replace('-', '_')}", "bulk_action", id.ToString()) { After = new { query, change } };
        await audit.AddAsync(actor, deed, connection, stop);
        await transaction.CommitAsync(stop);
        return id;
    }

    /// <summary>Leaves out what is not begun.</summary>
    /// <returns>How many jobs that are.</returns>
    public async Task<int> StopAsync(Guid id, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            WITH stopped AS (UPDATE bulk_actions SET stopped = true WHERE id = $1 AND finished_at IS NULL RETURNING id)
            UPDATE bulk_action_items SET outcome = 'left_out'
            WHERE outcome = 'waiting' AND (bulk_action, job) IN (
              SELECT bulk_action, job FROM bulk_action_items i JOIN stopped s ON s.id = i.bulk_action
              WHERE i.outcome = 'waiting' FOR UPDATE OF i SKIP LOCKED
            )
            """
        );
        command.Parameters.Add(new() { Value = id });
        return await command.ExecuteNonQueryAsync(stop);
    }

    public async Task<BulkAction?> FindAsync(Guid id, CancellationToken stop)
    {
        await using var command = database.CreateCommand($"{SelectSql} WHERE id = $1");
        command.Parameters.Add(new() { Value = id });
        return (await ReadAsync(command, stop)).FirstOrDefault();
    }

    public async Task<List<BulkAction>> ListAsync(Guid? after, int rows, CancellationToken stop)
    {
        await using var command = database.CreateCommand();
        var filter = new SqlFilter(command).Add("id < {0}", after, NpgsqlDbType.Uuid);
        command.CommandText = $"{SelectSql} {filter.Where} ORDER BY id DESC LIMIT {rows}";
        return await ReadAsync(command, stop);
    }

    public async Task<List<BulkItem>> ItemsAsync(Guid id, string? outcome, Guid? after, int rows, CancellationToken stop)
    {
        await using var command = database.CreateCommand();
        var filter = new SqlFilter(command)
            .Add("bulk_action = {0}", id, NpgsqlDbType.Uuid)
            .Add("outcome = {0}", outcome, NpgsqlDbType.Text)
            .Add("job < {0}", after, NpgsqlDbType.Uuid);
        command.CommandText = $"SELECT job, outcome, detail FROM bulk_action_items {filter.Where} ORDER BY job DESC LIMIT {rows}";
        await using var reader = await command.ExecuteReaderAsync(stop);
        var items = new List<BulkItem>();
        while (await reader.ReadAsync(stop))
        {
            items.Add(new BulkItem(reader.GetGuid(0), reader.GetString(1), reader.IsDBNull(2) ? null : reader.GetString(2)));
        }

        return items;
    }

    private const string SelectSql = """
        SELECT id, action, query, reason, operator_name, created_at, items, done, refused, stopped, finished_at, change FROM bulk_actions
        """;

    private static async Task<List<BulkAction>> ReadAsync(NpgsqlCommand command, CancellationToken stop)
    {
        await using var reader = await command.ExecuteReaderAsync(stop);
        var all = new List<BulkAction>();
        while (await reader.ReadAsync(stop))
        {
            all.Add(
                new BulkAction(
                    reader.GetGuid(0),
                    reader.GetString(1),
                    ReadChange(reader, 11),
                    reader.GetString(2),
                    reader.GetString(3),
                    reader.GetString(4),
                    reader.GetFieldValue<DateTimeOffset>(5),
                    reader.GetInt32(6),
                    reader.GetInt32(7),
                    reader.GetInt32(8),
                    reader.GetBoolean(9),
                    reader.IsDBNull(10) ? null : reader.GetFieldValue<DateTimeOffset>(10)
                )
            );
        }

        return all;
    }

    public static JobChangeAsk? ReadChange(NpgsqlDataReader reader, int column) =>
        reader.IsDBNull(column) ? null : JsonSerializer.Deserialize<JobChangeAsk>(reader.GetString(column), ApiJson.Options);
}
