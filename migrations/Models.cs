using System.Text;
using System.Text.Json;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>A registered model version.</summary>
public sealed class ModelRow
{
    public required string Name { get; set; }
    public required string Version { get; set; }

    /// <summary>True for the one version of a name that answers when a job names no version.</summary>
    public required bool Current { get; set; }
    public required ModelKind Kind { get; set; }

    /// <summary>The completed manifest as JSON.</summary>
    public required string Manifest { get; set; }

    /// <summary>What registration measured, as JSON.</summary>
    public string? Profile { get; set; }

    /// <summary>SHA-256 of the model file, lower-case hex.</summary>
    public required string Sha256 { get; set; }
    public required long FileBytes { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }
}

internal sealed class ModelsTable : IEntityTypeConfiguration<ModelRow>
{
    public void Configure(EntityTypeBuilder<ModelRow> builder)
    {
        builder.ToTable(
            "models",
            t =>
            {
                t.HasCheckConstraint("ck_models_kind", $"kind IN ({Words.SqlList<ModelKind>(ModelRegistry.Name)})");
                t.HasCheckConstraint("ck_models_names", "name <> '' AND version <> '' AND position('@' in name) = 0");
                t.HasCheckConstraint("ck_models_sha256", "sha256 ~ '^[0-9a-f]{64}$'");
                t.HasCheckConstraint("ck_models_file_bytes", "file_bytes >= 0");
            }
        );
        builder.HasKey(m => new { m.Name, m.Version });
        builder.HasIndex(m => m.Name, "ux_models_current").IsUnique().HasFilter("current");
        builder.Property(m => m.Manifest).HasColumnType("jsonb");
        builder.Property(m => m.Profile).HasColumnType("jsonb");
    }
}

/// <param name="Current">True for the version that answers when a job names none.</param>
public sealed record RegisteredModel(
    ModelManifest Manifest,
    ModelProfile? Profile,
    bool Current,
    string Sha256,
    long FileBytes,
    DateTimeOffset CreatedAt
);

/// <summary>Everyday SQL of the model table: put, choose the current version, read all.</summary>
public static class ModelRegistry
{
    internal static string Name(this ModelKind kind) => kind == ModelKind.Text ? "text" : "tensor";

    /// <summary>Stores a model version, in place of what had that name and version; current becomes true where asked, or where no other version is.</summary>
    /// <param name="manifest">Completed from the graph.</param>
    /// <param name="fileBytes">Size of the model file.</param>
    public static async Task PutAsync(
        NpgsqlDataSource dataSource,
        ModelManifest manifest,
        ModelProfile? profile,
        long fileBytes,
        bool makeCurrent,
        CancellationToken cancellationToken = default
    )
    {
        await using var connection = await dataSource.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        await LockNameAsync(connection, transaction, manifest.Name, cancellationToken);
        if (makeCurrent)
        {
            await ClearCurrentAsync(connection, transaction, manifest.Name, cancellationToken);
        }

        await using (
            var put = new NpgsqlCommand(
                """
                INSERT INTO models (name, version, current, kind, manifest, profile, sha256, file_bytes, created_at)
                VALUES ($1, $2, NOT EXISTS (SELECT FROM models WHERE name = $1 AND current), $3, $4, $5, $6, $7, now())
                ON CONFLICT (name, version) DO UPDATE SET
                  current = models.current OR excluded.current, kind = excluded.kind, manifest = excluded.manifest,
                  profile = excluded.profile, sha256 = excluded.sha256, file_bytes = excluded.file_bytes
                """,
                connection,
                transaction
            )
        )
        {
            var p = put.Parameters;
            p.Add(new() { Value = manifest.Name });
            p.Add(new() { Value = manifest.Version });
            p.Add(new() { Value = manifest.Kind.Name() });
            p.Add(new() { Value = manifest.ToJson(), NpgsqlDbType = NpgsqlDbType.Jsonb });
            p.Add(new() { Value = (object?)ProfileJson(profile) ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Jsonb });
            p.Add(new() { Value = manifest.Sha256 });
            p.Add(new() { Value = fileBytes });
            await put.ExecuteNonQueryAsync(cancellationToken);
        }

        await transaction.CommitAsync(cancellationToken);
    }

    /// <summary>Lets this version answer for its name. False when it is not registered; then nothing changes.</summary>
    public static async Task<bool> SetCurrentAsync(
        NpgsqlDataSource dataSource,
        ModelRef model,
        CancellationToken cancellationToken = default
    )
    {
        await using var connection = await dataSource.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        await LockNameAsync(connection, transaction, model.Name, cancellationToken);
        await ClearCurrentAsync(connection, transaction, model.Name, cancellationToken);
        await using (
            var set = new NpgsqlCommand("UPDATE models SET current = true WHERE name = $1 AND version = $2", connection, transaction)
        )
        {
            set.Parameters.Add(new() { Value = model.Name });
            set.Parameters.Add(new() { Value = model.Version });
            if (await set.ExecuteNonQueryAsync(cancellationToken) == 0)
            {
                return false;
            }
        }

        await transaction.CommitAsync(cancellationToken);
        return true;
    }

    /// <summary>Every registered version, by name and then by age.</summary>
    public static async Task<IReadOnlyList<RegisteredModel>> ReadAllAsync(
        NpgsqlDataSource dataSource,
        CancellationToken cancellationToken = default
    )
    {
        await using var command = dataSource.CreateCommand(
            """
            SELECT manifest::text, profile::text, current, sha256, file_bytes, created_at
            FROM models ORDER BY name, created_at, version
            """
        );
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        var models = new List<RegisteredModel>();
        while (await reader.ReadAsync(cancellationToken))
        {
            models.Add(
                new RegisteredModel(
                    ModelManifest.Parse(Encoding.UTF8.GetBytes(reader.GetString(0))),
                    reader.IsDBNull(1) ? null : JsonSerializer.Deserialize<ModelProfile>(reader.GetString(1), ModelManifest.Json),
                    reader.GetBoolean(2),
                    reader.GetString(3),
                    reader.GetInt64(4),
                    reader.GetFieldValue<DateTimeOffset>(5)
                )
            );
        }

        return models;
    }

    private static string? ProfileJson(ModelProfile? profile) =>
        profile is null ? null : JsonSerializer.Serialize(profile, ModelManifest.Json);

    /// <summary>One change of a name at a time: the unique index on the current version would refuse the slower of two.</summary>
    private static async Task LockNameAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        string name,
        CancellationToken cancellationToken
    )
    {
        await using var command = new NpgsqlCommand(
            "SELECT pg_advisory_xact_lock(hashtextextended('models:' || $1, 0))",
            connection,
            transaction
        );
        command.Parameters.Add(new() { Value = name });
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    private static async Task ClearCurrentAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        string name,
        CancellationToken cancellationToken
    )
    {
        await using var command = new NpgsqlCommand(
            "UPDATE models SET current = false WHERE name = $1 AND current",
            connection,
            transaction
        );
        command.Parameters.Add(new() { Value = name });
        await command.ExecuteNonQueryAsync(cancellationToken);
    }
}
