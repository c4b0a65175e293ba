using Pipeline.Contracts;
using Pipeline.Simulator;
using Pipeline.Simulator.Workloads;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator;

public sealed class WorkloadTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(4)]
    public void Gaps_have_the_rate_and_the_burstiness_asked_for(double cv)
    {
        var at = All(new GammaArrivals(new Kind(), 100, cv, 200_000, 11)).Select(s => s.At / (double)TimeSpan.TicksPerSecond).ToList();
        var gaps = at.Zip(at.Skip(1), (a, b) => b - a).ToList();
        var mean = gaps.Average();
        var deviation = Math.Sqrt(gaps.Average(g => (g - mean) * (g - mean)));
        Assert.InRange(mean, 0.01 * 0.96, 0.01 * 1.04);
        Assert.InRange(deviation / mean / cv, 0.95, 1.05);
    }

    [Fact]
    public void A_bulk_job_comes_in_chunks_of_512_one_after_another()
    {
        var kind = new Kind { Class = LatencyClass.Bulk };
        var drops = All(new BulkDrops(kind, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(5), 2, 1000, () => 7));
        Assert.Equal([512, 488, 512, 488], drops.Select(s => s.Tasks));
        Assert.Equal([0, 1, 0, 1], drops.Select(s => s.No));
        Assert.Equal([1, 1, 6, 6], drops.Select(s => s.At / TimeSpan.TicksPerSecond));
        Assert.All(drops, s => Assert.Equal(s.Tasks, s.Lengths!.Length));
    }

    [Fact]
    public void A_day_is_busy_in_its_middle_and_quiet_at_its_ends()
    {
        var day = TimeSpan.FromDays(1);
        var at = All(new DiurnalArrivals(new Kind(), 1, 0.8, day, 86_400, 2)).Select(s => (double)s.At / day.Ticks).ToList();
        Assert.InRange(at[^1], 0.98, 1.02);
        var (noon, night) = (at.Count(t => t is > 0.45 and < 0.55), at.Count(t => t < 0.05 || t is > 0.95 and < 1));
        Assert.InRange((double)noon / night, 6, 12); // (1 + 0.8) / (1 − 0.8) = 9 at the extremes.
    }

    [Fact]
    public void Streams_merge_by_time()
    {
        var merged = All(
            new Superposition(
                new GammaArrivals(new Kind(), 50, 2, 500, 1),
                new GammaArrivals(new Kind { Class = LatencyClass.Standard }, 70, 1, 700, 2),
                new BulkDrops(new Kind { Class = LatencyClass.Bulk }, TimeSpan.Zero, TimeSpan.FromSeconds(1), 5, 2000)
            )
        );
        Assert.Equal(500 + 700 + (5 * 4), merged.Count);
        Assert.Equal(merged.Select(s => s.At).Order(), merged.Select(s => s.At));
        // A job's chunks are not torn apart.
        var bulk = merged.Select((s, i) => (s, i)).Where(p => p.s.No == 3);
        Assert.All(bulk, p => Assert.Equal([0, 1, 2], merged.Skip(p.i - 3).Take(3).Select(s => s.No)));
    }

    [Theory]
    [InlineData(Trace.Azure, 12_337, 5.87, 14_050)]
    [InlineData(Trace.Mooncake, 5_719, 3.18, 123_192)]
    public void Recorded_traces_are_read_whole_and_stretched_to_a_rate(string name, int rows, double rate, int longest)
    {
        Assert.SkipUnless(Trace.Exists(name), "The recorded traces are not beside this repository.");
        var trace = Trace.ReadUsual(name);
        Assert.Equal((rows, longest), (trace.Seconds.Count, trace.Tokens.Max()));
        Assert.InRange(trace.RatePerSecond / rate, 0.99, 1.01);
        // Spread or recorded, hardly two share a time.
        Assert.InRange(trace.Seconds.Distinct().Count(), rows - 2, rows);

        var stretched = All(new TraceArrivals(new Kind(), trace, 1000, 2 * rows, unitsMax: 4096));
        Assert.Equal(stretched.Select(s => s.At).Order(), stretched.Select(s => s.At));
        Assert.InRange(stretched[^1].At / (double)TimeSpan.TicksPerSecond, 1.98 * rows / 1000, 2.02 * rows / 1000);
        Assert.Equal(4096, stretched.Max(s => s.UnitsEach));
    }

    [Fact]
    public void Recorded_lengths_are_those_of_the_file()
    {
        Assert.SkipUnless(Trace.Exists(Trace.ArxivLengths), "The recorded traces are not beside this repository.");
        var lengths = Trace.ReadLengths(Trace.ArxivLengths);
        Assert.Equal((14_000, 3772), (lengths.Length, lengths[0]));
        Assert.Equal(2716, lengths.Order().ElementAt(7000), 5.0);
    }

    [Fact]
    public void Percentiles_are_known_to_a_bucket()
    {
        var spread = new Spread();
        for (var i = 1; i <= 100_000; i++)
        {
            spread.Add(i);
        }

        Assert.InRange(spread.Quantile(0.5), 49_000, 51_000);
        Assert.InRange(spread.Quantile(0.99), 98_000, 100_000);
        Assert.Equal((100_000L, 50_000.5), (spread.Max, spread.Mean));
    }

    private static List<Submission> All(IArrivals arrivals)
    {
        var all = new List<Submission>();
        while (arrivals.Next(out var submission))
        {
            all.Add(submission);
        }

        return all;
    }
}
