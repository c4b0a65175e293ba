using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// What an hour of a device of a pool costs from a moment on, until the pool's next row. There is no end, so two cannot overlap. Before a
/// pool's first row the price holds that its workers were configured with.
/// </summary>
public sealed class PoolPriceRow
{
    public required string Pool { get; set; }
    public required DateTimeOffset ValidFrom { get; set; }
    public required long PricePerHourPico { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }
}

internal sealed class PoolPricesTable : IEntityTypeConfiguration<PoolPriceRow>
{
    public void Configure(EntityTypeBuilder<PoolPriceRow> builder)
    {
        builder.ToTable(
            "pool_prices",
            t =>
            {
                t.HasCheckConstraint("ck_pool_prices_pool", "pool <> ''");
                t.HasCheckConstraint("ck_pool_prices_price", $"price_per_hour_pico BETWEEN 0 AND {PoolPrices.PerHourPicoMax}");

                // A worker's clock counts nanoseconds in a bigint, 292 years: further away a moment has no place on it.
                t.HasCheckConstraint("ck_pool_prices_valid_from", "valid_from >= '2000-01-01 00:00Z' AND valid_from < '2200-01-01 00:00Z'");
            }
        );
        builder.HasKey(p => new { p.Pool, p.ValidFrom });
    }
}

/// <summary>Sets pool prices, and reads what they mean on a worker's clock.</summary>
public static class PoolPrices
{
    /// <summary>
    /// $10,000 an hour. The dearest machines one can rent, with eight GPUs, cost some $100: a hundred times that is a slip of the unit.
    /// </summary>
    public const long PerHourPicoMax = 10_000 * Cost.PicoPerUsd;

    /// <summary>
    /// How long before it holds a price must be known. What is booked is never priced anew, so a price that begins earlier than a worker's
    /// last commit would leave its books open; a minute is more than clocks of servers differ, and than a commit takes.
    /// </summary>
    public static readonly TimeSpan LeadMin = TimeSpan.FromMinutes(1);

    /// <summary>The SELECT of a worker's prices, <c>{{from ns, pico-USD an hour}, …}</c>, for a row <c>w</c> of <c>workers</c>.</summary>
    public const string OfWorkerSql = """
        (SELECT array_agg(ARRAY[s.from_ns, s.price_per_hour_pico] ORDER BY s.from_ns)
         FROM device_prices(w.pool, w.started_at, w.price_per_hour_pico) AS s)
        """;

    /// <summary>Reads what <see cref="OfWorkerSql"/> gave.</summary>
    public static DevicePrices Read(object rows)
    {
        var array = (long[,])rows;
        var steps = new PriceStep[array.GetLength(0)];
        for (var i = 0; i < steps.Length; i++)
        {
            steps[i] = new PriceStep(array[i, 0], array[i, 1]);
        }

        return new DevicePrices(steps);
    }

    /// <summary>
    /// Sets a pool's price from a moment on; one that was set for the same moment is replaced. False when the moment is less than
    /// <see cref="LeadMin"/> ahead, by the server's clock.
    /// </summary>
    public static async Task<bool> SetAsync(
        NpgsqlDataSource database,
        string pool,
        DateTimeOffset validFrom,
        long pricePerHourPico,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand(
            """
            INSERT INTO pool_prices (pool, valid_from, price_per_hour_pico, created_at)
            SELECT $1, $2, $3, now() WHERE $2 >= now() + $4
            ON CONFLICT (pool, valid_from) DO UPDATE SET price_per_hour_pico = excluded.price_per_hour_pico, created_at = now()
            """
        );
        command.Parameters.Add(new() { Value = pool });
        command.Parameters.Add(new() { Value = validFrom.ToUniversalTime(), NpgsqlDbType = NpgsqlDbType.TimestampTz });
        command.Parameters.Add(new() { Value = pricePerHourPico });
        command.Parameters.Add(new() { Value = LeadMin });
        return await command.ExecuteNonQueryAsync(stop) > 0;
    }
}
