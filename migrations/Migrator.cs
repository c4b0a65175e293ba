using System.Diagnostics;
using System.Net.Sockets;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace Pipeline.Migrations;

/// <summary>
/// Brings a database to the newest schema: waits for the server, makes the database if it is missing, lets one migrator work at a time,
/// applies what is missing, and makes result partitions ahead. Running it twice, or from several processes at once, changes nothing more.
/// </summary>
public static partial class Migrator
{
    private static readonly TimeSpan RetryAfter = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan SayAgainAfter = TimeSpan.FromSeconds(5);

    /// <param name="connectionString">An Npgsql connection string.</param>
    /// <param name="wait">How long to wait for a server that does not answer yet.</param>
    /// <exception cref="TimeoutException">The server did not answer in time; the message has its address.</exception>
    public static async Task MigrateAsync(
        string connectionString,
        ILogger logger,
        TimeSpan wait,
        CancellationToken cancellationToken = default
    )
    {
        await using var dataSource = NpgsqlDataSource.Create(connectionString);
        await using var gate = await OpenAsync(dataSource, new(connectionString), logger, wait, cancellationToken);

        // A session's lock on its own connection: it outlives the transactions of the migrations, and falls with the process.
        await ExecuteAsync(gate, "SELECT pg_advisory_lock(hashtextextended('pipeline migrations', 0))", cancellationToken);
        try
        {
            await ApplyAsync(dataSource, logger, cancellationToken);
            var yesterday = DateOnly.FromDateTime(DateTime.UtcNow).AddDays(-1);
            var made = await Partitions.EnsureAheadAsync(dataSource, yesterday, Partitions.DaysAhead + 2, cancellationToken);
            LogReady(logger, gate.Database, made.Count);
        }
        finally
        {
            await ExecuteAsync(gate, "SELECT pg_advisory_unlock(hashtextextended('pipeline migrations', 0))", CancellationToken.None);
        }
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

    private static async Task<NpgsqlConnection> OpenAsync(
        NpgsqlDataSource dataSource,
        NpgsqlConnectionStringBuilder settings,
        ILogger logger,
        TimeSpan wait,
        CancellationToken cancellationToken
    )
    {
        var clock = Stopwatch.StartNew();
        TimeSpan? said = null;
        while (true)
        {
            try
            {
                return await dataSource.OpenConnectionAsync(cancellationToken);
            }
            catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.InvalidCatalogName)
            {
                await CreateDatabaseAsync(settings, logger, cancellationToken);
            }
            catch (NpgsqlException e) when (IsNotUpYet(e))
            {
                var address = $"{settings.Host}:{settings.Port}";
                if (clock.Elapsed >= wait)
                {
                    throw new TimeoutException($"PostgreSQL at {address} did not answer within {wait.TotalSeconds:0.#} s: {e.Message}", e);
                }

                if (said is null || clock.Elapsed - said > SayAgainAfter)
                {
                    said = clock.Elapsed;
                    LogWaiting(logger, address, (wait - clock.Elapsed).TotalSeconds);
                }

                await Task.Delay(RetryAfter, cancellationToken);
            }
        }
    }

    /// <summary>True while a server may still be starting: nobody listens, or it says that it is not ready. A wrong password is final.</summary>
    private static bool IsNotUpYet(NpgsqlException e) =>
        e is PostgresException p
            ? p.SqlState is PostgresErrorCodes.CannotConnectNow or PostgresErrorCodes.TooManyConnections
            : e.InnerException is SocketException or TimeoutException or IOException;

    private static async Task CreateDatabaseAsync(
        NpgsqlConnectionStringBuilder settings,
        ILogger logger,
        CancellationToken cancellationToken
    )
    {
        var name = settings.Database!;
        var elsewhere = new NpgsqlConnectionStringBuilder(settings.ConnectionString) { Database = "postgres", Pooling = false };
        await using var maintenance = new NpgsqlConnection(elsewhere.ConnectionString);
        await maintenance.OpenAsync(cancellationToken);
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

    [LoggerMessage(1, LogLevel.Information, "Waiting for PostgreSQL at {Address}, {Seconds:F0} s more")]
    private static partial void LogWaiting(ILogger logger, string address, double seconds);

    [LoggerMessage(2, LogLevel.Information, "Made the database {Database}")]
    private static partial void LogCreated(ILogger logger, string database);

    [LoggerMessage(3, LogLevel.Information, "Applying migration {Migration}")]
    private static partial void LogApplying(ILogger logger, string migration);

    [LoggerMessage(4, LogLevel.Information, "The database {Database} is at the newest schema; made {Partitions} result partitions")]
    private static partial void LogReady(ILogger logger, string database, int partitions);
}
