using System.Reflection;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
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
            var applied = await AppliedAsync(gate, cancellationToken);
            if (applied is null)
            {
                await MakeAsync(gate, logger, cancellationToken);
            }
            else if (!All().All(applied.Contains))
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
    /// All migrations as SQL, for an empty database and one transaction; <c>schema.sql</c> is this text. What a release builds
    /// <c>CONCURRENTLY</c>, so that others go on, is here built as the transaction wants it: there are no others.
    /// </summary>
    public static string Script()
    {
        using var db = new PipelineDbDesignTimeFactory().CreateDbContext([]);
        var sql = db.GetService<IMigrator>().GenerateScript(options: MigrationsSqlGenerationOptions.NoTransactions);
        return "-- Made from the migrations by `migrate script > schema.sql`: the newest schema, for an empty database and one transaction.\n\n"
            + sql.Replace(" CONCURRENTLY", "", StringComparison.Ordinal);
    }

    /// <summary>The migrations that the database has; null when it has never had one.</summary>
    private static async Task<HashSet<string>?> AppliedAsync(NpgsqlConnection gate, CancellationToken cancellationToken)
    {
        const string History = $"\"{HistoryRepository.DefaultTableName}\"";
        await using var known = new NpgsqlCommand($"SELECT to_regclass('{History}') IS NOT NULL", gate);
        if (await known.ExecuteScalarAsync(cancellationToken) is not true)
        {
            return null;
        }

        await using var command = new NpgsqlCommand($"SELECT \"MigrationId\" FROM {History}", gate);
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        var applied = new HashSet<string>();
        while (await reader.ReadAsync(cancellationToken))
        {
            applied.Add(reader.GetString(0));
        }

        return applied;
    }

    private static IEnumerable<string> All() =>
        typeof(PipelineDb).Assembly.GetTypes().Select(type => type.GetCustomAttribute<MigrationAttribute>()?.Id).OfType<string>();

    /// <summary>
    /// Makes the newest schema where there is none. Entity Framework would run the same statements, once it had compiled the models of all
    /// releases, which takes the first start of a host five seconds.
    /// </summary>
    private static async Task MakeAsync(NpgsqlConnection gate, ILogger logger, CancellationToken cancellationToken)
    {
        LogMaking(logger);
        await using var stream = typeof(Migrator).Assembly.GetManifestResourceStream("schema.sql")!;
        using var reader = new StreamReader(stream);
        var schema = await reader.ReadToEndAsync(cancellationToken);
        await using var transaction = await gate.BeginTransactionAsync(cancellationToken);
        await ExecuteAsync(gate, schema, cancellationToken);
        await transaction.CommitAsync(cancellationToken);
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

    [LoggerMessage(4, LogLevel.Information, "Making the schema")]
    private static partial void LogMaking(ILogger logger);

    [LoggerMessage(3, LogLevel.Information, "The database {Database} is at the newest schema; made {Partitions} result partitions")]
    private static partial void LogReady(ILogger logger, string database, int partitions);
}
