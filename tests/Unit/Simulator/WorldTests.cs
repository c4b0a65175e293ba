using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator;
using Pipeline.Simulator.Workloads;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator;

public sealed class WorldTests
{
    [Fact]
    public void One_device_that_runs_one_at_a_time_waits_as_Pollaczek_and_Khinchine_say()
    {
        // M/D/1: the mean wait before service is ρ · s / (2 · (1 − ρ)).
        const double Rho = 0.7;
        const double ServiceMs = 1;
        var arrivals = new GammaArrivals(new Kind(), ratePerSecond: 700, cv: 1, count: 400_000, seed: 3);
        var result = new World(TinyWorld.Options(), arrivals, TinyPolicy.Fifo()).Run();
        var expected = ServiceMs + (Rho * ServiceMs / (2 * (1 - Rho)));
        Assert.Equal(400_000, result.Express.Wait.Count);
        Assert.InRange(result.Express.Wait.Mean / TimeSpan.TicksPerMillisecond / expected, 0.97, 1.03);
        Assert.InRange(result.Utilisation, Rho - 0.01, Rho + 0.01);
    }

    [Fact]
    public void The_same_seed_lives_the_same_life_and_another_does_not()
    {
        SimResult Live(ulong seed) =>
            Scenarios
                .Find("poisson")
                .Run(
                    "pipeline",
                    new Parameters
                    {
                        Seed = seed,
                        Tasks = 3000,
                        Cv = 2,
                        Jitter = 0.05,
                    }
                );
        var (first, again, other) = (Live(7), Live(7), Live(8));
        Assert.Equal(first.TraceHash, again.TraceHash);
        Assert.Equal(first.Express.Attained, again.Express.Attained);
        Assert.NotEqual(first.TraceHash, other.TraceHash);
    }

    [Fact]
    public void At_a_batch_boundary_express_goes_before_what_bulk_has_left()
    {
        // Ten bulk tasks in batches of two take 10 ms; the express task of 3.5 ms is on the device from 4 to 5 ms.
        var arrivals = new Written(new Submission(0, LatencyClass.Bulk, Tasks: 10), new Submission(Written.Ms(3.5), LatencyClass.Express));
        var policy = new TinyPolicy(p => SendAll(p, bulkUnits: 2));
        var result = new World(TinyWorld.Options(), arrivals, policy).Run();
        Assert.Equal(Written.Ms(1.5), result.Express.Wait.Max);
        Assert.Equal(Written.Ms(11), result.Bulk.Wait.Max);
        Assert.Equal(6, result.Pools[0].Batches);
    }

    [Fact]
    public void A_dispatch_without_bound_is_one_batch()
    {
        var policy = new TinyPolicy(p => SendAll(p, bulkUnits: long.MaxValue / 4));
        var result = new World(TinyWorld.Options(), new Written(new Submission(0, LatencyClass.Bulk, Tasks: 10)), policy).Run();
        Assert.Equal(1, result.Pools[0].Batches);
    }

    [Fact]
    public void Tasks_of_differing_length_are_cut_as_the_worker_cuts_them()
    {
        // Padded to its longest a batch of [10, 10, 40] costs 120 units; limited to 60 the long one runs alone: 20 + 40.
        var arrivals = new Written(new Submission(0, LatencyClass.Bulk, Tasks: 3, Lengths: [10, 40, 10]));
        var policy = new TinyPolicy(p => SendAll(p, bulkUnits: 60));
        new World(TinyWorld.Options(), arrivals, policy).Run();
        var report = policy.Facts.OfType<DispatchEnded>().Single().Report;
        Assert.Equal([20L, 40L], report.Batches.Select(b => b.PaddedUnits));
        Assert.All(report.Batches, b => Assert.Equal(b.Units, b.PaddedUnits));
    }

    [Fact]
    public void What_is_preempted_is_handed_back_and_its_device_time_is_lost()
    {
        var preempted = false;
        var policy = new TinyPolicy(p =>
        {
            if (!preempted && p.Now - World.Start >= TimeSpan.FromMilliseconds(4))
            {
                preempted = true;
                return [new Preempt(new DispatchId(new Guid(1, 0, 0, new byte[8])), new Why("test"))];
            }

            p.WakeAt = World.Start + TimeSpan.FromMilliseconds(4);
            return preempted ? [] : SendAll(p, bulkUnits: long.MaxValue / 4);
        });
        var options = TinyWorld.Options() with { EndAt = TimeSpan.FromMilliseconds(50) };
        var result = new World(options, new Written(new Submission(0, LatencyClass.Bulk, Tasks: 10)), policy).Run();
        var report = policy.Facts.OfType<DispatchEnded>().Single().Report;
        Assert.Equal(SliceOutcome.HandedBack, report.Slices.Single().Outcome);
        Assert.Empty(report.Batches);
        Assert.Equal(0, result.TasksEnded);
        Assert.Equal(0.004, result.WastedSeconds, 6);
    }

    [Fact]
    public void Messages_and_results_take_their_time()
    {
        var options = TinyWorld.Options() with
        {
            SubmitToScheduler = new Delay(TimeSpan.FromMilliseconds(2)),
            SchedulerToWorker = new Delay(TimeSpan.FromMilliseconds(3)),
            DeviceToResult = new Delay(TimeSpan.FromMilliseconds(5)),
        };
        var result = new World(options, new Written(new Submission(0)), TinyPolicy.Fifo()).Run();
        Assert.Equal(Written.Ms(2 + 3 + 1 + 5), result.Express.Wait.Max);
    }

    [Fact]
    public void The_first_batch_of_a_model_waits_until_it_is_loaded_but_is_not_said_to_have_taken_longer()
    {
        var options = TinyWorld.Options(pool: p => p with { Warm = false, LoadTime = TimeSpan.FromSeconds(2) });
        var policy = TinyPolicy.Fifo();
        var result = new World(options, new Written(new Submission(0)), policy).Run();
        Assert.Equal(Written.Ms(2001), result.Express.Wait.Max);
        Assert.Equal(1_000_000, policy.Facts.OfType<DispatchEnded>().Single().Report.Batches.Single().DeviceNs);
    }

    [Fact]
    public void What_is_accepted_before_the_measured_time_is_run_but_not_counted()
    {
        var options = TinyWorld.Options() with { MeasureFrom = TimeSpan.FromMilliseconds(5) };
        var arrivals = new Written(new Submission(0), new Submission(Written.Ms(6)));
        var result = new World(options, arrivals, TinyPolicy.Fifo()).Run();
        Assert.Equal((1L, 2L), (result.Express.Submitted, result.TasksEnded));
    }

    private static List<Decision> SendAll(TinyPolicy policy, long bulkUnits)
    {
        var decisions = new List<Decision>();
        foreach (var chunk in policy.Waiting)
        {
            decisions.Add(
                chunk.Class == LatencyClass.Express
                    ? policy.Send(chunk, policy.Known.First())
                    : policy.Send(chunk, policy.Known.First(), Lane.Bulk, bulkUnits)
            );
        }

        policy.Waiting.Clear();
        return decisions;
    }
}
