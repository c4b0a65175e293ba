using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// What a group's ended tasks came to, kept by <see cref="Rollups"/>, and its outcome as its tenant reported it. The row is there from the
/// first end of a task that is rolled up, or from the report, whichever comes first.
/// </summary>
public sealed class GroupRow
{
    public required TenantId Tenant { get; set; }

    /// <summary>See <see cref="GroupName"/>.</summary>
    public required string Name { get; set; }

    /// <summary>When the first of its ended tasks was accepted, and the last of them ended; null before one has.</summary>
    public DateTimeOffset? FirstAt { get; set; }
    public DateTimeOffset? LastAt { get; set; }

    /// <summary>Tasks that have ended: each is a request to a model, however it ended.</summary>
    public long Requests { get; set; }
    public long Succeeded { get; set; }

    /// <summary>Model executions.</summary>
    public long Turns { get; set; }

    /// <summary>Pico-USD, the sum of what <c>results</c> say.</summary>
    public decimal CostPico { get; set; }

    /// <summary>What is charged, in millionths of a pico-USD: units × the price of a million. Rounded where it is shown, once.</summary>
    public decimal PriceMillionths { get; set; }

    /// <summary>The versions that answered (<c>name@version</c>) and the classes of its jobs, in order, each once.</summary>
    public required string[] Models { get; set; }
    public required string[] Classes { get; set; }

    /// <summary>The routes its jobs went along (<c>name@version</c>), in order, each once.</summary>
    public required string[] Routes { get; set; }

    /// <summary>The outcome, null until it is reported: whether what the group made was accepted, and what it was worth.</summary>
    public bool? Accepted { get; set; }
    public decimal? Value { get; set; }
    public DateTimeOffset? ReportedAt { get; set; }
}

internal sealed class GroupsTable : IEntityTypeConfiguration<GroupRow>
{
    public void Configure(EntityTypeBuilder<GroupRow> builder)
    {
        builder.ToTable(
            "groups",
            t =>
            {
                t.HasCheckConstraint("ck_groups_name", $"name ~ '{GroupName.Pattern}'");
                t.HasCheckConstraint("ck_groups_requests", "requests >= succeeded AND succeeded >= 0 AND turns >= 0");
                t.HasCheckConstraint("ck_groups_amounts", "cost_pico >= 0 AND price_millionths >= 0");
                t.HasCheckConstraint(
                    "ck_groups_times",
                    "(requests > 0) = (first_at IS NOT NULL) AND (first_at IS NULL) = (last_at IS NULL)"
                );
                t.HasCheckConstraint(
                    "ck_groups_outcome",
                    "(accepted IS NULL) = (reported_at IS NULL) AND (value IS NULL OR accepted IS NOT NULL)"
                );
            }
        );
        builder.HasKey(g => new { g.Tenant, g.Name });

        // A report is one tenant's, over a range of days.
        builder.HasIndex(g => new { g.Tenant, g.FirstAt }, "ix_groups_first_at");
        builder.HasOne<TenantRow>().WithMany().HasForeignKey(g => g.Tenant).OnDelete(DeleteBehavior.Cascade);
        builder.Property(g => g.Requests).HasDefaultValue(0L);
        builder.Property(g => g.Succeeded).HasDefaultValue(0L);
        builder.Property(g => g.Turns).HasDefaultValue(0L);
        builder.Property(g => g.CostPico).HasColumnType("numeric").HasDefaultValue(0m);
        builder.Property(g => g.PriceMillionths).HasColumnType("numeric").HasDefaultValue(0m);
        builder.Property(g => g.Models).HasDefaultValueSql("'{}'");
        builder.Property(g => g.Classes).HasDefaultValueSql("'{}'");
        builder.Property(g => g.Routes).HasDefaultValueSql("'{}'");
        builder.Property(g => g.Value).HasColumnType("numeric");
    }
}

/// <summary>What became of a group, as its tenant reported it.</summary>
/// <param name="Value">What it was worth, in a unit that is the tenant's own; null where nobody said.</param>
public sealed record Outcome(bool Accepted, decimal? Value, DateTimeOffset ReportedAt);

/// <summary>What the tasks of a group came to so far, and its outcome. Read from jobs and results as they are now, without the rollups' delay.</summary>
/// <param name="Requests">Tasks, each a request to a model; <paramref name="Succeeded"/> and <paramref name="Pending"/> are among them.</param>
/// <param name="Pending">Tasks that have not ended.</param>
/// <param name="CostPico">Pico-USD, the sum of what <c>results</c> say.</param>
/// <param name="PricePico">Pico-USD charged, rounded down once.</param>
/// <param name="FirstAt">When the first of its tasks was accepted.</param>
/// <param name="LastAt">When the last one ended that has; null before one has.</param>
/// <param name="Models">Versions that answered.</param>
public sealed record GroupSums(
    long Requests,
    long Succeeded,
    long Pending,
    long Turns,
    decimal CostPico,
    decimal PricePico,
    DateTimeOffset FirstAt,
    DateTimeOffset? LastAt,
    IReadOnlyList<string> Models,
    Outcome? Outcome
);

/// <summary>Groups of tasks, and their outcomes.</summary>
public static class Groups
{
    /// <summary>
    /// Sets a group's outcome; a later report replaces an earlier one, and the same report again changes nothing. Null when the tenant has
    /// no task of that group.
    /// </summary>
    public static async Task<Outcome?> ReportAsync(
        NpgsqlDataSource database,
        TenantId tenant,
        string name,
        bool accepted,
        decimal? value,
        DateTimeOffset now,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand(
            """
            INSERT INTO groups AS g (tenant, name, accepted, value, reported_at)
            SELECT $1, $2, $3, $4, $5
            WHERE EXISTS (SELECT FROM groups WHERE tenant = $1 AND name = $2)
               OR EXISTS (SELECT FROM jobs WHERE tenant = $1 AND group_name = $2 AND queued_at IS NOT NULL)
               OR EXISTS (SELECT FROM task_groups t JOIN jobs j ON j.id = t.job
                          WHERE t.tenant = $1 AND t.name = $2 AND j.queued_at IS NOT NULL)
            ON CONFLICT (tenant, name) DO UPDATE SET
              reported_at = CASE WHEN (g.accepted, g.value) IS NOT DISTINCT FROM (excluded.accepted, excluded.value)
                                 THEN g.reported_at ELSE excluded.reported_at END,
              accepted = excluded.accepted, value = excluded.value
            RETURNING accepted, value, reported_at
            """
        );
        command.Parameters.Add(new() { Value = tenant.Value });
        command.Parameters.Add(new() { Value = name });
        command.Parameters.Add(new() { Value = accepted });
        command.Parameters.Add(new() { Value = (object?)value ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Numeric });
        command.Parameters.Add(new() { Value = now.ToUniversalTime(), NpgsqlDbType = NpgsqlDbType.TimestampTz });
        await using var reader = await command.ExecuteReaderAsync(stop);
        return await reader.ReadAsync(stop) ? ReadOutcome(reader, 0) : null;
    }

    /// <summary>Sums a group up; null when the tenant has no task of it. It takes as long as its tasks are many.</summary>
    public static async Task<GroupSums?> FindAsync(
        NpgsqlDataSource database,
        TenantId tenant,
        string name,
        CancellationToken stop = default
    )
    {
        return await FindAsync(database, FindRemovedSql, tenant, name, stop) ?? await FindAsync(database, FindSql, tenant, name, stop);
    }

    private static async Task<GroupSums?> FindAsync(
        NpgsqlDataSource database,
        string sql,
        TenantId tenant,
        string name,
        CancellationToken stop
    )
    {
        await using var command = database.CreateCommand(sql);
        command.CommandTimeout = 0;
        command.Parameters.Add(new() { Value = tenant.Value });
        command.Parameters.Add(new() { Value = name });
        await using var reader = await command.ExecuteReaderAsync(stop);
        if (!await reader.ReadAsync(stop))
        {
            return null;
        }

        return new GroupSums(
            reader.GetInt64(0),
            reader.GetInt64(1),
            reader.GetInt64(0) - reader.GetInt64(2),
            reader.GetInt64(3),
            reader.GetDecimal(4),
            reader.GetDecimal(5),
            reader.GetFieldValue<DateTimeOffset>(6),
            await reader.IsDBNullAsync(7, stop) ? null : reader.GetFieldValue<DateTimeOffset>(7),
            reader.GetFieldValue<string[]>(8),
            await reader.IsDBNullAsync(9, stop) ? null : ReadOutcome(reader, 9)
        );
    }

    private static Outcome ReadOutcome(NpgsqlDataReader reader, int first) =>
        new(
            reader.GetBoolean(first),
            reader.IsDBNull(first + 1) ? null : reader.GetDecimal(first + 1),
            reader.GetFieldValue<DateTimeOffset>(first + 2)
        );

    /// <summary>
    /// Of a group with a job whose results are no longer kept: what the rollups have of it, in the same columns. They trail by a second or so,
    /// in which an ended task counts as pending.
    /// </summary>
    private const string FindRemovedSql = """
        WITH members AS (
          SELECT j.id, j.outputs_removed_at, j.tasks - coalesce(
                   (SELECT sum(cardinality(t.tasks)) FROM task_groups t WHERE t.job = j.id), 0) AS tasks
          FROM jobs j WHERE j.tenant = $1 AND j.group_name = $2 AND j.queued_at IS NOT NULL
          UNION ALL
          SELECT j.id, j.outputs_removed_at, cardinality(t.tasks)
          FROM task_groups t JOIN jobs j ON j.id = t.job WHERE t.tenant = $1 AND t.name = $2 AND j.queued_at IS NOT NULL
        )
        SELECT m.tasks::bigint, g.succeeded, g.requests, g.turns, g.cost_pico, div(g.price_millionths, 1000000), g.first_at, g.last_at, g.models,
               g.accepted, g.value, g.reported_at
        FROM groups g, (SELECT sum(tasks) AS tasks FROM members) m
        WHERE g.tenant = $1 AND g.name = $2 AND g.requests > 0 AND EXISTS (SELECT FROM members WHERE outputs_removed_at IS NOT NULL)
        """;

    /// <summary>
    /// A task belongs to the group it names, else to its job's. Its chunks are those of the group's jobs and those that have tasks of the
    /// group; jobs whose body is still coming in are not counted. Results are walked by their key (<c>OFFSET 0</c>), as in <see cref="Rollups"/>.
    /// </summary>
    private const string FindSql = """
        WITH places AS MATERIALIZED (
          SELECT j.id AS job, c.no, c.first_seq, c.tasks, NULL::smallint[] AS own
          FROM jobs j JOIN chunks c ON c.job = j.id
          WHERE j.tenant = $1 AND j.group_name = $2
          UNION ALL
          SELECT t.job, t.chunk, c.first_seq, c.tasks, t.tasks
          FROM task_groups t JOIN chunks c ON c.job = t.job AND c.no = t.chunk
          WHERE t.tenant = $1 AND t.name = $2
        ), members AS MATERIALIZED (
          SELECT p.job, p.first_seq + o.task AS seq FROM places p CROSS JOIN LATERAL unnest(p.own) AS o (task)
          UNION ALL
          SELECT p.job, p.first_seq + i FROM places p CROSS JOIN LATERAL generate_series(0, p.tasks - 1) AS i
          WHERE p.own IS NULL
            AND NOT EXISTS (SELECT FROM task_groups t WHERE t.job = p.job AND t.chunk = p.no AND t.tasks @> ARRAY[i::smallint])
        )
        SELECT count(*), count(*) FILTER (WHERE r.status = 'succeeded'), count(r.status), coalesce(sum(r.turns), 0)::bigint,
               coalesce(sum(r.cost_pico), 0),
               coalesce(div(sum(r.units::numeric * j.per_million_units_pico) FILTER (WHERE r.status = 'succeeded'), 1000000), 0),
               min(j.queued_at), max(r.finished_at),
               coalesce(array_agg(DISTINCT r.model COLLATE "C" ORDER BY r.model COLLATE "C") FILTER (WHERE r.model IS NOT NULL), '{}'),
               o.accepted, o.value, o.reported_at
        FROM members m
        JOIN jobs j ON j.id = m.job AND j.queued_at IS NOT NULL
        LEFT JOIN LATERAL (
          SELECT status, turns, cost_pico, units, finished_at, model FROM results WHERE job = m.job AND seq = m.seq OFFSET 0
        ) r ON true
        LEFT JOIN groups o ON o.tenant = $1 AND o.name = $2
        GROUP BY o.accepted, o.value, o.reported_at
        """;
}
