using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.EndToEnd;

/// <summary>A task that takes the whole worker process down with it, as a bug in a driver would let one do.</summary>
[Collection(RunningSystem.Collection)]
public sealed class PoisonTaskTests(RunningSystem system)
{
    private const string Program = "Pipeline.Tests.CrashingWorker.dll";
    private const int Culprit = 300;

    [Fact]
    public async Task A_task_that_kills_its_worker_is_found_and_fails_alone()
    {
        system.Worker.Terminate();
        await RunningSystem.UntilEndAsync(system.Worker);
        try
        {
            string[] texts = [.. Enumerable.Range(0, 600).Select(seq => seq == Culprit ? FakeModel.Kills : $"text {seq}")];
            await system.StartWorkerAsync(Program);
            var job = await system.Client.SendAsync(FakeModels.Name.Name, texts);

            var deaths = await RestartWorkersUntilEndAsync(job);

            var ended = await system.Client.UntilEndAsync(job);
            Assert.Equal((JobState.Completed, texts.Length - 1L, 1L), (ended.State, ended.Counts.Succeeded, ended.Counts.Failed));
            Assert.InRange(deaths, 1, 4);
            await AssertOnlyTheCulpritFailedAsync(job);
            await LedgerCheck.AssertClosesAsync(system.Database);
        }
        catch
        {
            system.TellLogs();
            throw;
        }
        finally
        {
            system.Worker.Terminate();
            await system.StartWorkerAsync();
        }
    }

    /// <summary>Starts a new worker whenever one has died, as an orchestrator does, and counts the dead.</summary>
    private async Task<int> RestartWorkersUntilEndAsync(SentJob job)
    {
        var end = system.Client.UntilEndAsync(job);
        for (var deaths = 0; ; deaths++)
        {
            using var nobody = new CancellationTokenSource();
            if (await Task.WhenAny(end, system.Worker.EndAsync(nobody.Token)) == end)
            {
                await nobody.CancelAsync();
                return deaths;
            }

            await system.StartWorkerAsync(Program);
        }
    }

    private async Task AssertOnlyTheCulpritFailedAsync(SentJob job)
    {
        var seq = 0;
        await foreach (var text in system.Client.ResultsAsync(job.Id, "order=task", TestContext.Current.CancellationToken))
        {
            using var line = JsonDocument.Parse(text);
            var root = line.RootElement;
            Assert.Equal(seq, root.GetProperty("seq").GetInt32());
            if (seq == Culprit)
            {
                Assert.Equal("failed", root.GetProperty("status").GetString());
                Assert.Equal(FailureKind.WorkerCrashed.Info().Code, root.GetProperty("error").GetProperty("code").GetString());
            }
            else
            {
                Assert.Equal(job.Texts[seq], root.GetProperty("output").GetProperty("input").GetString());
            }

            seq++;
        }

        Assert.Equal(job.Texts.Count, seq);
    }
}
