using Npgsql;
using Pipeline.Tests.Support.Servers;

namespace Pipeline.Tests.Integration.Scheduler;

/// <summary>A database that takes no connections and has lost those it had, until this is disposed.</summary>
internal sealed class DatabaseOutage : IAsyncDisposable
{
    private readonly NpgsqlConnection _beside;
    private readonly string _name;

    private DatabaseOutage(NpgsqlConnection beside, string name) => (_beside, _name) = (beside, name);

    public static async Task<DatabaseOutage> BeginAsync(TestDatabase database)
    {
        var settings = new NpgsqlConnectionStringBuilder(database.ConnectionString);
        var name = settings.Database!;
        var beside = new NpgsqlConnection(
            new NpgsqlConnectionStringBuilder(settings.ConnectionString) { Database = "postgres", Pooling = false }.ConnectionString
        );
        await beside.OpenAsync();
        var outage = new DatabaseOutage(beside, name);
        await outage.ExecuteAsync($"ALTER DATABASE {name} ALLOW_CONNECTIONS false");
        await outage.ExecuteAsync($"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        return outage;
    }

    public async ValueTask DisposeAsync()
    {
        await ExecuteAsync($"ALTER DATABASE {_name} ALLOW_CONNECTIONS true");
        await _beside.DisposeAsync();
    }

    private async Task ExecuteAsync(string sql)
    {
        await using var command = new NpgsqlCommand(sql, _beside);
        await command.ExecuteNonQueryAsync();
    }
}
