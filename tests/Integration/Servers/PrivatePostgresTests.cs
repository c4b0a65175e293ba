using System.Diagnostics;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Pipeline.Standalone;
using Xunit;

namespace Pipeline.Tests.Integration.Servers;

public sealed class PrivatePostgresTests : IAsyncLifetime
{
    private static bool IsRunning(int process)
    {
        try
        {
            return File.ReadAllText($"/proc/{process}/stat").Split(' ')[2] != "Z";
        }
        catch (IOException)
        {
            return false;
        }
    }

    private readonly string _folder = Path.Combine(Path.GetTempPath(), $"pipeline-private-{Guid.NewGuid():N}");

    public async ValueTask InitializeAsync()
    {
        if (await PostgresBinaries.FindInstalledAsync(null, CancellationToken.None) is null)
        {
            Assert.Skip("No PostgreSQL is installed here (Debian: apt-get install postgresql).");
        }
    }

    public ValueTask DisposeAsync()
    {
        if (Directory.Exists(_folder))
        {
            Directory.Delete(_folder, recursive: true);
        }

        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task It_keeps_what_was_committed_over_a_stop_and_a_start()
    {
        await using (var server = await StartAsync())
        {
            await ExecuteAsync(server, "CREATE TABLE kept AS SELECT 42 AS value");
        }

        await using var again = await StartAsync();
        Assert.False(again.Adopted);
        Assert.Equal(42, await ExecuteAsync(again, "SELECT value FROM kept"));
    }

    [Fact]
    public async Task It_listens_on_loopback_only_wants_a_password_and_runs_as_no_root()
    {
        await using var server = await StartAsync();
        var settings = new NpgsqlConnectionStringBuilder(server.ConnectionString)
        {
            Database = "postgres",
            Password = "wrong",
            Pooling = false,
        };

        await using var stranger = new NpgsqlConnection(settings.ConnectionString);
        var refused = await Assert.ThrowsAsync<PostgresException>(() => stranger.OpenAsync());

        Assert.Equal(PostgresErrorCodes.InvalidPassword, refused.SqlState);
        Assert.Equal("127.0.0.1", await ExecuteAsync(server, "SHOW listen_addresses"));
        Assert.Equal("on", await ExecuteAsync(server, "SHOW fsync"));
        Assert.DoesNotContain("Uid:\t0\t", await File.ReadAllTextAsync($"/proc/{server.ProcessId}/status"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_server_killed_in_the_middle_recovers_what_was_committed()
    {
        await using (var server = await StartAsync())
        {
            await ExecuteAsync(server, "CREATE TABLE kept AS SELECT 7 AS value");
            using var process = Process.GetProcessById(server.ProcessId);
            process.Kill();
            await process.WaitForExitAsync();
        }

        await using var again = await StartAsync();
        Assert.Equal(7, await ExecuteAsync(again, "SELECT value FROM kept"));
    }

    [Fact]
    public async Task A_server_left_running_by_a_killed_host_is_adopted_and_then_stopped()
    {
        var first = await StartAsync();
        await ExecuteAsync(first, "CREATE TABLE kept AS SELECT 1 AS value");
        first.Abandon();

        int process;
        await using (var second = await StartAsync())
        {
            process = second.ProcessId;
            Assert.True(second.Adopted);
            Assert.Equal((first.ProcessId, first.Port), (second.ProcessId, second.Port));
            Assert.Equal(1, await ExecuteAsync(second, "SELECT value FROM kept"));
        }

        // It is nobody's child here, so it is gone some moments after it has let go of its folder.
        for (var looks = 0; looks < 500 && IsRunning(process); looks++)
        {
            await Task.Delay(20);
        }

        Assert.False(IsRunning(process));
    }

    [Fact]
    public async Task A_folder_has_one_host_at_a_time()
    {
        await using var server = await StartAsync();

        var error = await Assert.ThrowsAsync<InvalidOperationException>(StartAsync);

        Assert.Contains(_folder, error.Message, StringComparison.Ordinal);
        Assert.Equal(1, await ExecuteAsync(server, "SELECT 1"));
    }

    [Fact]
    public async Task A_folder_whose_making_was_cut_off_is_made_anew()
    {
        Directory.CreateDirectory(Path.Combine(_folder, "data.new", "base"));

        await using var server = await StartAsync();

        Assert.Equal(1, await ExecuteAsync(server, "SELECT 1"));
    }

    [Fact]
    public async Task Its_files_are_in_the_folder_also_below_a_temporary_one_that_is_private()
    {
        var temporary = Directory.CreateTempSubdirectory("pipeline-private-").FullName;
        var folder = Path.Combine(temporary, "postgres");
        try
        {
            await using var server = await StartAsync(folder);

            Assert.Equal(Path.Combine(folder, "data"), await ExecuteAsync(server, "SHOW data_directory"));
        }
        finally
        {
            Directory.Delete(temporary, recursive: true);
        }
    }

    private Task<PrivatePostgres> StartAsync() => StartAsync(_folder);

    private static Task<PrivatePostgres> StartAsync(string folder) =>
        PrivatePostgres.StartAsync(
            new PrivatePostgresOptions { Folder = folder, Database = "postgres" },
            NullLogger.Instance,
            CancellationToken.None
        );

    private static async Task<object?> ExecuteAsync(PrivatePostgres server, string sql)
    {
        await using var connection = new NpgsqlConnection(server.ConnectionString + ";Pooling=false");
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteScalarAsync();
    }
}
