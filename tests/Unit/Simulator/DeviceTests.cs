using Pipeline.Simulator;
using Pipeline.Simulator.Fleet;
using Pipeline.Simulator.Workloads;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator;

public sealed class DeviceTests
{
    [Fact]
    public void A_profile_is_flat_before_its_table_straight_within_and_goes_on_beyond()
    {
        var device = new DeviceProfile("x", [(10, 1000.0), (20, 2000.0), (40, 6000.0)]);
        Assert.Equal([1000.0, 1000, 1500, 4000, 6000, 8000], new long[] { 1, 10, 15, 30, 40, 50 }.Select(device.Ns));
        Assert.Equal(6000 + (200 * (100_000 - 40)), device.Ns(100_000));
    }

    [Theory]
    [InlineData("bert-base-s128-a100", 0.507, 0.1066)]
    [InlineData("bert-large-s384-ort-a100", 3.225, 3.263)]
    [InlineData("dist4l-s384-a100", 1.126, 0.150)]
    [InlineData("resnet50-trt-v100", 2.474, 0.422)]
    [InlineData("resnet50-int8-l4", 0.272, 0.0723)]
    [InlineData("symphony-resnet", 5.204, 1.082)]
    public void Published_tables_have_the_published_lines(string name, double alphaMs, double betaMs)
    {
        var device = Profiles.Find(name);
        Assert.InRange(device.AlphaNs / 1e6 / alphaMs, 0.97, 1.03);
        Assert.InRange(device.BetaNs / 1e6 / betaMs, 0.97, 1.03);
    }

    [Fact]
    public void A_profile_can_be_told_wrong()
    {
        var told = Profiles.Find("symphony-resnet").Measured("cuda", error: 1.2);
        Assert.Equal(1.2 * 5_204_000, told.AlphaNs, 0.001 * 5_204_000);
        Assert.Equal(1.2 * 6_286_000, told.Points[0].DeviceNs, 10.0);
    }

    [Fact]
    public void The_ceiling_is_the_published_one()
    {
        // SCHEDULER_FACTS 5.2: Symphony's profile at 25 ms keeps 0.757 of 1/B on eight devices, 0.584 on one (1 − 2a/S: 0.555 eager).
        var device = Profiles.Find("symphony-resnet");
        var kept = Ceiling.UnitsPerSecond(device, 8, TimeSpan.FromMilliseconds(25)) / 8 / (1e9 / device.BetaNs);
        Assert.InRange(kept, 0.74, 0.77);
    }

    [Fact]
    public void Jitter_moves_batches_about_their_time_and_stragglers_take_longer()
    {
        var options = TinyWorld.Options(pool: p => p with { JitterSigma = 0.1, StragglerShare = 0.02, StragglerFactor = 10 });
        var policy = TinyPolicy.Fifo();
        new World(options, new GammaArrivals(new Kind(), 500, 1, 20_000, 5), policy).Run();
        var times = policy.Facts.OfType<Pipeline.Scheduler.Policy.DispatchEnded>().Select(d => d.Report.Batches[0].DeviceNs / 1e6).ToList();
        var usual = times.Where(t => t < 3).ToList();
        Assert.InRange(1 - ((double)usual.Count / times.Count), 0.017, 0.023);
        Assert.InRange(usual.Average(), 0.995, 1.005);
        Assert.InRange(Math.Sqrt(usual.Average(t => Math.Log(t) * Math.Log(t))), 0.095, 0.105);
    }

    [Fact]
    public void A_dead_worker_comes_back_under_another_id()
    {
        var options = TinyWorld.Options(pool: p =>
            p with
            {
                MeanLife = TimeSpan.FromSeconds(1),
                RestartAfter = TimeSpan.FromSeconds(1),
            }
        ) with
        {
            EndAt = TimeSpan.FromSeconds(60),
        };
        var policy = new TinyPolicy(_ => []);
        new World(options, new Written(), policy).Run();
        Assert.InRange(policy.Known.Count, 10, 60);
    }
}
