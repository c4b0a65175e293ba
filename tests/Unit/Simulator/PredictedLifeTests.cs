using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator;
using Pipeline.Simulator.Fleet;
using Pipeline.Simulator.Workloads;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator;

/// <summary>
/// A load like that of <c>bench ledger</c> in virtual time: bulk jobs of 300 to 48,000 tasks, small standard jobs, ten express requests a second; two
/// models, two workers, one of which dies every 15 s on average.
/// </summary>
public sealed class PredictedLifeTests(ITestOutputHelper output)
{
    private static readonly int[] Sizes = [300, 1_000, 4_000, 12_000];

    [Theory]
    [InlineData(1.0, 0)]
    [InlineData(1.4, 30)]
    public void About_nine_of_ten_jobs_end_within_their_band_however_the_load_swings(double slowness, double lifeSeconds)
    {
        var options = Options(slowness, TimeSpan.FromSeconds(lifeSeconds));
        var life = new PredictedLife(new Planner(options.Policy, epoch: 1, World.Start));
        new World(options, Load(minutes: 8), life).Run();

        foreach (var kind in life.Scored.GroupBy(s => (s.Class, s.Model)))
        {
            output.WriteLine(
                $"{kind.Key}: {kind.Count()} jobs, covered {kind.Average(s => s.Covered ? 100.0 : 0):0.0} %, MAPE {kind.Average(s => 100 * Math.Abs(s.Error)):0.0} %"
            );
        }

        var first = life.Scored.Where(s => s.IsFirst).ToList();
        var firstCovered = first.Average(s => s.Covered ? 1.0 : 0);
        output.WriteLine(
            $"The first {first.Count}: covered {100 * firstCovered:0.0} %, MAPE {first.Average(s => 100 * Math.Abs(s.Error)):0.0} %"
        );
        output.WriteLine($"All: covered {100 * life.Coverage(_ => true):0.0} %, MAPE {100 * life.Mape(_ => true):0.0} %");
        Assert.InRange(life.Coverage(_ => true), 0.885, 0.97);
        Assert.InRange(firstCovered, 0.8, 1);
        Assert.InRange(life.Coverage(c => c != LatencyClass.Express), 0.82, 1);
    }

    private static WorldOptions Options(double slowness, TimeSpan life)
    {
        var encoder = Line("encoder", 400_000 * slowness, 18_000 * slowness);
        var small = Line("small", 130_000 * slowness, 25 * slowness);
        return new WorldOptions
        {
            Pools =
            [
                new PoolSpec
                {
                    Workers = 2,
                    Devices = [encoder, small],
                    Provider = "cpu",
                    JitterSigma = 0.1,
                    StragglerShare = 0.01,
                    StragglerFactor = 3,
                    LoadTime = TimeSpan.FromMilliseconds(150),
                    Warm = false,
                    MeanLife = life,
                    RestartAfter = TimeSpan.FromSeconds(1),
                },
            ],
            Models =
            [
                new(new("encoder", "1"), encoder.Measured("cpu", 0.8, 50), new LimitSpec { BatchRowsMax = 64, PaddedUnitsMax = 8192 }),
                new(new("small", "1"), small.Measured("cpu", 0.8, 50), new LimitSpec { BatchRowsMax = 512, PaddedUnitsMax = 65536 }),
            ],
            SubmitToScheduler = Ms(2, 1.5),
            SchedulerToWorker = Ms(2, 1),
            DeviceToResult = Ms(4, 3),
            WorkerToScheduler = Ms(5, 3),
            CheckAll = false,
        };

        static Delay Ms(double constant, double jitter) => new(TimeSpan.FromMilliseconds(constant), TimeSpan.FromMilliseconds(jitter));

        static DeviceProfile Line(string name, double alphaNs, double betaNs) =>
            new(name, Enumerable.Range(4, 13).Select(i => (1L << i, alphaNs + (betaNs * (1L << i)))));
    }

    private static Superposition Load(double minutes)
    {
        return new Superposition(
            Stream(1, 4, LatencyClass.Bulk, 0, random => random.GetItems(Sizes, 1)[0]),
            Stream(2, 5, LatencyClass.Bulk, 1, random => 4 * random.GetItems(Sizes, 1)[0]),
            Stream(3, 1, LatencyClass.Standard, 1, random => random.Next(10, 200)),
            Stream(4, 2, LatencyClass.Standard, 0, random => random.Next(5, 100)),
            Stream(5, 0.1, LatencyClass.Express, 1, _ => 1)
        );

        Replayed Stream(int seed, double meanSeconds, LatencyClass latencyClass, int model, Func<Random, int> size)
        {
            var random = new Random(seed);
            var all = new List<Submission>();
            for (var at = 0.0; at < minutes * 60; at += -meanSeconds * Math.Log(1 - random.NextDouble()))
            {
                var (tasks, tenant) = (size(random), random.Next(3));
                var chunks = (tasks + ChunkPayload.TasksMax - 1) / ChunkPayload.TasksMax;
                all.AddRange(
                    Enumerable
                        .Range(0, chunks)
                        .Select(no => (No: no, Tasks: Math.Min(ChunkPayload.TasksMax, tasks - (ChunkPayload.TasksMax * no))))
                        .Select(chunk => new Submission(
                            (long)(at * TimeSpan.TicksPerSecond),
                            latencyClass,
                            model,
                            tenant,
                            chunk.Tasks,
                            Lengths: [.. Enumerable.Range(0, chunk.Tasks).Select(_ => random.Next(20, 83))],
                            JobChunks: chunks,
                            No: chunk.No
                        ))
                );
            }

            return new Replayed(all);
        }
    }
}
