using System.Diagnostics;
using Pipeline.Standalone;
using Pipeline.Standalone.Host;
using Xunit;

namespace Pipeline.Tests.EndToEnd.Standalone;

/// <summary>A program whose servers are not there waits for them, says so, and gives up with their address.</summary>
[Collection(StandaloneHost.Collection)]
public sealed class UnreachableServersTests(StandaloneHost host)
{
    [Theory]
    [InlineData("Pipeline.Ingest.dll")]
    [InlineData("Pipeline.Scheduler.dll")]
    [InlineData("Pipeline.GpuWorker.dll")]
    [InlineData("Pipeline.ResultsApi.dll")]
    public async Task A_service_without_its_database_gives_up_with_the_address(string program)
    {
        var port = Ports.Free();

        var run = (await RunServiceAsync(program, $"Host=127.0.0.1;Port={port};Database=lost", "memory:")).Ended(1);

        Assert.Contains($"Waiting for PostgreSQL at 127.0.0.1:{port}", run.Output, StringComparison.Ordinal);
        Assert.Contains($"PostgreSQL at 127.0.0.1:{port}, database \"lost\" was not reachable", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_service_without_its_broker_gives_up_with_the_address()
    {
        var port = Ports.Free();

        var run = (
            await RunServiceAsync("Pipeline.Ingest.dll", host.Process.Record.Database, $"amqp://guest:guest@127.0.0.1:{port}")
        ).Ended(1);

        Assert.Contains($"Waiting for RabbitMQ at 127.0.0.1:{port}", run.Output, StringComparison.Ordinal);
        Assert.Contains($"RabbitMQ at 127.0.0.1:{port} was not reachable", run.Error, StringComparison.Ordinal);
    }

    private static async Task<ToolRun> RunServiceAsync(string program, string database, string broker)
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, program)]);
        start.Environment["PIPELINE__DATABASE"] = database;
        start.Environment["PIPELINE__BROKER"] = broker;
        start.Environment["PIPELINE__SERVERWAITMAX"] = "00:00:02";
        start.Environment["ASPNETCORE_URLS"] = $"http://127.0.0.1:{Ports.Free()}";
        var (code, output, error) = await Tool.TryRunAsync(start, TestContext.Current.CancellationToken);
        return new ToolRun(code, output, error);
    }
}
