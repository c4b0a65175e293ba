using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator;
using Pipeline.Simulator.Fleet;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public class CostModelTests
{
    [Fact]
    public void Starts_from_the_profile()
    {
        var cost = new CostModel(PolicyWorld.Profile);

        Assert.True(cost.IsKnown);
        Assert.Equal(1_000_000, cost.AlphaNs, 1e-6);
        Assert.Equal(1000, cost.BetaNs, 1e-6);
        Assert.Equal(249_000, cost.PaddedUnitsWithin(TimeSpan.FromMilliseconds(250)));
    }

    [Theory]
    [InlineData(500_000, 100)]
    [InlineData(20_000_000, 3)]
    [InlineData(0, 50_000)]
    public void Learns_a_line_it_was_told_nothing_of(double alpha, double beta)
    {
        var cost = new CostModel();
        Feed(cost, alpha, beta, batches: 200, noise: 0.05);

        Assert.True(cost.IsKnown);
        foreach (var units in new[] { 1000, 10_000, 60_000 })
        {
            Assert.InRange(cost.BatchNs(units) / (alpha + (beta * units)), 0.9, 1.1);
        }
    }

    [Fact]
    public void Knows_beyond_which_size_a_batch_gets_dearer_by_the_unit()
    {
        var profile = PolicyWorld.Profile with
        {
            Points = [new(1, 128, 2_000_000), new(4, 512, 6_000_000), new(8, 1024, 11_800_000), new(16, 2048, 33_000_000)],
        };

        Assert.Equal(1024, new CostModel(profile, onItsDevice: true).PaddedUnitsEfficient);
        Assert.Equal(long.MaxValue, new CostModel(profile, onItsDevice: false).PaddedUnitsEfficient);
    }

    [Fact]
    public void Bounds_no_batch_where_the_largest_measured_is_as_good_as_any()
    {
        var profile = PolicyWorld.Profile with { Points = [new(1, 128, 2_000_000), new(4, 512, 3_000_000), new(8, 1024, 5_000_000)] };

        Assert.Equal(long.MaxValue, new CostModel(profile, onItsDevice: true).PaddedUnitsEfficient);
    }

    [Fact]
    public void Follows_a_device_that_became_slower()
    {
        var cost = new CostModel(PolicyWorld.Profile);
        Feed(cost, 1_000_000, 1000, batches: 200, noise: 0.02);
        Feed(cost, 3_000_000, 3000, batches: 300, noise: 0.02);

        Assert.InRange(cost.BatchNs(30_000) / 93_000_000, 0.9, 1.1);
    }

    [Fact]
    public void One_paused_process_does_not_bend_the_line()
    {
        var cost = new CostModel(PolicyWorld.Profile);
        Feed(cost, 1_000_000, 1000, batches: 200, noise: 0.02);
        cost.Observe(new BatchFact(10, 10_000, 10_000, 10_000L * 1000 * 100));

        Assert.InRange(cost.BatchNs(30_000) / 31_000_000, 0.8, 1.25);
    }

    [Fact]
    public void One_dispatch_far_off_moves_the_padding_ratio_a_little_and_many_move_it_there()
    {
        var cost = new CostModel(PolicyWorld.Profile);
        Feed(cost, 1_000_000, 1000, batches: 20, noise: 0);
        cost.ObservePadding(unitsAtDoor: 1000, paddedUnits: 1100);
        var usual = cost.PaddingRatio;
        cost.ObservePadding(unitsAtDoor: 3, paddedUnits: 22_969);

        Assert.InRange(cost.PaddingRatio, usual, 1.1001 * usual);

        for (var i = 0; i < 60; i++)
        {
            cost.ObservePadding(unitsAtDoor: 1000, paddedUnits: 8000);
        }

        Assert.Equal(8, cost.PaddingRatio, 0.1);
    }

    [Fact]
    public void Its_error_band_holds_most_batches()
    {
        var cost = new CostModel(PolicyWorld.Profile);
        Feed(cost, 1_000_000, 1000, batches: 2000, noise: 0.1);

        Assert.InRange(cost.ErrorBand, 0.05, 0.2);
    }

    [Fact]
    public void Its_bands_tell_longer_from_quicker()
    {
        var cost = new CostModel(PolicyWorld.Profile);
        for (var i = 0; i < 3000; i++)
        {
            // One in ten takes a third longer.
            cost.Observe(new BatchFact(10, 9_000, 10_000, i % 10 == 0 ? 14_666_667 : 11_000_000));
        }

        Assert.InRange(cost.UpperBand, 0.2, 0.4);
        Assert.InRange(cost.LowerBand, 0.01, 0.1);
        Assert.Equal(0.9, cost.RealShare, 1e-6);
    }

    [Fact]
    public void Batches_of_one_size_do_not_make_it_wild()
    {
        var cost = new CostModel(PolicyWorld.Profile);
        for (var i = 0; i < 5000; i++)
        {
            cost.Observe(new BatchFact(32, 4096, 4096, 5_096_000));
        }

        cost.Observe(new BatchFact(64, 8192, 8192, 9_192_000));
        Assert.InRange(cost.BatchNs(4096) / 5_096_000, 0.9, 1.1);
        Assert.True(double.IsFinite(cost.AlphaNs) && cost.AlphaNs >= 0);
        Assert.True(double.IsFinite(cost.BetaNs) && cost.BetaNs > 0);
    }

    [Fact]
    public void Batches_smaller_than_any_before_do_not_make_the_device_a_million_times_slower()
    {
        // Steeper than in proportion between the first two sizes, as noise makes it: gone on with, 10 units would take less than no time.
        var cost = new CostModel(
            PolicyWorld.Profile with
            {
                Points = [new(1, 100, 2_000_000), new(2, 200, 6_000_000), new(8, 800, 30_000_000)],
            }
        );
        for (var i = 0; i < 50; i++)
        {
            cost.Observe(new BatchFact(1, 10, 10, 2_000_000));
        }

        Assert.InRange(cost.BatchNs(10), 1_500_000, 3_000_000);
        Assert.InRange(cost.BatchNs(800), 10_000_000, 1_000_000_000);
    }

    [Fact]
    public void A_size_that_was_never_measured_is_learned_beside_others_and_moves_none_of_them()
    {
        var cost = new CostModel(
            PolicyWorld.Profile with
            {
                Points = [new(8, 800, 800_000), new(16, 1600, 1_600_000), new(32, 3200, 3_200_000)],
            }
        );
        for (var i = 0; i < 200; i++)
        {
            cost.Observe(i % 20 >= 10 ? new BatchFact(1, 1, 1, 200_000) : new BatchFact(32, 3200, 3200, 3_200_000));
            Assert.InRange(cost.BatchNs(3200), 3_000_000, 3_400_000);
        }

        Assert.InRange(cost.BatchNs(1), 150_000, 250_000);
    }

    [Fact]
    public void Sizes_close_together_do_not_take_the_line_away_from_what_was_measured()
    {
        var cost = new CostModel();
        var random = new Random(18);
        for (var i = 0; i < 5000; i++)
        {
            var units = random.Next(3) == 0 ? 246 : 287;
            cost.Observe(new BatchFact(1, units, units, (long)(40_000_000 * (1 + (0.2 * ((2 * random.NextDouble()) - 1))))));
            Assert.InRange(cost.AlphaNs + (cost.BetaNs * units), i < 10 ? 1 : 20_000_000, 80_000_000);
        }
    }

    [Fact]
    public void Whatever_comes_it_never_tells_many_times_the_longest_batch_it_ever_saw()
    {
        for (var seed = 0; seed < 1500; seed++)
        {
            var random = new Random(seed);
            var (alpha, beta, row, rowsMax) = (Any(1e4, 1e8), random.Next(3) == 0 ? 0 : Any(0.1, 1e6), Any(1, 600), (int)Any(1, 64));
            var (noise, rare, far, small) = (0.6 * random.NextDouble(), 0.1 * random.NextDouble(), Any(2, 1000), Any(0.001, 1));
            var wrong = Any(0.01, 100);
            ProfilePoint[] points =
            [
                .. from rows in new[] { 1, 2, 4, 8, 16, 32 }
                select new ProfilePoint(
                    rows,
                    rows * (long)row,
                    (long)(1 + (wrong * (alpha + (beta * rows * row)) * (1 + (noise * random.NextDouble()))))
                ),
            ];
            var profiled = random.Next(2) == 0;
            var cost = new CostModel(
                profiled ? PolicyWorld.Profile with { Points = points, AlphaNs = alpha * wrong, BetaNs = (beta * wrong) + 1e-3 } : null
            );
            var (longest, largest) = (profiled ? points.Max(p => p.DeviceNs) : 1e8, 1L);
            for (var i = 0; i < 1000; i++)
            {
                var slower = random.Next(500) == 0 ? Any(0.1, 10) : 1;
                (alpha, beta) = (alpha * slower, beta * slower);
                var rows = random.Next(2) == 0 ? random.Next(1, rowsMax + 1) : rowsMax;
                var units = Math.Max(1, (long)(i > 40 && random.Next(3) == 0 ? row * small : row * rows));
                var ns = (alpha + (beta * units)) * Math.Exp(noise * ((2 * random.NextDouble()) - 1));
                ns *= random.NextDouble() < rare ? Any(1, far) : 1;
                cost.Observe(new BatchFact(rows, units, units, (long)ns));
                (longest, largest) = (Math.Max(longest, ns), Math.Max(largest, units));

                var told = Math.Max(cost.BatchNs(largest), cost.AlphaNs + (cost.BetaNs * largest));
                Assert.True(told < 50 * longest, $"Life {seed}, batch {i}: {told:g3} ns, and none took longer than {longest:g3}.");
            }

            double Any(double from, double to) => from * Math.Exp(random.NextDouble() * Math.Log(to / from));
        }
    }

    [Theory]
    [InlineData(0, 100)]
    [InlineData(-5, 100)]
    [InlineData(100, 0)]
    [InlineData(100, -1)]
    [InlineData(100, long.MaxValue)]
    [InlineData(100, 86_400_000_000_001)]
    [InlineData(long.MaxValue, 100)]
    public void Impossible_measurements_are_passed_over(long units, long ns)
    {
        var cost = new CostModel(PolicyWorld.Profile);
        cost.Observe(new BatchFact(1, units, units, ns));

        Assert.Equal(0, cost.Batches);
        Assert.Equal(1_000_000, cost.AlphaNs, 1e-6);
    }

    [Theory]
    [InlineData(1.0)]
    [InlineData(0.8)]
    [InlineData(1.2)]
    [InlineData(0.5)]
    [InlineData(1.5)]
    public void Is_within_three_percent_on_every_published_profile_after_200_batches(double seedError)
    {
        Assert.All(
            Published(),
            device =>
            {
                var cost = new CostModel(device.Measured("test", seedError));
                var random = new Random(11);
                Run(cost, device, random, batches: 200);

                Assert.True(ErrorP95(cost, device, random) <= 0.03, $"{device.Name}: {ErrorP95(cost, device, random):P2}");
            }
        );
    }

    [Fact]
    public void Is_within_five_percent_20_batches_after_a_device_became_half_as_slow_again()
    {
        Assert.All(
            Profiles.All.Select(p => p.Profile),
            device =>
            {
                var cost = new CostModel(device.Measured("test"));
                var random = new Random(12);
                Run(cost, device, random, batches: 200);
                var slower = device.Times(1.5);
                Run(cost, slower, random, batches: 20);

                Assert.True(ErrorP95(cost, slower, random) <= 0.05, $"{device.Name}: {ErrorP95(cost, slower, random):P2}");
            }
        );
    }

    [Fact]
    public void Follows_a_change_through_jitter()
    {
        var device = Profiles.Find("resnet50-pyt-v100");
        var cost = new CostModel(device.Measured("test"));
        var random = new Random(13);
        Run(cost, device, random, batches: 200, jitter: 0.05);
        var slower = device.Times(1.5);
        Run(cost, slower, random, batches: 20, jitter: 0.05);

        Assert.InRange(ErrorP95(cost, slower, random), 0, 0.06);
    }

    [Fact]
    public void A_batch_of_a_hundred_times_its_estimate_moves_nothing_by_more_than_a_few_percent()
    {
        foreach (var batches in new[] { 0, 1, 5, 200 })
        {
            var device = Profiles.Find("resnet50-pyt-v100");
            var cost = new CostModel(device.Measured("test"));
            Run(cost, device, new Random(14), batches);
            cost.Observe(new BatchFact(32, 32, 32, (long)(100 * device.Ns(32))));

            Assert.All(new long[] { 1, 32, 100, 256 }, units => Assert.InRange(cost.BatchNs(units) / device.Ns(units), 0.97, 1.03));
        }
    }

    [Fact]
    public void Batches_within_a_time_are_the_inverse_of_the_time_of_a_batch()
    {
        foreach (var device in Published())
        {
            var cost = new CostModel(device.Measured("test"));
            Run(cost, device, new Random(15), batches: 50, jitter: 0.1);
            for (var units = device.Points[0].Units; units < 3 * device.Points[^1].Units; units = (units * 3 / 2) + 1)
            {
                var within = cost.PaddedUnitsWithin(TimeSpan.FromTicks((long)Math.Ceiling(cost.BatchNs(units) / 100)));
                Assert.InRange(cost.BatchNs(within) / cost.BatchNs(units), 0.999, 1.001);
                Assert.True(cost.BatchNs(units + 1) >= cost.BatchNs(units), device.Name);
            }
        }
    }

    [Fact]
    public void A_flat_foot_admits_all_of_it_in_the_time_of_one()
    {
        var cost = new CostModel(
            PolicyWorld.Profile with
            {
                Points = [new(1, 1, 12_800_000), new(32, 32, 12_800_000), new(256, 256, 83_600_000)],
                AlphaNs = 9_000_000,
                BetaNs = 290_000,
            }
        );

        Assert.Equal(12_800_000, cost.BatchNs(1), 1.0);
        Assert.Equal(12_800_000, cost.BatchNs(20), 1.0);
        Assert.Equal(32, cost.PaddedUnitsWithin(TimeSpan.FromMilliseconds(12.8)));
    }

    [Fact]
    public void Finds_the_form_of_a_device_nobody_profiled()
    {
        var device = Profiles.Find("resnet50-pyt-v100");
        var cost = new CostModel();
        var random = new Random(16);
        Run(cost, device, random, batches: 600);

        Assert.InRange(ErrorP95(cost, device, random), 0, 0.05);
    }

    [Fact]
    public void The_best_batch_follows_the_device()
    {
        var profile = PolicyWorld.Profile with
        {
            Points = [new(1, 128, 2_000_000), new(4, 512, 6_000_000), new(8, 1024, 11_800_000), new(16, 2048, 33_000_000)],
        };
        var cost = new CostModel(profile, onItsDevice: true);
        for (var i = 0; i < 200; i++)
        {
            cost.Observe(new BatchFact(16, 2048, 2048, 22_000_000));
            cost.Observe(new BatchFact(8, 1024, 1024, 11_800_000));
        }

        Assert.Equal(long.MaxValue, cost.PaddedUnitsEfficient);
    }

    [Fact]
    public void The_high_estimate_holds_19_of_20_batches()
    {
        var cost = new CostModel(PolicyWorld.Profile);
        Feed(cost, 1_000_000, 1000, batches: 500, noise: 0.1);
        var random = new Random(17);
        var above = 0;
        for (var i = 0; i < 1000; i++)
        {
            var units = random.Next(100, 65_536);
            above += (1_000_000 + (1000.0 * units)) * (1 + (0.1 * ((2 * random.NextDouble()) - 1))) > cost.HighNs(units) ? 1 : 0;
        }

        Assert.InRange(above, 0, 100);
        Assert.InRange(cost.UpperBand, 0.05, 0.15);
    }

    [Fact]
    public void A_measurement_costs_no_memory()
    {
        var cost = new CostModel(Profiles.Find("resnet50-pyt-v100").Measured("test"));
        var batch = new BatchFact(32, 32, 32, 15_800_000);
        cost.Observe(batch);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
        {
            cost.Observe(batch);
        }

        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    /// <summary>The published tables by rows, and those by tokens where the data is at hand.</summary>
    private static IEnumerable<DeviceProfile> Published() =>
        Profiles
            .All.Select(p => p.Profile)
            .Concat(
                new[] { "a100_llama2-7b", "a100_phi2", "a40_llama2-7b" }
                    .Select(name => Path.Combine("profiles", $"{name}_linear.csv"))
                    .Where(SharedData.Exists)
                    .Select(name => Profiles.FromCsv(SharedData.PathOf(name)))
            );

    private static void Run(CostModel cost, DeviceProfile device, Random random, int batches, double jitter = 0)
    {
        for (var i = 0; i < batches; i++)
        {
            var units = random.NextInt64(1, device.Points[^1].Units + 1);
            var ns = device.Ns(units) * (1 + (jitter * ((2 * random.NextDouble()) - 1)));
            cost.Observe(new BatchFact((int)units, units, units, (long)ns));
        }
    }

    private static double ErrorP95(CostModel cost, DeviceProfile device, Random random)
    {
        var errors = new double[1000];
        for (var i = 0; i < errors.Length; i++)
        {
            var units = random.NextInt64(1, device.Points[^1].Units + 1);
            errors[i] = Math.Abs((cost.BatchNs(units) / device.Ns(units)) - 1);
        }

        Array.Sort(errors);
        return errors[950];
    }

    private static void Feed(CostModel cost, double alpha, double beta, int batches, double noise)
    {
        var random = new Random(7);
        for (var i = 0; i < batches; i++)
        {
            var units = random.Next(100, 65_536);
            var ns = (alpha + (beta * units)) * (1 + (noise * ((2 * random.NextDouble()) - 1)));
            cost.Observe(new BatchFact(32, units, units, (long)ns));
        }
    }
}
