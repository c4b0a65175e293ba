using Npgsql;
using NpgsqlTypes;

namespace Pipeline.Migrations;

/// <summary>
/// What one API key may ask of the express path, where that is not what ingest's options say for all: requests a second, so many at once
/// after a pause, and so many at the same time. Null stands for the option; of a burst beside a rate, for as many seconds' worth of it.
/// </summary>
public sealed record ApiKeyLimits(int? RatePerSecond, int? BurstMax, int? ConcurrentMax)
{
    /// <summary>Of each of them; the options have the same.</summary>
    public const int Most = 1_000_000;

    internal const string HasAny = "rate_per_second IS NOT NULL OR burst_max IS NOT NULL OR concurrent_max IS NOT NULL";

    /// <summary>The limits of every key that has some, by the key's id.</summary>
    public static async Task<IReadOnlyDictionary<Guid, ApiKeyLimits>> ReadAllAsync(
        NpgsqlDataSource database,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand(
            $"SELECT id, rate_per_second, burst_max, concurrent_max FROM api_keys WHERE {HasAny}"
        );
        await using var reader = await command.ExecuteReaderAsync(stop);
        var all = new Dictionary<Guid, ApiKeyLimits>();
        while (await reader.ReadAsync(stop))
        {
            all[reader.GetGuid(0)] = Read(reader, 1);
        }

        return all;
    }

    /// <summary>Those of a valid key of the tenant; null where there is no such key.</summary>
    /// <param name="key">As for <see cref="SetAsync"/>.</param>
    public static async Task<ApiKeyLimits?> FindAsync(
        NpgsqlDataSource database,
        string tenant,
        string key,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand(
            """
            SELECT k.rate_per_second, k.burst_max, k.concurrent_max FROM api_keys k JOIN tenants t ON t.id = k.tenant
            WHERE t.name = $1 AND k.prefix = $2 AND k.revoked_at IS NULL
            """
        );
        command.Parameters.Add(new() { Value = tenant });
        command.Parameters.Add(new() { Value = key });
        await using var reader = await command.ExecuteReaderAsync(stop);
        return await reader.ReadAsync(stop) ? Read(reader, 0) : null;
    }

    /// <summary>Sets all three of a valid key of the tenant, from now on. False when there is no such key.</summary>
    /// <param name="key">The characters that it is told apart by (<see cref="ApiKeyRow.Prefix"/>): its text is nobody's to send around.</param>
    public static async Task<bool> SetAsync(
        NpgsqlDataSource database,
        string tenant,
        string key,
        ApiKeyLimits limits,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand(
            """
            UPDATE api_keys k SET rate_per_second = $3, burst_max = $4, concurrent_max = $5
            FROM tenants t WHERE t.name = $1 AND k.tenant = t.id AND k.prefix = $2 AND k.revoked_at IS NULL
            """
        );
        command.Parameters.Add(new() { Value = tenant });
        command.Parameters.Add(new() { Value = key });
        foreach (var limit in new[] { limits.RatePerSecond, limits.BurstMax, limits.ConcurrentMax })
        {
            command.Parameters.Add(new() { Value = (object?)limit ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Integer });
        }

        return await command.ExecuteNonQueryAsync(stop) > 0;
    }

    /// <summary>Reads the three from columns that follow one another.</summary>
    public static ApiKeyLimits Read(NpgsqlDataReader reader, int first)
    {
        return new(Limit(first), Limit(first + 1), Limit(first + 2));

        int? Limit(int column) => reader.IsDBNull(column) ? null : reader.GetInt32(column);
    }
}
