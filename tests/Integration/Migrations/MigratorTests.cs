using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Migrations;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Migrations;

public sealed class MigratorTests
{
    private static readonly TimeSpan Wait = TimeSpan.FromSeconds(30);

    private static IReadOnlyList<string> Releases
    {
        get
        {
            using var db = new PipelineDb(new DbContextOptionsBuilder<PipelineDb>().UseNpgsql("Host=nowhere").Options);
            return [.. db.Database.GetMigrations()];
        }
    }

    [Fact]
    public void The_schema_of_an_empty_database_is_what_the_migrations_say()
    {
        using var schema = new StreamReader(typeof(Migrator).Assembly.GetManifestResourceStream("schema.sql")!);

        Assert.Equal(Migrator.Script(), schema.ReadToEnd());
    }

    [Fact]
    public async Task The_model_has_no_change_that_a_migration_lacks()
    {
        await using var database = await TestPostgres.CreateDatabaseAsync();
        await using var db = new PipelineDb(PipelineDb.OptionsFor(database.DataSource));

        Assert.False(db.Database.HasPendingModelChanges());
        Assert.Empty(await db.Database.GetPendingMigrationsAsync());
    }

    [Fact]
    public async Task The_migrated_database_has_the_columns_checks_and_indexes_of_the_model_and_no_others()
    {
        await using var database = await TestPostgres.CreateDatabaseAsync();
        await using var db = new PipelineDb(PipelineDb.OptionsFor(database.DataSource));
        var tables = db.GetService<Microsoft.EntityFrameworkCore.Metadata.IDesignTimeModel>().Model.GetRelationalModel().Tables.ToArray();

        // Tables made by hand (partitions need it) are held to the model here; the others come along.
        foreach (var table in tables)
        {
            var columns = table
                .Columns.Select(c => $"{c.Name} {c.StoreType} {(c.IsNullable ? "null" : "not null")}")
                .Order(StringComparer.Ordinal);
            Assert.Equal(columns, await NamesAsync(database, ColumnsSql, table.Name));
            Assert.Equal(
                table.CheckConstraints.Select(c => c.Name!).Order(StringComparer.Ordinal),
                await NamesAsync(database, ChecksSql, table.Name)
            );
            var indexes = table.Indexes.Select(i => i.Name).Append(table.PrimaryKey!.Name).Order(StringComparer.Ordinal);
            Assert.Equal(indexes, await NamesAsync(database, IndexesSql, table.Name));
        }

        Assert.Equal(
            tables.Select(t => t.Name).Append("__EFMigrationsHistory").Order(StringComparer.Ordinal),
            await NamesAsync(database, TablesSql)
        );
    }

    [Fact]
    public async Task Migrating_twice_changes_nothing_more()
    {
        await using var database = await TestPostgres.CreateEmptyDatabaseAsync();

        await MigrateAsync(database);
        var once = await NamesAsync(database, "SELECT relname || ' ' || oid FROM pg_class WHERE relnamespace = 'public'::regnamespace");
        await MigrateAsync(database);

        Assert.Equal(
            once,
            await NamesAsync(database, "SELECT relname || ' ' || oid FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        );
    }

    [Fact]
    public async Task Migrators_at_the_same_time_make_one_schema()
    {
        await using var database = await TestPostgres.CreateEmptyDatabaseAsync();

        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => MigrateAsync(database))));

        Assert.Equal(Releases.Count, await database.ScalarAsync<long>("""SELECT count(*) FROM "__EFMigrationsHistory" """));
        Assert.Equal(
            Partitions.DaysAhead + 3,
            await database.ScalarAsync<long>("SELECT count(*) FROM pg_inherits WHERE inhparent = 'results'::regclass")
        );
    }

    [Fact]
    public async Task A_missing_database_is_made()
    {
        await using var database = await TestPostgres.CreateEmptyDatabaseAsync();
        var settings = new NpgsqlConnectionStringBuilder(database.ConnectionString) { Pooling = false };
        settings.Database += "_other";
        try
        {
            await Task.WhenAll(
                Migrator.MigrateAsync(settings.ConnectionString, NullLogger.Instance, Wait),
                Migrator.MigrateAsync(settings.ConnectionString, NullLogger.Instance, Wait)
            );

            await using var connection = new NpgsqlConnection(settings.ConnectionString);
            await connection.OpenAsync();
            await using var command = new NpgsqlCommand("SELECT epoch FROM scheduler_epoch", connection);
            Assert.Equal(0L, await command.ExecuteScalarAsync());
        }
        finally
        {
            await database.ExecuteAsync($"DROP DATABASE IF EXISTS {settings.Database} WITH (FORCE)");
        }
    }

    /// <summary>One database lives through all releases, with a row from each: every one of them is upgraded with what those before it wrote.</summary>
    [Fact]
    public async Task A_database_of_every_release_upgrades_in_place()
    {
        await using var database = await TestPostgres.CreateEmptyDatabaseAsync();
        var tenants = new List<TenantId>();
        await using (var db = new PipelineDb(PipelineDb.OptionsFor(database.DataSource)))
        {
            foreach (var release in Releases)
            {
                await db.GetService<IMigrator>().MigrateAsync(release);
                await Partitions.EnsureAheadAsync(database.DataSource, DateOnly.FromDateTime(DateTime.UtcNow), 1);
                tenants.Add(await Tenants.EnsureAsync(database.DataSource, $"from {release}"));
            }
        }

        await MigrateAsync(database);

        foreach (var (release, tenant) in Releases.Zip(tenants))
        {
            Assert.Equal(tenant, await Tenants.EnsureAsync(database.DataSource, $"from {release}"));
        }

        await using var upgraded = new PipelineDb(PipelineDb.OptionsFor(database.DataSource));
        Assert.Empty(await upgraded.Database.GetPendingMigrationsAsync());
    }

    [Fact]
    public async Task What_happened_before_there_were_webhooks_is_told_to_nobody()
    {
        await using var database = await TestPostgres.CreateEmptyDatabaseAsync();
        await using (var db = new PipelineDb(PipelineDb.OptionsFor(database.DataSource)))
        {
            await db.GetService<IMigrator>().MigrateAsync("AddUsageRollups");
        }

        const string Insert =
            "INSERT INTO events (tenant, type, data, created_at) VALUES (gen_random_uuid(), 'job.completed', '{}', now())";
        await database.ExecuteAsync(Insert);
        await MigrateAsync(database);
        await database.ExecuteAsync(Insert);

        Assert.Equal("true false", await database.ScalarAsync<string>("SELECT string_agg(fanned_out::text, ' ' ORDER BY id) FROM events"));
    }

    [Fact]
    public async Task A_server_that_is_not_there_is_told_with_its_address()
    {
        var error = await Assert.ThrowsAsync<ServerUnavailableException>(() =>
            Migrator.MigrateAsync("Host=127.0.0.1;Port=1;Username=x;Database=x", NullLogger.Instance, TimeSpan.Zero)
        );

        Assert.Contains("127.0.0.1:1", error.Message, StringComparison.Ordinal);
    }

    private const string TablesSql = """
        SELECT c.relname::text FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        """;

    private const string ColumnsSql = """
        SELECT concat_ws(' ', attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'not null' ELSE 'null' END)
        FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
        """;

    private const string ChecksSql = """
        SELECT conname::text FROM pg_constraint WHERE conrelid = to_regclass($1) AND contype = 'c'
        """;

    private const string IndexesSql = """
        SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = to_regclass($1)
        """;

    private static Task MigrateAsync(TestDatabase database) => Migrator.MigrateAsync(database.ConnectionString, NullLogger.Instance, Wait);

    private static async Task<List<string>> NamesAsync(TestDatabase database, string sql, params object[] parameters)
    {
        await using var command = database.DataSource.CreateCommand(sql);
        foreach (var value in parameters)
        {
            command.Parameters.Add(new() { Value = value });
        }

        await using var reader = await command.ExecuteReaderAsync();
        var names = new List<string>();
        while (await reader.ReadAsync())
        {
            names.Add(reader.GetString(0));
        }

        names.Sort(StringComparer.Ordinal);
        return names;
    }
}
