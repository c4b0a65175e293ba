using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Scheduler.Service;
using Xunit;

namespace Pipeline.Tests.Integration.Scheduler;

/// <summary>A scheduler that keeps a journal, over a real broker and a real database; each of its terms is lived again.</summary>
public sealed class JournalTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("pipeline-journal-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task Every_term_is_decided_the_same_again()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        world.Settings["Scheduler:Journal:Folder"] = _folder;
        var waited = await world.StoreJobAsync(chunkTasks: [20, 20]);
        var first = await world.StartSchedulerAsync();
        var worker = await world.StartWorkerAsync();
        var express = await world.SubmitAsync(LatencyClass.Express, chunkTasks: [3]);
        var cancelled = await world.StoreJobAsync(chunkTasks: [5]);
        await world.CancelAsync(cancelled);
        await FinishAsync(world, worker, express);
        await first.DisposeAsync();

        var second = await world.StartSchedulerAsync();
        await FinishAsync(world, worker, waited);
        await FinishAsync(world, worker, await world.SubmitAsync(chunkTasks: [7]));
        await second.DisposeAsync();

        var terms = Directory.GetFiles(_folder).Order(StringComparer.Ordinal).Select(Replay).ToList();
        Assert.Equal([1L, 2L], terms.Select(t => t.Epoch));
        Assert.All(terms, t => Assert.Equal((null, null), (t.Replay.Difference, t.CutOff)));
        Assert.All(terms, t => Assert.Equal("the term is over: it stops", t.End));
        Assert.True(terms.Sum(t => t.Replay.Decisions) >= 2);
    }

    private static async Task FinishAsync(SchedulerWorld world, ScriptedWorker worker, JobId job)
    {
        while (await world.StateAsync(job) != "completed")
        {
            await worker.FinishAsync(await worker.NextAsync());
        }
    }

    private static (long Epoch, JournalReplay Replay, string? CutOff, string? End) Replay(string path)
    {
        using var journal = JournalReader.Open(path);
        var replay = new JournalReplay(journal.Head);
        string? end = null;
        foreach (var line in journal.Lines())
        {
            replay.Take(line);
            end = (line as JournalEnd)?.Reason;
        }

        return (journal.Head.Epoch, replay, journal.CutOff, end);
    }
}
