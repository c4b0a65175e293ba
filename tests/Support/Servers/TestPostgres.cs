using System.Collections.Concurrent;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Pipeline.Migrations;
using Pipeline.Standalone;
using Xunit;

namespace Pipeline.Tests.Support.Servers;

/// <summary>
/// One PostgreSQL for the test process, started when the first test asks, and a fresh migrated database for whoever wants one: one that an
/// earlier test is done with and that was emptied (<see cref="EmptyAgain"/>), else a copy of a template. The environment variable
/// <see cref="Variable"/> names a server to use instead.
/// </summary>
public static class TestPostgres
{
    /// <summary>Connection string of a server that may make databases.</summary>
    public const string Variable = "PIPELINE_TEST_POSTGRES";

    private static readonly Lazy<Task<NpgsqlConnectionStringBuilder>> Server = new(StartAsync);
    private static readonly Lazy<Task<string>> Template = new(MakeTemplateAsync);
    private static readonly Lazy<Task<EmptyAgain>> Emptying = new(async () =>
        await EmptyAgain.ReadAsync(await ServerAsync(await TemplateAsync()))
    );
    private static readonly ConcurrentBag<string> Emptied = [];
    private static Watchdog? _watchdog;

    /// <summary>A database of the caller's own, at the newest schema and empty. Skips the test where there is no PostgreSQL.</summary>
    public static async Task<TestDatabase> CreateDatabaseAsync()
    {
        if (Emptied.TryTake(out var name))
        {
            return await OpenAsync(name, isMigrated: true);
        }

        // The template is read before a copy is first wanted: a connection to it would be in the copy's way.
        await Emptying.Value;
        return await CreateAsync($" TEMPLATE {await TemplateAsync()} STRATEGY FILE_COPY", isMigrated: true);
    }

    /// <summary>A database without any table.</summary>
    public static async Task<TestDatabase> CreateEmptyDatabaseAsync() => await CreateAsync("", isMigrated: false);

    /// <summary>Takes a database back: for another test, where it can be made as good as new, else away with it.</summary>
    internal static async Task TakeBackAsync(string name, bool isMigrated)
    {
        if (isMigrated)
        {
            // Under another name: who still has the old one, and would write, finds nothing.
            var next = NewName();
            if (await (await Emptying.Value).TryAsync(await ServerAsync("postgres"), name, next))
            {
                Emptied.Add(next);
                return;
            }

            await ExecuteAsync($"DROP DATABASE IF EXISTS {next} WITH (FORCE)");
        }

        await ExecuteAsync($"DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    }

    internal static async Task ExecuteAsync(string sql)
    {
        await using var connection = new NpgsqlConnection((await ServerAsync("postgres")).ConnectionString);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync();
    }

    private static async Task<TestDatabase> CreateAsync(string template, bool isMigrated)
    {
        var name = NewName();
        await ServerAsync(name);
        await ExecuteAsync($"CREATE DATABASE {name}{template}");
        return await OpenAsync(name, isMigrated);
    }

    private static async Task<TestDatabase> OpenAsync(string name, bool isMigrated)
    {
        var settings = await ServerAsync(name);
        settings.Pooling = true;
        settings.IncludeErrorDetail = true;
        settings.MaxPoolSize = 20;
        return new TestDatabase(name, settings.ConnectionString, isMigrated);
    }

    private static string NewName() => $"test_{Guid.NewGuid():N}";

    private static async Task<NpgsqlConnectionStringBuilder> ServerAsync(string database)
    {
        try
        {
            return new((await Server.Value).ConnectionString) { Database = database, Pooling = false };
        }
        catch (InvalidOperationException e)
        {
            Assert.Skip($"No PostgreSQL for this test: {e.Message} (Debian: apt-get install postgresql; or set {Variable}.)");
            throw;
        }
    }

    private static async Task<string> TemplateAsync()
    {
        await ServerAsync("postgres");
        return await Template.Value;
    }

    private static async Task<string> MakeTemplateAsync()
    {
        var name = $"template_{Guid.NewGuid():N}";
        var settings = await ServerAsync(name);
        await Migrator.MigrateAsync(settings.ConnectionString, NullLogger.Instance, TimeSpan.FromSeconds(30));
        if (_watchdog is null)
        {
            // A server that was given lives on; it should not collect what is ours.
            AppDomain.CurrentDomain.ProcessExit += (_, _) =>
                Task.WhenAll(Emptied.Append(name).Select(one => ExecuteAsync($"DROP DATABASE {one} WITH (FORCE)")))
                    .Wait(TimeSpan.FromSeconds(5));
        }

        return name;
    }

    /// <summary>In memory where there is room: a copy is some 900 files, and hundreds are made.</summary>
    private static string Root()
    {
        const string Memory = "/dev/shm";
        var drive = Directory.Exists(Memory) ? new DriveInfo(Memory) : null;
        return drive?.AvailableFreeSpace > 4L << 30 ? Memory : Path.GetTempPath();
    }

    private static async Task<NpgsqlConnectionStringBuilder> StartAsync()
    {
        if (Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } given)
        {
            return new(given);
        }

        var folder = Path.Combine(Root(), $"pipeline-postgres-{Guid.NewGuid():N}");
        var server = await PrivatePostgres.StartAsync(
            new PrivatePostgresOptions { Folder = folder, Fsync = false },
            NullLogger.Instance,
            CancellationToken.None
        );
        _watchdog = Watchdog.Start(
            "",
            $"kill -QUIT {server.ProcessId}; while kill -0 {server.ProcessId}; do sleep 0.1; done; rm -rf '{folder}'"
        );
        return new(server.ConnectionString);
    }
}

/// <summary>A database of one test or test class, gone when disposed.</summary>
public sealed class TestDatabase : IAsyncDisposable
{
    private readonly string _name;
    private readonly bool _isMigrated;

    internal TestDatabase(string name, string connectionString, bool isMigrated)
    {
        (_name, _isMigrated) = (name, isMigrated);
        ConnectionString = connectionString;
        DataSource = NpgsqlDataSource.Create(connectionString);
    }

    public string ConnectionString { get; }

    public NpgsqlDataSource DataSource { get; }

    public async ValueTask DisposeAsync()
    {
        await DataSource.DisposeAsync();
        await TestPostgres.TakeBackAsync(_name, _isMigrated);
    }

    /// <summary>Runs a statement; parameters are <c>$1</c>, <c>$2</c>, ….</summary>
    public async Task<int> ExecuteAsync(string sql, params object[] parameters)
    {
        await using var command = Command(sql, parameters);
        return await command.ExecuteNonQueryAsync();
    }

    /// <summary>The first column of the first row; default when there is none or it is null.</summary>
    public async Task<T?> ScalarAsync<T>(string sql, params object[] parameters)
    {
        await using var command = Command(sql, parameters);
        await using var reader = await command.ExecuteReaderAsync();
        return await reader.ReadAsync() && !await reader.IsDBNullAsync(0) ? await reader.GetFieldValueAsync<T>(0) : default;
    }

    private NpgsqlCommand Command(string sql, object[] parameters)
    {
        var command = DataSource.CreateCommand(sql);
        foreach (var value in parameters)
        {
            command.Parameters.Add(new() { Value = value });
        }

        return command;
    }
}
