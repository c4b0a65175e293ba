using System.Data;
using System.Diagnostics;
using Npgsql;
using Xunit;

namespace Pipeline.Tests.Support.Worker;

/// <summary>
/// Promise 3 from further outside: the raw rows as CSV, and a script that shares no code with the service recomputes the books from them.
/// </summary>
internal static class LedgerScript
{
    private static readonly string[] Tables = ["workers", "pool_prices", "ledger", "batches", "results", "turns"];

    /// <summary>Skips the test where there is no <c>python3</c>.</summary>
    public static async Task AssertClosesAsync(NpgsqlDataSource database)
    {
        if (await RecomputeAsync(database) is not var (exit, output))
        {
            Assert.Skip("The books are recomputed by python3, which is not here.");
            return;
        }

        Assert.True(exit == 0, output);
        Assert.Contains("difference 0", output, StringComparison.Ordinal);
    }

    /// <summary>Runs the script: 0 where the books close, and what it says. Null where there is no <c>python3</c>.</summary>
    public static async Task<(int Exit, string Output)?> RecomputeAsync(NpgsqlDataSource database)
    {
        var folder = Directory.CreateTempSubdirectory("ledger-");
        try
        {
            await CopyAsync(database, folder.FullName);
            return await RunAsync(folder.FullName);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static async Task CopyAsync(NpgsqlDataSource database, string folder)
    {
        // One snapshot, since workers that live go on writing.
        await using var connection = await database.OpenConnectionAsync();
        await using var snapshot = await connection.BeginTransactionAsync(IsolationLevel.RepeatableRead);
        await using (var utc = new NpgsqlCommand("SET LOCAL TimeZone = 'UTC'", connection, snapshot))
        {
            await utc.ExecuteNonQueryAsync();
        }

        foreach (var table in Tables)
        {
            using var rows = await connection.BeginTextExportAsync($"COPY (SELECT * FROM {table}) TO STDOUT (FORMAT csv, HEADER)");
            await using var file = File.CreateText(Path.Combine(folder, $"{table}.csv"));
            var some = new char[64 * 1024];
            while (await rows.ReadAsync(some) is var read and > 0)
            {
                await file.WriteAsync(some.AsMemory(0, read));
            }
        }
    }

    private static async Task<(int Exit, string Output)?> RunAsync(string folder)
    {
        var start = new ProcessStartInfo("python3", [Path.Combine(AppContext.BaseDirectory, "recompute_ledger.py"), folder])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        try
        {
            using var process = Process.Start(start)!;
            var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
            await process.WaitForExitAsync();
            return (process.ExitCode, await output + await errors);
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return null;
        }
    }
}
