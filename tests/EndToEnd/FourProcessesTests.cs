using System.Diagnostics;
using System.Net;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Standalone.Client;
using Pipeline.Standalone.Host;
using Pipeline.Tests.Support.Models;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.EndToEnd;

/// <summary>The main promise, seen from outside: nothing accepted is lost or done twice, whoever is killed or stopped in the middle.</summary>
[Collection(RunningSystem.Collection)]
public sealed class FourProcessesTests(RunningSystem system)
{
    // A few seconds of device time, in several chunks.
    private const int TasksOfSeconds = 3000;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task Every_output_of_a_large_job_is_right_and_the_books_close()
    {
        using var direct = system.Direct(RunningSystem.SmallModel);
        var job = await system.Client.SendAsync(RunningSystem.SmallModel, RunningSystem.Texts(8000));

        await system.Client.AssertCompletedRightAsync(job, direct, system.Database);
    }

    [Theory]
    [InlineData("ingest", "Pipeline.Ingest.dll")]
    [InlineData("scheduler", "Pipeline.Scheduler.dll")]
    [InlineData("gpu-worker", "Pipeline.GpuWorker.dll")]
    [InlineData("results-api", "Pipeline.ResultsApi.dll")]
    public async Task A_service_is_asked_for_its_health_by_its_own_program(string name, string program)
    {
        var asked = system.Rig.Services.All.Last(service => service.Name == name && !service.HasExited);

        Assert.Equal(0, await ProbeAsync(program, asked.Address.Port));
        Assert.Equal(1, await ProbeAsync(program, Ports.Free()));
    }

    [Fact]
    public async Task A_worker_that_is_killed_in_the_middle_loses_and_doubles_nothing()
    {
        var job = await SendSlowAsync();
        await system.Client.UntilInTheMiddleAsync(job);

        system.Worker.Kill();
        await system.StartWorkerAsync();

        await AssertCompletedRightAsync(job);
        await LedgerScript.AssertClosesAsync(system.Database);
    }

    [Fact]
    public async Task A_worker_that_is_asked_to_stop_in_the_middle_drains_and_another_finishes()
    {
        var job = await SendSlowAsync();
        await system.Client.UntilInTheMiddleAsync(job);
        var first = system.Worker;

        first.Terminate();
        await system.StartWorkerAsync();

        Assert.Equal(0, await RunningSystem.UntilEndAsync(first));
        await AssertCompletedRightAsync(job);
    }

    [Fact]
    public async Task A_scheduler_that_is_killed_in_the_middle_is_followed_by_the_spare()
    {
        var spare = await system.StartSchedulerAsync();
        var job = await SendSlowAsync();
        await system.Client.UntilInTheMiddleAsync(job);

        system.Scheduler.Kill();
        system.Scheduler = spare;

        await AssertCompletedRightAsync(job);
    }

    [Fact]
    public async Task An_ingest_that_is_killed_after_it_accepted_loses_nothing()
    {
        var job = await SendSlowAsync();

        system.Ingest.Kill();
        await system.StartIngestAsync();

        await AssertCompletedRightAsync(job);
    }

    [Fact]
    public async Task A_broker_that_goes_and_comes_back_turns_writes_away_meanwhile_and_loses_nothing()
    {
        if (!system.Broker.CanStop)
        {
            Assert.Skip("The broker is a container here; only one that runs as a program is stopped and started.");
        }

        var job = await SendSlowAsync();
        await system.Client.UntilInTheMiddleAsync(job);

        await system.Broker.StopAsync();
        var (accepted, wait) = await UntilTurnedAwayAsync();
        Assert.True(wait > TimeSpan.Zero, "503 without Retry-After.");
        Assert.Equal(job.Id, (await system.Client.GetJobAsync(job.Id, TestContext.Current.CancellationToken)).Id);
        await system.Broker.StartAgainAsync();
        accepted.Add(await UntilAcceptedAsync());

        await AssertCompletedRightAsync(job);
        using var direct = system.Direct(RunningSystem.SmallModel);
        foreach (var one in accepted)
        {
            await system.Client.AssertCompletedRightAsync(one, direct, system.Database);
        }
    }

    [Fact]
    public async Task A_database_that_goes_and_comes_back_answers_503_meanwhile_and_loses_nothing()
    {
        var job = await SendSlowAsync();
        await system.Client.UntilInTheMiddleAsync(job);

        await system.Rig.StopPostgresAsync();
        var (accepted, wait) = await UntilTurnedAwayAsync();
        Assert.Empty(accepted);
        Assert.True(wait > TimeSpan.Zero, "503 without Retry-After.");
        var read = await Assert.ThrowsAsync<ApiException>(() => system.Client.GetJobAsync(job.Id, TestContext.Current.CancellationToken));
        Assert.Equal((HttpStatusCode.ServiceUnavailable, true), (read.Status, read.RetryAfter > TimeSpan.Zero));
        await system.Rig.StartPostgresAgainAsync(TestContext.Current.CancellationToken);
        await UntilAcceptedAsync();

        await AssertCompletedRightAsync(job);
    }

    private Task<int> ProbeAsync(string program, int port) =>
        RunningSystem.UntilEndAsync(system.Rig.Services.Start("probe", program, port, arguments: [HealthProbe.Argument]));

    private Task<SentJob> SendSlowAsync() => system.Client.SendAsync(SlowEncoder.Name, RunningSystem.Texts(TasksOfSeconds));

    private async Task AssertCompletedRightAsync(SentJob job)
    {
        using var direct = system.Direct(job.Model);
        try
        {
            await system.Client.AssertCompletedRightAsync(job, direct, system.Database);
        }
        catch
        {
            system.TellLogs();
            throw;
        }
    }

    private Task<SentJob> SendOneAsync() => system.Client.SendAsync(RunningSystem.SmallModel, ["meanwhile"]);

    /// <summary>Sends until 503 comes; what was accepted before counts, and when to come again is told.</summary>
    private async Task<(List<SentJob> Accepted, TimeSpan? RetryAfter)> UntilTurnedAwayAsync()
    {
        var accepted = new List<SentJob>();
        for (var clock = Stopwatch.StartNew(); clock.Elapsed < Patience; )
        {
            try
            {
                accepted.Add(await SendOneAsync());
            }
            catch (ApiException e)
            {
                Assert.Equal(HttpStatusCode.ServiceUnavailable, e.Status);
                Assert.Equal(FailureKind.Unavailable.Info().Code, e.Problem?.Error.Code);
                return (accepted, e.RetryAfter);
            }
        }

        throw new TimeoutException($"After {Patience.TotalSeconds} s writes are still accepted, {accepted.Count} of them.");
    }

    /// <summary>Sends, as clients are told to, until the door is open again.</summary>
    private async Task<SentJob> UntilAcceptedAsync()
    {
        for (var clock = Stopwatch.StartNew(); ; )
        {
            try
            {
                return await SendOneAsync();
            }
            catch (ApiException e) when (e.Status == HttpStatusCode.ServiceUnavailable && clock.Elapsed < Patience)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(50), TestContext.Current.CancellationToken);
            }
        }
    }
}
