using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Npgsql;

namespace Pipeline.Migrations;

/// <summary>
/// Time that reports leave out, such as announced maintenance: what ended in it counts for no figure. It is never removed, only withdrawn, so
/// that it can be told why an older report says something else.
/// </summary>
public sealed class SlaExclusionRow
{
    public required Guid Id { get; set; }

    /// <summary>Whole minutes; the end is not in it.</summary>
    public required DateTimeOffset FromAt { get; set; }
    public required DateTimeOffset ToAt { get; set; }
    public required string Reason { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }
    public DateTimeOffset? WithdrawnAt { get; set; }
}

internal sealed class SlaExclusionsTable : IEntityTypeConfiguration<SlaExclusionRow>
{
    public void Configure(EntityTypeBuilder<SlaExclusionRow> builder)
    {
        builder.ToTable(
            "sla_exclusions",
            t =>
            {
                t.HasCheckConstraint(
                    "ck_sla_exclusions_minutes",
                    "from_at < to_at AND extract(second FROM from_at) = 0 AND extract(second FROM to_at) = 0"
                );
                t.HasCheckConstraint("ck_sla_exclusions_reason", "reason <> ''");
            }
        );
        builder.HasKey(e => e.Id);
        builder.HasIndex(e => e.FromAt, "ix_sla_exclusions_from_at");
    }
}

/// <summary>Adds, reads and withdraws exclusions.</summary>
public static class SlaExclusions
{
    private const string Columns = "id, from_at, to_at, reason, created_at, withdrawn_at";

    /// <summary>Those in force that touch a window, in order of time.</summary>
    public static async Task<List<SlaExclusionRow>> ReadAsync(
        NpgsqlConnection connection,
        DateTimeOffset from,
        DateTimeOffset to,
        CancellationToken stop = default
    )
    {
        await using var command = new NpgsqlCommand(
            $"""
            SELECT {Columns} FROM sla_exclusions
            WHERE from_at < $2 AND to_at > $1 AND withdrawn_at IS NULL ORDER BY from_at, to_at, id
            """,
            connection
        );
        command.Parameters.Add(SlaStore.Moment(from));
        command.Parameters.Add(SlaStore.Moment(to));
        return await ReadAllAsync(command, stop);
    }

    /// <summary>All there are, withdrawn ones too, newest first: a page of them after an id.</summary>
    public static async Task<List<SlaExclusionRow>> ListAsync(
        NpgsqlDataSource database,
        Guid? after,
        int limit,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand(
            $"SELECT {Columns} FROM sla_exclusions WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2"
        );
        command.Parameters.Add(new() { Value = (object?)after ?? DBNull.Value, NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.Uuid });
        command.Parameters.Add(new() { Value = limit });
        return await ReadAllAsync(command, stop);
    }

    public static async Task<SlaExclusionRow?> FindAsync(NpgsqlDataSource database, Guid id, CancellationToken stop = default)
    {
        await using var command = database.CreateCommand($"SELECT {Columns} FROM sla_exclusions WHERE id = $1");
        command.Parameters.Add(new() { Value = id });
        return (await ReadAllAsync(command, stop)).SingleOrDefault();
    }

    /// <param name="from">Its beginning, and <paramref name="to"/> its end: whole minutes.</param>
    public static async Task<SlaExclusionRow> AddAsync(
        NpgsqlDataSource database,
        DateTimeOffset from,
        DateTimeOffset to,
        string reason,
        DateTimeOffset now,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand(
            $"INSERT INTO sla_exclusions (id, from_at, to_at, reason, created_at) VALUES ($1, $2, $3, $4, $5) RETURNING {Columns}"
        );
        command.Parameters.Add(new() { Value = Guid.CreateVersion7(now) });
        command.Parameters.Add(SlaStore.Moment(from));
        command.Parameters.Add(SlaStore.Moment(to));
        command.Parameters.Add(new() { Value = reason });
        command.Parameters.Add(SlaStore.Moment(now));
        return (await ReadAllAsync(command, stop)).Single();
    }

    /// <summary>Withdraws one; again, it stays as it is. Null where there is none of that id.</summary>
    public static async Task<SlaExclusionRow?> WithdrawAsync(
        NpgsqlDataSource database,
        Guid id,
        DateTimeOffset now,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand(
            $"UPDATE sla_exclusions SET withdrawn_at = coalesce(withdrawn_at, $2) WHERE id = $1 RETURNING {Columns}"
        );
        command.Parameters.Add(new() { Value = id });
        command.Parameters.Add(SlaStore.Moment(now));
        return (await ReadAllAsync(command, stop)).SingleOrDefault();
    }

    private static async Task<List<SlaExclusionRow>> ReadAllAsync(NpgsqlCommand command, CancellationToken stop)
    {
        await using var reader = await command.ExecuteReaderAsync(stop);
        var rows = new List<SlaExclusionRow>();
        while (await reader.ReadAsync(stop))
        {
            rows.Add(
                new SlaExclusionRow
                {
                    Id = reader.GetGuid(0),
                    FromAt = reader.GetFieldValue<DateTimeOffset>(1),
                    ToAt = reader.GetFieldValue<DateTimeOffset>(2),
                    Reason = reader.GetString(3),
                    CreatedAt = reader.GetFieldValue<DateTimeOffset>(4),
                    WithdrawnAt = reader.IsDBNull(5) ? null : reader.GetFieldValue<DateTimeOffset>(5),
                }
            );
        }

        return rows;
    }
}
