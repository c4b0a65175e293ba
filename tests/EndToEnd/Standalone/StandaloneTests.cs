using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.RegularExpressions;
using Pipeline.Contracts;
using Pipeline.Standalone;
using Pipeline.Standalone.Host;
using Pipeline.Tests.Support;
using Pipeline.Tests.Support.Models;
using Xunit;

namespace Pipeline.Tests.EndToEnd.Standalone;

/// <summary><c>pipeline up</c>, as people start and stop it.</summary>
public sealed partial class StandaloneTests
{
    private const string Model = "language-id-small";

    [Fact]
    [Trait("Quick", "true")]
    public async Task Comes_up_from_nothing_runs_a_whole_job_and_ends_cleanly_at_Ctrl_C()
    {
        await using var folder = new DataFolder();
        await using var host = await HostProcess.StartAsync(folder.Path);
        using var direct = new DirectModel(host.Record.ModelsFolder, Model);
        var job = await host.Client.SendAsync(Model, RunningSystem.Texts(5000));
        await using (var database = host.OpenDatabase())
        {
            await host.Client.AssertCompletedRightAsync(job, direct, database);
        }

        Assert.Equal(0, await host.InterruptAsync());

        Assert.False(host.HasPostgres(), "PostgreSQL is still there.");
        Assert.Null(HostRecord.Find(folder.Path));
    }

    [Fact]
    public async Task Prints_an_address_a_key_and_a_curl_line_that_works_as_it_stands()
    {
        await using var folder = new DataFolder();
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var port = ((IPEndPoint)taken.LocalEndpoint).Port;

        // The wanted port is taken, so another is: the printed line knows.
        await using var host = await HostProcess.StartAsync(folder.Path, port);
        Assert.NotEqual(port, host.Record.Ingest.Port);
        Assert.Contains($"{host.Record.Ingest}", host.Output, StringComparison.Ordinal);
        Assert.Contains(host.Record.ApiKey, host.Output, StringComparison.Ordinal);
        var curl = CurlLine().Match(host.Output).Value;
        var answer = await Tool.RunAsync(new ProcessStartInfo("bash", ["-c", curl]), TestContext.Current.CancellationToken);

        using var job = JsonDocument.Parse(answer);
        var id = job.RootElement.GetProperty("id").GetString()!;
        var ended = await host.Client.UntilEndAsync(new SentJob(id, Model, [""]));
        Assert.Equal((JobState.Completed, 1L), (ended.State, ended.Counts.Succeeded));

        // And "down" ends it as Ctrl-C would.
        var down = (await ToolRun.RunAsync("down", "--data", folder.Path)).Ended(0);
        Assert.Contains("Stopped.", down.Output, StringComparison.Ordinal);
        Assert.Equal(0, await host.UntilEndAsync());
        Assert.False(host.HasPostgres(), "PostgreSQL is still there.");
        Assert.Contains("Nothing is running.", (await ToolRun.RunAsync("down", "--data", folder.Path)).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_host_that_is_killed_in_the_middle_goes_on_where_it_was()
    {
        await using var folder = new DataFolder();
        SentJob job;
        await using (var killed = await HostProcess.StartAsync(folder.Path))
        {
            var model = Path.Combine(folder.Path, SlowEncoder.Name);
            SlowEncoder.Write(model);
            (await ToolRun.RunAsync("models", "add", model, "--data", folder.Path)).Ended(0);
            job = await killed.Client.SendAsync(SlowEncoder.Name, RunningSystem.Texts(3000));
            await killed.Client.UntilInTheMiddleAsync(job);
            await killed.KillAsync();
            Assert.True(killed.HasPostgres(), "PostgreSQL went with the host; then there is nothing to adopt.");
        }

        await using var host = await HostProcess.StartAsync(folder.Path);

        Assert.Contains("Adopted", host.Output, StringComparison.Ordinal);
        using var direct = new DirectModel(host.Record.ModelsFolder, job.Model);
        await using var database = host.OpenDatabase();
        await host.Client.AssertCompletedRightAsync(job, direct, database);
        Assert.Equal(0, await host.InterruptAsync());
        Assert.False(host.HasPostgres(), "PostgreSQL is still there.");
    }

    [GeneratedRegex(@"curl -s [\s\S]*?\}'")]
    private static partial Regex CurlLine();
}
