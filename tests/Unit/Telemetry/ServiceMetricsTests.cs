using Pipeline.Contracts;
using Pipeline.GpuWorker;
using Pipeline.Hosting.Telemetry;
using Pipeline.Migrations;
using Pipeline.ResultsApi;
using Pipeline.Scheduler.Policy;
using Pipeline.Scheduler.Service;
using Pipeline.Tests.Unit.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Telemetry;

/// <summary>What the services' metrics count.</summary>
public sealed class ServiceMetricsTests
{
    private static readonly ModelRef Other = new("other-model", "1.0.0");

    [Fact]
    public void The_active_scheduler_shows_what_waits_and_who_lives_and_a_spare_nothing()
    {
        using var values = new MeasuredValues("Pipeline.Scheduler");
        using var metrics = new SchedulerMetrics(new ModelLabels(new TelemetryOptions()));
        var world = new PolicyWorld().Knows();
        world.Chunk(tasks: 100);
        world.Worker();
        world.Wait(TimeSpan.FromMilliseconds(300));

        metrics.Stands(world.Planner, world.Now);
        values.Look();
        Assert.Equal(1, values.Of(Metrics.SchedulerActive)[""]);
        Assert.Equal(100, values.Of(Metrics.QueueTasks)[$"bulk,{PolicyWorld.Model.Name}"]);
        Assert.Equal(1, values.Of(Metrics.WorkersAlive)["default"]);
        Assert.Equal(0.3, values.Of(Metrics.HeartbeatAge)["default"], 3);
        Assert.Equal(0, values.Of(Metrics.DispatchesInFlight)["bulk"]);

        foreach (var decision in world.Plan())
        {
            metrics.Decided(decision, world.Planner.Backlog, world.Now);
        }

        Assert.Equal(0.3, values.Of(Metrics.QueueWait)[$"bulk,{PolicyWorld.Model.Name}"], 3);
        Assert.Equal(1, values.Of(Metrics.Decisions).Single(reason => reason.Key.StartsWith("bulk", StringComparison.Ordinal)).Value);
        metrics.Stands(world.Planner, world.Now);
        values.Look();
        Assert.Equal(0, values.Of(Metrics.QueueTasks)[$"bulk,{PolicyWorld.Model.Name}"]);
        Assert.Equal(1, values.Of(Metrics.DispatchesInFlight)["bulk"]);

        metrics.Stands(null, world.Now);
        values.Look();
        Assert.Equal(0, values.Of(Metrics.SchedulerActive)[""]);
        Assert.Empty(values.Of(Metrics.QueueTasks));
    }

    [Fact]
    public void Models_beyond_the_maximum_are_summed_up()
    {
        using var values = new MeasuredValues("Pipeline.Scheduler");
        using var metrics = new SchedulerMetrics(new ModelLabels(new TelemetryOptions { ModelsMax = 1 }));
        var (world, third) = (new PolicyWorld().Knows(), new ModelRef("third", "1.0.0"));
        world.Knows(Other).Knows(third);
        world.Chunk(tasks: 10);
        world.Chunk(tasks: 20, model: Other);
        world.Chunk(tasks: 30, model: third);

        metrics.Stands(world.Planner, world.Now);
        values.Look();

        var bulk = values.Of(Metrics.QueueTasks).Where(queue => queue.Key.StartsWith("bulk,", StringComparison.Ordinal)).ToList();
        Assert.Equal(2, bulk.Count);
        Assert.Equal(60, bulk.Sum(queue => queue.Value));
        Assert.Contains(bulk, queue => queue.Key == $"bulk,{ModelLabels.Other}");
    }

    [Fact]
    public void A_jobs_end_is_counted_by_how_it_and_its_tasks_ended()
    {
        using var values = new MeasuredValues("Pipeline.ResultsApi");
        using var metrics = new ResultsMetrics(new ModelLabels(new TelemetryOptions()));

        metrics.Ended(new JobEnd("bulk", "words", "completed", 7, 2, 0, 1, 5e11, Late: false, Seconds: 12));
        metrics.Ended(new JobEnd("bulk", "words", "expired", 0, 0, 3, 0, 0, Late: true, Seconds: 60));

        Assert.Equal(1, values.Of(Metrics.JobsEnded)["bulk,words,completed"]);
        Assert.Equal(1, values.Of(Metrics.JobsEnded)["bulk,words,expired"]);
        Assert.Equal(
            [("bulk,words,cancelled", 1), ("bulk,words,expired", 3), ("bulk,words,failed", 2), ("bulk,words,succeeded", 7)],
            values.Of(Metrics.TasksEnded).OrderBy(end => end.Key, StringComparer.Ordinal).Select(end => (end.Key, (int)end.Value))
        );
        Assert.Equal(0.5, values.Of(Metrics.JobsCost)["bulk,words"]);
        Assert.Equal(1, values.Of(Metrics.JobsLate)["bulk"]);
        Assert.Equal(12, values.Of(Metrics.JobDuration)["bulk,completed"]);
    }

    [Fact]
    public void Device_time_is_counted_as_it_is_booked()
    {
        using var values = new MeasuredValues(WorkerMetrics.MeterName);
        using var metrics = new WorkerMetrics(new WorkerOptions { Pool = "l4" }, new ModelLabels(new TelemetryOptions()));
        LedgerEntry[] entries =
        [
            new(LedgerAccount.Task, 600_000_000, 6, null),
            new(LedgerAccount.Padding, 100_000_000, 1, null),
            new(LedgerAccount.Idle, 300_000_000, 3, null),
        ];

        metrics.Booked(new LedgerExtension(WorkerId.New(DateTimeOffset.UtcNow), 0, 1_000_000_000, entries));

        Assert.Equal(
            [("idle,l4", 0.3), ("padding,l4", 0.1), ("task,l4", 0.6)],
            values
                .Of(Metrics.DeviceTime)
                .OrderBy(account => account.Key, StringComparer.Ordinal)
                .Select(account => (account.Key, account.Value))
        );
    }
}
