using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public sealed class PredictionTests
{
    private static readonly DateTimeOffset Now = new(2030, 1, 1, 12, 0, 0, TimeSpan.Zero);
    private static readonly ModelRef Model = new("m", "1");

    [Fact]
    public void Work_is_done_when_what_is_ahead_and_itself_have_passed_at_the_pools_pace()
    {
        // A unit takes 1 ms and its share of α, 1 ms: 2 ms on one worker, 1 ms on two. Ahead 9,000 units, the work has 1,000.
        var pool = Pool(workers: 2, ahead: [0, 0, 9_000], alphaNs: 100_000_000, betaNs: 1_000_000, unitsPerBatch: 100);
        Assert.Equal(Now.AddMilliseconds(10_100), Complete(1_000, pool));
    }

    [Fact]
    public void Only_what_is_ahead_of_the_class_counts()
    {
        var pool = Pool(workers: 1, ahead: [1_000, 2_000, 3_000], alphaNs: 0, betaNs: 1_000_000, unitsPerBatch: 1);
        var forecast = new Forecast { At = Now, Pools = [pool] };
        Assert.Equal(Now.AddSeconds(1.5), Prediction.Of(forecast, Model, LatencyClass.Express, new(500, 500))?.Completion);
        Assert.Equal(Now.AddSeconds(2.5), Prediction.Of(forecast, Model, LatencyClass.Standard, new(500, 500))?.Completion);
        Assert.Equal(Now.AddSeconds(3.5), Prediction.Of(forecast, Model, LatencyClass.Bulk, new(500, 500))?.Completion);
    }

    [Fact]
    public void The_pool_that_is_done_first_predicts()
    {
        var slow = Pool(workers: 1, ahead: [0, 0, 0], alphaNs: 0, betaNs: 10_000_000, unitsPerBatch: 1);
        var quick = slow with { BetaNs = 1_000_000 };
        var dead = quick with { Workers = 0, BetaNs = 1 };
        Assert.Equal(Now.AddSeconds(1), Complete(1_000, slow, quick, dead));
    }

    [Fact]
    public void Nothing_is_predicted_without_a_live_worker_that_has_the_model()
    {
        var other = Pool(workers: 1, ahead: [0, 0, 0], alphaNs: 0, betaNs: 1, unitsPerBatch: 1) with { Model = new("other", "1") };
        Assert.Null(Complete(1));
        Assert.Null(Complete(1, other, other with { Model = Model, Workers = 0 }));
    }

    [Fact]
    public void Work_beyond_the_end_of_time_has_no_completion()
    {
        var pool = Pool(workers: 1, ahead: [0, 0, long.MaxValue], alphaNs: 0, betaNs: 1e12, unitsPerBatch: 1);
        Assert.Null(Complete(long.MaxValue, pool));
    }

    [Fact]
    public void A_small_job_runs_on_one_worker_however_many_there_are()
    {
        var pool = Pool(workers: 8, ahead: [0, 0, 0], alphaNs: 10_000_000, betaNs: 1_000_000, unitsPerBatch: 100);

        // One batch, 50 units of 1.1 ms beside 10 ms; five batches on five workers; of two long tasks each has a worker.
        Assert.Equal(Now.AddMilliseconds(65), Of(pool, 50, 50)!.Value.Completion);
        Assert.Equal(Now.AddMilliseconds(120), Of(pool, 500, 500)!.Value.Completion);
        Assert.Equal(Now.AddMilliseconds(285), Of(pool, 500, 2)!.Value.Completion);
    }

    [Fact]
    public void The_late_estimate_is_the_error_band_later()
    {
        var pool = Pool(workers: 1, ahead: [0, 0, 900], alphaNs: 0, betaNs: 1_000_000, unitsPerBatch: 1);

        Assert.Equal(Now.AddMilliseconds(1300), Of(pool with { ErrorBand = 0.3 }, 100, 100)!.Value.Late);
        Assert.Equal(Now.AddMilliseconds(1200), Of(pool, 100, 100)!.Value.Late);
        Assert.Equal(Now.AddMilliseconds(1200), Of(pool with { ErrorBand = double.NaN }, 100, 100)!.Value.Late);
    }

    [Fact]
    public void Small_work_takes_and_costs_what_a_small_batch_does()
    {
        // A batch of 8 units takes 1 ms however small, and one of 64 takes 2 ms: by the line of full ones a unit would take 31 µs.
        var pool = Pool(workers: 2, ahead: [0, 0, 0], alphaNs: 0, betaNs: 31_250, unitsPerBatch: 64) with
        {
            BatchNs = [1_000_000, 1_000_000, 1_000_000, 1_000_000, 1_200_000, 1_500_000, 2_000_000],
            RowsPerBatch = 32,
            PricePerHourPico = Cost.PicoPerUsd,
        };

        Assert.Equal([1.0, 1.0, 1.1, 2.0, 3.2], new[] { 1, 8, 12, 64, 80 }.Select(units => DeviceMs(units, 1)));

        // Rows fill a batch, too: two full ones, on two workers.
        Assert.Equal(3.0, DeviceMs(64, 64));
        Assert.Equal(Now.AddMilliseconds(1.5), Of(pool, 64, 64)!.Value.Completion);

        // Copies fill none.
        Assert.Equal(1.0, DeviceMs(1, 1, copies: 10_000));

        double DeviceMs(long units, long tasks, long copies = 0) =>
            Math.Round(
                Prediction
                    .Estimate(
                        new Forecast { At = Now, Pools = [pool] },
                        Model,
                        LatencyClass.Bulk,
                        new(units, tasks, copies),
                        Now.AddDays(1)
                    )!
                    .Value.CostPico!.Value / (Cost.PicoPerUsd / 3_600_000.0),
                2
            );
    }

    [Fact]
    public void A_planner_tells_what_admission_needs()
    {
        var world = new PolicyWorld().Knows();
        var worker = world.Worker();
        world.Chunk(latencyClass: LatencyClass.Bulk, tasks: 512, unitsPerTask: 1000);
        world.Plan();
        var pool = Assert.Single(world.Planner.Forecast(world.Now).Pools);

        // The bulk batch on the device takes up to 250 ms; what runs is ahead of standard, not of express.
        Assert.Equal(Cost.PicoPerUsd, pool.PricePerHourPico);
        Assert.InRange((pool.ExpressFreeAt!.Value - world.Now).TotalMilliseconds, 100, 251);
        Assert.Equal(0, pool.UnitsAhead[0]);
        Assert.InRange(pool.UnitsAhead[1], 500_000, 530_000);
        Assert.True(pool.ErrorBand > 0);

        // 1 ms and 1 µs a unit, up to the full batch.
        Assert.Equal(1_001_000, pool.BatchNs![0]);
        Assert.Equal(1_000_000 + (1000 * pool.UnitsPerBatch), pool.BatchNs[^1], 2000.0);
        Assert.Equal(Math.Ceiling(Math.Log2(pool.UnitsPerBatch)) + 1, pool.BatchNs.Count);

        world.Beat(worker, draining: true);
        Assert.Empty(world.Planner.Forecast(world.Now).Pools);
    }

    [Fact]
    public void Copies_that_ran_after_all_do_not_make_the_next_work_dearer()
    {
        var world = new PolicyWorld().Knows();
        world.Worker();
        var before = Assert.Single(world.Planner.Forecast(world.Now).Pools).BetaNs;

        for (var i = 0; i < 20; i++)
        {
            // All 512 are copies, so the door counts one unit; on another device than their originals most run, or all.
            world.Chunk(tasks: 512, units: 1);
            var dispatch = Assert.Single(world.Sends());
            var rows = i % 2 == 0 ? 450 : 512;
            world.Finish(dispatch, batches: [new BatchFact(rows, rows * 100L, rows * 100L, 1_000_000 + (rows * 100_000L))]);
        }

        Assert.Equal(before, Assert.Single(world.Planner.Forecast(world.Now).Pools).BetaNs, 0.05 * before);
    }

    [Fact]
    public void Work_that_is_written_slower_than_it_runs_takes_the_time_of_its_rows()
    {
        var pool = Pool(workers: 2, ahead: [0, 0, 1_000], alphaNs: 0, betaNs: 1_000, unitsPerBatch: 100) with
        {
            TasksAhead = [0, 0, 4_000],
            RowNs = 1_000_000,
            RowBand = 0.5,
            PricePerHourPico = Cost.PicoPerUsd,
        };
        var forecast = new Forecast { At = Now, Pools = [pool] };
        var estimated = Prediction.Estimate(forecast, Model, LatencyClass.Bulk, new(3_000_000, 1_000), Now.AddDays(1))!.Value;

        // 4,000 rows ahead and 1,000 of its own on two workers; the device would be done with its own in 1.5 s.
        Assert.Equal((Now.AddSeconds(2), Now.AddSeconds(3.5)), (estimated.Start, estimated.Completion));
        Assert.Equal(Now.AddSeconds(5.25), estimated.Late);
        var slow = Prediction.Estimate(forecast, Model, LatencyClass.Bulk, new(1_000, 1_000), Now.AddDays(1))!.Value;
        Assert.Equal(Now.AddSeconds(2.5), slow.Completion);
        var copied = Prediction.Estimate(forecast, Model, LatencyClass.Bulk, new(1_000, 1_000, Copies: 9_000), Now.AddDays(1))!.Value;
        Assert.Equal(Now.AddSeconds(7), copied.Completion);

        // What is paid for is the device.
        Assert.Equal(Cost.PicoPerUsd / 3600 * 3, estimated.CostPico!.Value, 1_000_000.0);
        Assert.Equal(Cost.PicoPerUsd / 3_600_000, slow.CostPico!.Value, 1_000_000.0);
        Assert.Equal(slow.CostPico, copied.CostPico);
    }

    [Fact]
    public void The_band_has_two_sides_and_the_tasks_cost_leaves_padding_out()
    {
        var pool = Pool(workers: 1, ahead: [0, 0, 1_000], alphaNs: 0, betaNs: 1_000_000, unitsPerBatch: 1) with
        {
            ErrorBand = 0.5,
            LowerBand = 0.25,
            RealShare = 0.8,
            PricePerHourPico = Cost.PicoPerUsd,
        };

        var estimated = Estimate(pool);
        Assert.Equal((Now.AddSeconds(1.5), Now.AddSeconds(2), Now.AddSeconds(3)), (estimated.Early, estimated.Completion, estimated.Late));
        Assert.Equal(estimated.CostPico!.Value * 0.8, estimated.TaskCostPico!.Value, 1.0);

        // Who knows nothing yet may be off by all of it; an older sender tells neither.
        Assert.Equal(Now, Estimate(pool with { LowerBand = 3 }).Early);
        var old = Estimate(pool with { LowerBand = null, RealShare = null });
        Assert.Equal((Now.AddSeconds(1.6), old.CostPico), (old.Early, old.TaskCostPico));

        Estimated Estimate(PoolForecast of) =>
            Prediction
                .Estimate(new Forecast { At = Now, Pools = [of] }, Model, LatencyClass.Bulk, new(1_000, 1_000), Now.AddDays(1))!
                .Value;
    }

    [Fact]
    public void Slower_classes_are_reckoned_in_the_cheapest_pool_that_meets_the_deadline()
    {
        var dear = Pool(workers: 1, ahead: [0, 0, 0], alphaNs: 0, betaNs: 1_000_000, unitsPerBatch: 1) with
        {
            PricePerHourPico = 4_000_000,
        };
        var cheap = dear with { Pool = "cheap", BetaNs = 2_000_000, PricePerHourPico = 1_000_000 };
        var forecast = new Forecast { At = Now, Pools = [dear, cheap] };

        Assert.Equal("cheap", PoolFor(LatencyClass.Bulk, Now.AddSeconds(3)));
        Assert.Equal(dear.Pool, PoolFor(LatencyClass.Bulk, Now.AddSeconds(1.5)));
        Assert.Equal(dear.Pool, PoolFor(LatencyClass.Express, Now.AddSeconds(3)));

        string PoolFor(LatencyClass c, DateTimeOffset deadline) =>
            Prediction.Estimate(forecast, Model, c, new(1_000, 1_000), deadline)!.Value.Pool;
    }

    private static Estimated? Of(PoolForecast pool, long units, long tasks) =>
        Prediction.Estimate(Now, pool, LatencyClass.Bulk, new(units, tasks));

    private static DateTimeOffset? Complete(long units, params PoolForecast[] pools) =>
        Prediction.Of(new Forecast { At = Now, Pools = pools }, Model, LatencyClass.Bulk, new(units, units))?.Completion;

    private static PoolForecast Pool(int workers, long[] ahead, double alphaNs, double betaNs, long unitsPerBatch) =>
        new("default", Model, workers, ahead, alphaNs, betaNs, unitsPerBatch);
}
