using System.Reflection;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Migrations;
using Microsoft.Extensions.Logging;
using Npgsql;
using Pipeline.Hosting;

namespace Pipeline.Migrations;

/// <summary>
/// Brings a database to the newest schema: waits for the server, makes the database if it is missing, lets one migrator work at a time,
/// applies what is missing, and makes result partitions ahead. Running it twice, or from several processes at once, changes nothing more.
/// </summary>
public static partial class Migrator
{
    /// <param name="connectionString">An Npgsql connection string.</param>
    /// <param name="wait">How long to wait for a server that does not answer yet.</param>
    /// <exception cref="ServerUnavailableException">The server did not answer in time, or refused; the message has its address.</exception>
    public static async Task MigrateAsync(
        string connectionString,
        ILogger logger,
        TimeSpan wait,
        CancellationToken cancellationToken = default
    )
    {
        await WaitAsync(new(connectionString), logger, wait, cancellationToken);
        await using var dataSource = Storage.ForSetup(connectionString);
        await using var gate = await dataSource.OpenConnectionAsync(cancellationToken);

        // A session's lock on its own connection: it outlives the transactions of the migrations, and falls with the process.
        await ExecuteAsync(gate, "SELECT pg_advisory_lock(hashtextextended('pipeline migrations', 0))", cancellationToken);
        try
        {
            if (!await IsNewestAsync(gate, cancellationToken))
            {
                await ApplyAsync(dataSource, logger, cancellationToken);
            }

            var yesterday = DateOnly.FromDateTime(DateTime.UtcNow).AddDays(-1);
            var made = await Partitions.EnsureAheadAsync(dataSource, yesterday, Partitions.DaysAhead + 2, cancellationToken);
            LogReady(logger, gate.Database, made.Count);
        }
        finally
        {
            await ExecuteAsync(gate, "SELECT pg_advisory_unlock(hashtextextended('pipeline migrations', 0))", CancellationToken.None);
        }
    }

    /// <summary>
    /// True when the database has every migration of this program. Entity Framework finds that out as well, but makes itself ready for
    /// more first, which takes a start three seconds.
    /// </summary>
    private static async Task<bool> IsNewestAsync(NpgsqlConnection gate, CancellationToken cancellationToken)
    {
        const string History = $"\"{HistoryRepository.DefaultTableName}\"";
        await using var known = new NpgsqlCommand($"SELECT to_regclass('{History}') IS NOT NULL", gate);
        if (await known.ExecuteScalarAsync(cancellationToken) is not true)
        {
            return false;
        }

        await using var command = new NpgsqlCommand($"SELECT \"MigrationId\" FROM {History}", gate);
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        var applied = new HashSet<string>();
        while (await reader.ReadAsync(cancellationToken))
        {
            applied.Add(reader.GetString(0));
        }

        return typeof(PipelineDb)
            .Assembly.GetTypes()
            .Select(type => type.GetCustomAttribute<MigrationAttribute>()?.Id)
            .OfType<string>()
            .All(applied.Contains);
    }

    private static async Task ApplyAsync(NpgsqlDataSource dataSource, ILogger logger, CancellationToken cancellationToken)
    {
        await using var db = new PipelineDb(PipelineDb.OptionsFor(dataSource));
        foreach (var migration in await db.Database.GetPendingMigrationsAsync(cancellationToken))
        {
            LogApplying(logger, migration);
        }

        await db.Database.MigrateAsync(cancellationToken);
    }

    private static async Task WaitAsync(
        NpgsqlConnectionStringBuilder settings,
        ILogger logger,
        TimeSpan wait,
        CancellationToken cancellationToken
    )
    {
        try
        {
            await ServerWait.ForPostgresAsync(settings.ConnectionString, wait, logger, TimeProvider.System, cancellationToken);
        }
        catch (ServerUnavailableException e)
            when (e.InnerException is PostgresException { SqlState: PostgresErrorCodes.InvalidCatalogName })
        {
            await CreateDatabaseAsync(settings, logger, cancellationToken);
        }
    }

    private static async Task CreateDatabaseAsync(
        NpgsqlConnectionStringBuilder settings,
        ILogger logger,
        CancellationToken cancellationToken
    )
    {
        var name = settings.Database!;
        var elsewhere = new NpgsqlConnectionStringBuilder(settings.ConnectionString) { Database = "postgres", Pooling = false };
        await using var storage = Storage.ForSetup(elsewhere.ConnectionString);
        await using var maintenance = await storage.OpenConnectionAsync(cancellationToken);
        try
        {
            await ExecuteAsync(
                maintenance,
                $"CREATE DATABASE \"{name.Replace("\"", "\"\"", StringComparison.Ordinal)}\"",
                cancellationToken
            );
            LogCreated(logger, name);
        }
        catch (PostgresException e) when (e.SqlState is PostgresErrorCodes.DuplicateDatabase or PostgresErrorCodes.UniqueViolation)
        {
            // Another migrator was quicker.
        }
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(sql, connection) { CommandTimeout = 0 };
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    [LoggerMessage(1, LogLevel.Information, "Made the database {Database}")]
    private static partial void LogCreated(ILogger logger, string database);

    [LoggerMessage(2, LogLevel.Information, "Applying migration {Migration}")]
    private static partial void LogApplying(ILogger logger, string migration);

    [LoggerMessage(3, LogLevel.Information, "The database {Database} is at the newest schema; made {Partitions} result partitions")]
    private static partial void LogReady(ILogger logger, string database, int partitions);
}
