using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Npgsql;

namespace Pipeline.Migrations;

/// <summary>What can be held.</summary>
public enum HoldKind
{
    /// <summary>A model by its name, all versions.</summary>
    Model,
    Tenant,
    Pool,

    /// <summary>A worker process by its id: a hold lasts as long as the process.</summary>
    Worker,
}

/// <summary>Something that operators hold: the scheduler sends nothing more of it, or to it. What was sent before ends.</summary>
public sealed class HoldRow
{
    public required HoldKind Kind { get; set; }

    /// <summary>Name of the model, tenant or pool; id of the worker.</summary>
    public required string Name { get; set; }
    public required string Reason { get; set; }

    /// <summary>Who holds it.</summary>
    public required string By { get; set; }
    public required DateTimeOffset At { get; set; }
}

internal sealed class HoldsTable : IEntityTypeConfiguration<HoldRow>
{
    public void Configure(EntityTypeBuilder<HoldRow> builder)
    {
        builder.ToTable(
            "holds",
            t =>
            {
                t.HasCheckConstraint("ck_holds_kind", $"kind IN ({Words.SqlList<HoldKind>(HoldKinds.Name)})");
                t.HasCheckConstraint("ck_holds_name", "length(name) BETWEEN 1 AND 200");
                t.HasCheckConstraint("ck_holds_reason", $"length(reason) BETWEEN 1 AND {HoldKinds.ReasonLengthMax}");
            }
        );
        builder.HasKey(h => new { h.Kind, h.Name });
        builder.Property(h => h.Kind).HasConversion(kind => kind.Name(), text => HoldKinds.Parse(text));
    }
}

/// <summary>Kinds of holds by name.</summary>
public static class HoldKinds
{
    public const int ReasonLengthMax = 500;
    public static IReadOnlyList<HoldKind> All { get; } = Enum.GetValues<HoldKind>();

    public static string Name(this HoldKind kind) =>
        kind switch
        {
            HoldKind.Model => "model",
            HoldKind.Tenant => "tenant",
            HoldKind.Pool => "pool",
            _ => "worker",
        };

    public static HoldKind Parse(string text) => Words.Parse<HoldKind>(text, Name);
}

/// <summary>Sets and reads what is held.</summary>
public static class HoldStore
{
    /// <summary>Holds it; of what is held already reason and holder are replaced. False when there is no such model, tenant, pool or living worker.</summary>
    public static async Task<bool> SetAsync(NpgsqlDataSource database, HoldRow hold, CancellationToken stop = default)
    {
        var known = hold.Kind switch
        {
            HoldKind.Model => "models WHERE name = $2",
            HoldKind.Tenant => "tenants WHERE name = $2",
            HoldKind.Pool => "workers WHERE pool = $2",
            _ => "workers WHERE id::text = $2 AND ended_at IS NULL",
        };
        await using var command = database.CreateCommand(
            $"""
            INSERT INTO holds (kind, name, reason, by, at) SELECT $1, $2, $3, $4, $5 WHERE EXISTS (SELECT FROM {known})
            ON CONFLICT (kind, name) DO UPDATE SET reason = excluded.reason, by = excluded.by, at = excluded.at
            """
        );
        command.Parameters.Add(new() { Value = hold.Kind.Name() });
        command.Parameters.Add(new() { Value = hold.Name });
        command.Parameters.Add(new() { Value = hold.Reason });
        command.Parameters.Add(new() { Value = hold.By });
        command.Parameters.Add(new() { Value = hold.At.ToUniversalTime() });
        return await command.ExecuteNonQueryAsync(stop) > 0;
    }

    /// <returns>False when it was not held.</returns>
    public static async Task<bool> RemoveAsync(NpgsqlDataSource database, HoldKind kind, string name, CancellationToken stop = default)
    {
        await using var command = database.CreateCommand("DELETE FROM holds WHERE kind = $1 AND name = $2");
        command.Parameters.Add(new() { Value = kind.Name() });
        command.Parameters.Add(new() { Value = name });
        return await command.ExecuteNonQueryAsync(stop) > 0;
    }

    /// <summary>All that is held, by kind and name.</summary>
    public static async Task<IReadOnlyList<(HoldRow Hold, Guid? Tenant)>> ReadAsync(
        NpgsqlDataSource database,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand(
            """
            SELECT h.kind, h.name, h.reason, h.by, h.at, t.id
            FROM holds h LEFT JOIN tenants t ON h.kind = 'tenant' AND t.name = h.name
            ORDER BY h.kind COLLATE "C", h.name COLLATE "C"
            """
        );
        await using var reader = await command.ExecuteReaderAsync(stop);
        var holds = new List<(HoldRow, Guid?)>();
        while (await reader.ReadAsync(stop))
        {
            holds.Add(
                (
                    new HoldRow
                    {
                        Kind = HoldKinds.Parse(reader.GetString(0)),
                        Name = reader.GetString(1),
                        Reason = reader.GetString(2),
                        By = reader.GetString(3),
                        At = await reader.GetFieldValueAsync<DateTimeOffset>(4, stop),
                    },
                    await reader.IsDBNullAsync(5, stop) ? null : reader.GetGuid(5)
                )
            );
        }

        return holds;
    }
}
