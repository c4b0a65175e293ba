using Pipeline.Scheduler.Policy;
using Pipeline.Simulator.Baselines;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator.Baselines;

public sealed class ClairvoyantBoundTests
{
    private static readonly Func<PolicyOptions, IPolicy>[] Policies =
    [
        o => new NexusPolicy(new BaselineSetup { Options = o }),
        o => new ClockworkPolicy(new BaselineSetup { Options = o }, [.. Enumerable.Range(1, 40)], marginShare: 0),
        o => new ShepherdPolicy(new BaselineSetup { Options = o }),
        o => new SymphonyPolicy(new BaselineSetup { Options = o }),
        o => new MlPerfPolicy(new BaselineSetup { Options = o }),
    ];

    [Fact]
    public void One_device_is_exact()
    {
        var chance = new Random(3);
        for (var i = 0; i < 400; i++)
        {
            var (arrivals, target, latency) = Instance(chance, chance.Next(1, 7), affine: i % 2 == 0);
            Assert.Equal(Best(arrivals, target, latency, 1), ClairvoyantBound.OneDevice(arrivals, target, latency));
        }
    }

    [Fact]
    public void Several_devices_are_bounded_from_above()
    {
        var chance = new Random(4);
        var (tight, all) = (0, 0);
        for (var i = 0; i < 300; i++)
        {
            var (arrivals, target, latency) = Instance(chance, chance.Next(2, 6), affine: i % 2 == 0);
            var best = Best(arrivals, target, latency, 2);
            var bound = ClairvoyantBound.Attained(arrivals, target, latency, 2);
            Assert.True(
                bound >= best,
                $"bound {bound}, best {best}: [{string.Join(' ', arrivals)}] target {target} l [{string.Join(' ', latency)}]"
            );
            Assert.True(ClairvoyantBound.Fluid(arrivals, target, latency, 1) >= Best(arrivals, target, latency, 1));
            tight += bound == best ? 1 : 0;
            all++;
        }

        Assert.True(tight > all * 3 / 4, $"{tight} of {all} bounds are met");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    public void No_policy_attains_more(int devices)
    {
        const double A = 5.204;
        const double B = 1.082;
        long[] latency = [.. Enumerable.Range(1, 40).Select(b => (long)Math.Round((A + (B * b)) * TimeSpan.TicksPerMillisecond))];
        for (var seed = 0; seed < 12; seed++)
        {
            var share = 0.3 + (0.1 * seed);
            var target = seed % 2 == 0 ? 25 : 60;
            for (var p = 0; p < Policies.Length; p++)
            {
                var fleet = new VirtualFleet(Policies[p](VirtualFleet.Promise(target)), devices, VirtualFleet.Affine(A, B), tasksMax: 40);
                fleet.ArrivePoisson(share * devices / B, 200, target, seed).Run();
                var bound = ClairvoyantBound.Attained(fleet.ArrivalTicks, target * TimeSpan.TicksPerMillisecond, latency, devices);
                Assert.True(fleet.Attained <= bound, $"policy {p} attained {fleet.Attained} of at most {bound}, seed {seed}");
            }
        }
    }

    [Fact]
    public void Light_work_can_all_be_attained() => Assert.Equal(3, ClairvoyantBound.Attained([0, 100, 200], 20, [10, 12, 14], 2));

    [Fact]
    public void A_target_below_one_task_attains_nothing()
    {
        Assert.Equal(0, ClairvoyantBound.Attained([0, 1, 2], 9, [10, 12, 14], 1));
        Assert.Equal(0, ClairvoyantBound.Attained([0, 1, 2], 9, [10, 12, 14], 3));
    }

    [Fact]
    public void Nothing_that_comes_attains_nothing() => Assert.Equal(0, ClairvoyantBound.Attained([], 20, [10], 2));

    [Fact]
    public void Knowing_what_comes_a_device_keeps_the_full_batch_under_any_overload()
    {
        // 20 tasks a target, l(b) = 4 + b within 10: batches of six, one every ten.
        long[] arrivals = [.. Enumerable.Range(0, 2000).Select(i => i / 2L)];
        long[] latency = [.. Enumerable.Range(1, 20).Select(b => 4L + b)];
        Assert.InRange(ClairvoyantBound.OneDevice(arrivals, 10, latency), 500, 600);
    }

    /// <summary>Small numbers, so that ties are common; any latency that grows with the batch, or an affine one.</summary>
    private static (long[] Arrivals, long Target, long[] Latency) Instance(Random chance, int tasks, bool affine)
    {
        var at = 0L;
        var arrivals = new long[tasks];
        for (var i = 0; i < tasks; i++)
        {
            arrivals[i] = at += chance.Next(0, 5);
        }

        var (a, b) = (chance.Next(1, 6), chance.Next(1, 4));
        var latency = new long[chance.Next(1, 6)];
        for (var i = 0; i < latency.Length; i++)
        {
            latency[i] = affine ? a + (b * (i + 1)) : (i == 0 ? a : latency[i - 1]) + chance.Next(0, 4);
        }

        return (arrivals, chance.Next(4, 20), latency);
    }

    /// <summary>Tries every batch of every tasks in every order on every device.</summary>
    private static int Best(long[] arrivals, long target, long[] latency, int devices)
    {
        return From((1 << arrivals.Length) - 1, new long[devices]);

        int From(int waiting, long[] free)
        {
            var best = 0;
            for (var batch = waiting; batch > 0; batch = (batch - 1) & waiting)
            {
                var size = System.Numerics.BitOperations.PopCount((uint)batch);
                if (size > latency.Length)
                {
                    continue;
                }

                var first = arrivals[System.Numerics.BitOperations.TrailingZeroCount(batch)];
                var last = arrivals[31 - System.Numerics.BitOperations.LeadingZeroCount((uint)batch)];
                for (var device = 0; device < devices; device++)
                {
                    var end = Math.Max(free[device], last) + latency[size - 1];
                    if (end > first + target)
                    {
                        continue;
                    }

                    var then = (long[])free.Clone();
                    then[device] = end;
                    best = Math.Max(best, size + From(waiting & ~batch, then));
                }
            }

            return best;
        }
    }
}
