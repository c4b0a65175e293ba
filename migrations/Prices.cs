using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// The price list: what tenants are charged from a moment on, until the next row of the same class and model. A row with a model goes
/// before one without. What a job pays is fixed when it is accepted.
/// </summary>
public sealed class PriceRow
{
    public long Id { get; set; }
    public required LatencyClass Class { get; set; }

    /// <summary>Name of a model, or null for any.</summary>
    public string? Model { get; set; }
    public required DateTimeOffset ValidFrom { get; set; }

    /// <summary>Pico-USD of a million units: of a single one it would be a few, too coarse to tell prices apart.</summary>
    public required long PerMillionUnitsPico { get; set; }

    /// <summary>There is one: amounts of several could not be summed.</summary>
    public required string Currency { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }
}

internal sealed class PricesTable : IEntityTypeConfiguration<PriceRow>
{
    public void Configure(EntityTypeBuilder<PriceRow> builder)
    {
        builder.ToTable(
            "prices",
            t =>
            {
                t.HasCheckConstraint("ck_prices_class", $"class IN ({Words.SqlList<LatencyClass>(LatencyClasses.Name)})");
                t.HasCheckConstraint("ck_prices_model", "model <> ''");
                t.HasCheckConstraint("ck_prices_price", $"per_million_units_pico BETWEEN 0 AND {Prices.PerMillionUnitsPicoMax}");
                t.HasCheckConstraint("ck_prices_currency", $"currency = '{Prices.Currency}'");
            }
        );
        builder.HasKey(p => p.Id);
        builder.Property(p => p.Id).UseIdentityAlwaysColumn();

        // No end, and one row a moment: two validities cannot overlap.
        builder
            .HasIndex(
                p => new
                {
                    p.Class,
                    p.Model,
                    p.ValidFrom,
                },
                "ux_prices_valid_from"
            )
            .IsUnique()
            .AreNullsDistinct(false);
    }
}

/// <summary>Sets what tenants are charged.</summary>
public static class Prices
{
    public const string Currency = "USD";

    /// <summary>
    /// $100,000 for a million units. The dearest language models ask some $100 for a million tokens: a thousand times that is a slip of the unit.
    /// </summary>
    public const long PerMillionUnitsPicoMax = 100_000 * Cost.PicoPerUsd;

    /// <summary>How long before it holds a price must be known: longer than any instance remembers the list for.</summary>
    public static readonly TimeSpan LeadMin = TimeSpan.FromMinutes(1);

    /// <summary>
    /// Sets a price from a moment on; one that was set for the same moment is replaced. False when the moment is less than
    /// <see cref="LeadMin"/> ahead, by the server's clock.
    /// </summary>
    public static async Task<bool> SetAsync(
        NpgsqlDataSource database,
        LatencyClass latencyClass,
        string? model,
        DateTimeOffset validFrom,
        long perMillionUnitsPico,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand(
            """
            INSERT INTO prices (class, model, valid_from, per_million_units_pico, currency, created_at)
            SELECT $1, $2, $3, $4, 'USD', now() WHERE $3 >= now() + $5
            ON CONFLICT (class, model, valid_from)
            DO UPDATE SET per_million_units_pico = excluded.per_million_units_pico, created_at = now()
            """
        );
        command.Parameters.Add(new() { Value = latencyClass.Name() });
        command.Parameters.Add(new() { Value = (object?)model ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text });
        command.Parameters.Add(new() { Value = validFrom.ToUniversalTime(), NpgsqlDbType = NpgsqlDbType.TimestampTz });
        command.Parameters.Add(new() { Value = perMillionUnitsPico });
        command.Parameters.Add(new() { Value = LeadMin });
        return await command.ExecuteNonQueryAsync(stop) > 0;
    }

    /// <summary>The whole list.</summary>
    public static async Task<IReadOnlyList<PriceRow>> ReadAllAsync(NpgsqlDataSource database, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            "SELECT id, class, model, valid_from, per_million_units_pico, currency, created_at FROM prices ORDER BY class, model, valid_from"
        );
        await using var reader = await command.ExecuteReaderAsync(stop);
        var rows = new List<PriceRow>();
        while (await reader.ReadAsync(stop))
        {
            rows.Add(
                new PriceRow
                {
                    Id = reader.GetInt64(0),
                    Class = Words.Parse<LatencyClass>(reader.GetString(1), LatencyClasses.Name),
                    Model = await reader.IsDBNullAsync(2, stop) ? null : reader.GetString(2),
                    ValidFrom = await reader.GetFieldValueAsync<DateTimeOffset>(3, stop),
                    PerMillionUnitsPico = reader.GetInt64(4),
                    Currency = reader.GetString(5),
                    CreatedAt = await reader.GetFieldValueAsync<DateTimeOffset>(6, stop),
                }
            );
        }

        return rows;
    }
}
