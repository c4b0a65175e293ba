using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.Standalone;
using Xunit;

namespace Pipeline.Tests.Support.Servers;

/// <summary>
/// One PostgreSQL for the test process, started when the first test asks, and a fresh migrated database for whoever wants one (a copy
/// of a template: 0.1 s in memory, 0.4 s on a disk). The environment variable <see cref="Variable"/> names a server to use instead.
/// </summary>
public static class TestPostgres
{
    /// <summary>Connection string of a server that may make databases.</summary>
    public const string Variable = "PIPELINE_TEST_POSTGRES";

    private static readonly Lazy<Task<NpgsqlConnectionStringBuilder>> Server = new(StartAsync);
    private static readonly Lazy<Task<string>> Template = new(MakeTemplateAsync);
    private static readonly Lazy<Task<NpgsqlDataSource>> Administration = new(AdministerAsync);
    private static Watchdog? _watchdog;

    /// <summary>A database of the caller's own, at the newest schema and empty. Skips the test where there is no PostgreSQL.</summary>
    public static async Task<TestDatabase> CreateDatabaseAsync() =>
        await CreateAsync($" TEMPLATE {await TemplateAsync()} STRATEGY FILE_COPY");

    /// <summary>A database without any table.</summary>
    public static async Task<TestDatabase> CreateEmptyDatabaseAsync() => await CreateAsync("");

    internal static async Task ExecuteAsync(string sql)
    {
        await ServerAsync("postgres");
        await using var command = (await Administration.Value).CreateCommand(sql);
        await command.ExecuteNonQueryAsync();
    }

    private static async Task<TestDatabase> CreateAsync(string template)
    {
        var name = $"test_{Guid.NewGuid():N}";
        var settings = await ServerAsync(name);
        await ExecuteAsync($"CREATE DATABASE {name}{template}");
        settings.Pooling = true;
        settings.IncludeErrorDetail = true;
        settings.MaxPoolSize = 20;
        return new TestDatabase(name, settings.ConnectionString);
    }

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

    /// <summary>Keeps its connections: every one of them is a process of the server's, and hundreds of databases are made and dropped.</summary>
    private static async Task<NpgsqlDataSource> AdministerAsync() =>
        NpgsqlDataSource.Create(
            new NpgsqlConnectionStringBuilder((await Server.Value).ConnectionString) { Database = "postgres", Pooling = true }
        );

    private static async Task<string> MakeTemplateAsync()
    {
        var name = $"template_{Guid.NewGuid():N}";
        var settings = await ServerAsync(name);
        await Migrator.MigrateAsync(settings.ConnectionString, NullLogger.Instance, TimeSpan.FromSeconds(30));
        if (_watchdog is null)
        {
            // A server that was given lives on; it should not collect our templates.
            AppDomain.CurrentDomain.ProcessExit += (_, _) =>
                ExecuteAsync($"DROP DATABASE {name} WITH (FORCE)").Wait(TimeSpan.FromSeconds(5));
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

/// <summary>A database of one test or test class, dropped when disposed.</summary>
public sealed class TestDatabase : IAsyncDisposable
{
    private readonly string _name;

    internal TestDatabase(string name, string connectionString)
    {
        _name = name;
        ConnectionString = connectionString;
        DataSource = Storage.Create(connectionString, name);
    }

    public string ConnectionString { get; }

    public NpgsqlDataSource DataSource { get; }

    public async ValueTask DisposeAsync()
    {
        await DataSource.DisposeAsync();
        await TestPostgres.ExecuteAsync($"DROP DATABASE IF EXISTS {_name} WITH (FORCE)");
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
