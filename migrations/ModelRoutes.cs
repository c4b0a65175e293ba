using System.Text.Json;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>A version of a route. The newest of a name answers; jobs keep a copy of the one they were accepted with.</summary>
public sealed class RouteRow
{
    public required string Name { get; set; }
    public required int Version { get; set; }

    /// <summary>The list of <see cref="RouteVariant"/>, as JSON.</summary>
    public required string Variants { get; set; }

    /// <summary>What was last measured of it, as <see cref="RouteQuality"/> in JSON; null until then.</summary>
    public string? Quality { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }
}

internal sealed class RoutesTable : IEntityTypeConfiguration<RouteRow>
{
    public void Configure(EntityTypeBuilder<RouteRow> builder)
    {
        builder.ToTable(
            "routes",
            t =>
            {
                t.HasCheckConstraint("ck_routes_name", "name <> '' AND position('@' in name) = 0 AND version >= 1");
                t.HasCheckConstraint("ck_routes_variants", "jsonb_array_length(variants) >= 2");
            }
        );
        builder.HasKey(r => new { r.Name, r.Version });
        builder.Property(r => r.Variants).HasColumnType("jsonb");
        builder.Property(r => r.Quality).HasColumnType("jsonb");
    }
}

/// <summary>A route as it is stored.</summary>
public sealed record StoredRoute(ModelRoute Route, DateTimeOffset CreatedAt, RouteQuality? Quality = null);

/// <summary>Everyday SQL of the table of routes: put, keep what was measured, and read all.</summary>
public static class ModelRoutes
{
    private const string Columns = "name, version, variants::text, created_at, quality::text";

    /// <summary>Stores a list of variants under a name: as a new version, unless the newest is the same.</summary>
    /// <returns>The newest version now.</returns>
    public static async Task<StoredRoute> PutAsync(
        NpgsqlDataSource database,
        string name,
        IReadOnlyList<RouteVariant> variants,
        CancellationToken stop = default
    )
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var transaction = await connection.BeginTransactionAsync(stop);
        // One change of a name at a time: of two at once each would take the same version.
        await using (
            var lockName = new NpgsqlCommand("SELECT pg_advisory_xact_lock(hashtextextended('routes:' || $1, 0))", connection, transaction)
        )
        {
            lockName.Parameters.Add(new() { Value = name });
            await lockName.ExecuteNonQueryAsync(stop);
        }

        await using var put = new NpgsqlCommand(
            """
            WITH newest AS (
              SELECT version, variants, created_at, quality FROM routes WHERE name = $1 ORDER BY version DESC LIMIT 1
            ), added AS (
              INSERT INTO routes (name, version, variants, created_at)
              SELECT $1, coalesce((SELECT version FROM newest), 0) + 1, $2, now()
              WHERE NOT EXISTS (SELECT FROM newest WHERE variants = $2)
              RETURNING version, created_at
            )
            SELECT version, created_at, NULL FROM added
            UNION ALL SELECT version, created_at, quality::text FROM newest ORDER BY version DESC LIMIT 1
            """,
            connection,
            transaction
        );
        put.Parameters.Add(new() { Value = name });
        put.Parameters.Add(new() { Value = JsonSerializer.Serialize(variants, ModelRoute.Json), NpgsqlDbType = NpgsqlDbType.Jsonb });
        StoredRoute stored;
        await using (var reader = await put.ExecuteReaderAsync(stop))
        {
            await reader.ReadAsync(stop);
            var quality = reader.IsDBNull(2) ? null : JsonSerializer.Deserialize<RouteQuality>(reader.GetString(2), ModelRoute.Json);
            stored = new StoredRoute(new ModelRoute(name, reader.GetInt32(0), variants), reader.GetFieldValue<DateTimeOffset>(1), quality);
        }

        await transaction.CommitAsync(stop);
        return stored;
    }

    /// <summary>Keeps what was measured of a version, in place of what was measured before. False where there is no such version.</summary>
    public static async Task<bool> SetQualityAsync(
        NpgsqlDataSource database,
        string name,
        int version,
        RouteQuality quality,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand("UPDATE routes SET quality = $3 WHERE name = $1 AND version = $2");
        command.Parameters.Add(new() { Value = name });
        command.Parameters.Add(new() { Value = version });
        command.Parameters.Add(new() { Value = JsonSerializer.Serialize(quality, ModelRoute.Json), NpgsqlDbType = NpgsqlDbType.Jsonb });
        return await command.ExecuteNonQueryAsync(stop) > 0;
    }

    /// <summary>The newest version of every route, by name.</summary>
    public static async Task<IReadOnlyList<StoredRoute>> ReadAllAsync(NpgsqlDataSource database, CancellationToken stop = default)
    {
        await using var command = database.CreateCommand($"SELECT DISTINCT ON (name) {Columns} FROM routes ORDER BY name, version DESC");
        return await ReadAsync(command, stop);
    }

    /// <summary>Every version of a route, newest first.</summary>
    public static async Task<IReadOnlyList<StoredRoute>> ReadVersionsAsync(
        NpgsqlDataSource database,
        string name,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand($"SELECT {Columns} FROM routes WHERE name = $1 ORDER BY version DESC");
        command.Parameters.Add(new() { Value = name });
        return await ReadAsync(command, stop);
    }

    private static async Task<List<StoredRoute>> ReadAsync(NpgsqlCommand command, CancellationToken stop)
    {
        await using var reader = await command.ExecuteReaderAsync(stop);
        var routes = new List<StoredRoute>();
        while (await reader.ReadAsync(stop))
        {
            var variants = JsonSerializer.Deserialize<IReadOnlyList<RouteVariant>>(reader.GetString(2), ModelRoute.Json)!;
            var quality = reader.IsDBNull(4) ? null : JsonSerializer.Deserialize<RouteQuality>(reader.GetString(4), ModelRoute.Json);
            var route = new ModelRoute(reader.GetString(0), reader.GetInt32(1), variants);
            routes.Add(new StoredRoute(route, reader.GetFieldValue<DateTimeOffset>(3), quality));
        }

        return routes;
    }
}
