using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Unit.Contracts;

public sealed class LatencyHistogramTests
{
    private static readonly double[] Percents = [0.1, 1, 25, 50, 90, 95, 99, 99.9, 100];

    public static TheoryData<string> Distributions =>
        ["exponential", "uniform", "log-normal", "two peaks", "small", "constant", "huge", "pareto"];

    [Theory]
    [MemberData(nameof(Distributions))]
    public void Percentiles_are_within_one_percent_of_the_exact_ones(string distribution)
    {
        var values = Draw(distribution, 50_000, seed: 7);
        var histogram = Of(values);
        Array.Sort(values);

        foreach (var percent in Percents)
        {
            var exact = values[(int)Math.Ceiling((decimal)percent * values.Length / 100) - 1];
            var error = Math.Abs(histogram.Percentile(percent)!.Value - exact);
            Assert.True(
                error <= exact * LatencyHistogram.RelativeErrorMax,
                $"p{percent} of {distribution} is {histogram.Percentile(percent)}, exactly {exact}."
            );
        }
    }

    [Theory]
    [MemberData(nameof(Distributions))]
    public void Count_sum_and_longest_are_exact(string distribution)
    {
        var values = Draw(distribution, 5_000, seed: 8);
        var histogram = Of(values);

        Assert.Equal(values.Length, histogram.Count);
        Assert.Equal(values.Aggregate((Int128)0, (sum, value) => sum + value), histogram.Sum);
        Assert.Equal(values.Max(), histogram.Max);
    }

    [Theory]
    [MemberData(nameof(Distributions))]
    public void What_is_within_a_limit_is_counted_as_far_as_the_error_of_a_value_reaches(string distribution)
    {
        var values = Draw(distribution, 5_000, seed: 9);
        var histogram = Of(values);

        foreach (var limit in values.Take(50))
        {
            var slack = limit * LatencyHistogram.RelativeErrorMax * 1.01;
            var within = histogram.CountWithin(limit);
            Assert.InRange(within, values.Count(v => v <= limit - slack), values.Count(v => v <= limit + slack));
        }
    }

    [Theory]
    [MemberData(nameof(Distributions))]
    public void Parts_merge_into_the_whole_byte_for_byte_in_any_order(string distribution)
    {
        var values = Draw(distribution, 3_000, seed: 10);
        var whole = Of(values).ToBytes();
        var parts = values.Chunk(700).Select(Of).ToList();

        var merged = new LatencyHistogram();
        parts.ForEach(merged.Add);
        var fromBytes = new LatencyHistogram();
        parts.AsEnumerable().Reverse().ToList().ForEach(part => fromBytes.AddBytes(part.ToBytes()));

        Assert.Equal(whole, merged.ToBytes());
        Assert.Equal(whole, fromBytes.ToBytes());
        Assert.Equal(whole, LatencyHistogram.FromBytes(whole).ToBytes());
    }

    [Fact]
    public void Every_value_lies_in_a_bucket_whose_middle_is_near_it()
    {
        for (var bits = 0; bits < 63; bits++)
        {
            foreach (var value in new[] { (1L << bits) - 1, 1L << bits, (1L << bits) + 1, (1L << bits) + ((1L << bits) / 3) })
            {
                var histogram = new LatencyHistogram();
                histogram.Add(value);
                histogram.Add(long.MaxValue); // so that the longest does not correct it
                Assert.InRange(
                    histogram.Percentile(50)!.Value,
                    value * (1 - LatencyHistogram.RelativeErrorMax),
                    value * (1 + LatencyHistogram.RelativeErrorMax)
                );
            }
        }
    }

    [Fact]
    public void A_weight_counts_as_so_many_values()
    {
        var (weighted, single) = (new LatencyHistogram(), new LatencyHistogram());
        weighted.Add(1_234_567, 512);
        for (var i = 0; i < 512; i++)
        {
            single.Add(1_234_567);
        }

        Assert.Equal(single.ToBytes(), weighted.ToBytes());
    }

    [Fact]
    public void Nothing_is_no_bytes_and_has_no_percentile()
    {
        var nothing = LatencyHistogram.FromBytes([]);

        Assert.Equal(((long)0, (double?)null, (double?)null), (nothing.Count, nothing.Percentile(50), nothing.Mean));
        Assert.Empty(nothing.ToBytes());
        Assert.Equal(0, nothing.CountWithin(1_000_000));
    }

    [Fact]
    public void A_minute_of_a_thousand_tasks_takes_few_bytes()
    {
        Assert.InRange(Of(Draw("log-normal", 1_000, seed: 3)).ToBytes().Length, 1, 1_000);
        Assert.InRange(Of(Draw("constant", 1_000, seed: 3)).ToBytes().Length, 1, 20);
    }

    [Fact]
    public void Bytes_of_another_version_or_damaged_ones_are_refused()
    {
        var bytes = Of([5, 70_000, 1_000_000]).ToBytes();

        Assert.Throws<InvalidDataException>(() => LatencyHistogram.FromBytes([2, .. bytes[1..]]));
        Assert.Throws<InvalidDataException>(() => LatencyHistogram.FromBytes(bytes.AsSpan(0, bytes.Length - 1)));
        Assert.Throws<InvalidDataException>(() => LatencyHistogram.FromBytes([1]));
        Assert.Throws<InvalidDataException>(() => LatencyHistogram.FromBytes([.. bytes, 0x7F, 1]));
    }

    private static LatencyHistogram Of(long[] values)
    {
        var histogram = new LatencyHistogram();
        Array.ForEach(values, value => histogram.Add(value));
        return histogram;
    }

    private static long[] Draw(string distribution, int count, int seed)
    {
        var random = new Random(seed);
        double Normal() => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
        return
        [
            .. Enumerable
                .Range(0, count)
                .Select(_ =>
                    distribution switch
                    {
                        "exponential" => (long)(-Math.Log(1 - random.NextDouble()) * 50_000),
                        "uniform" => random.NextInt64(0, 3_600_000_000),
                        "log-normal" => (long)Math.Exp(11 + (1.5 * Normal())),
                        "two peaks" => random.Next(10) == 0 ? random.NextInt64(9_000_000, 11_000_000) : random.NextInt64(10_000, 12_000),
                        "small" => random.NextInt64(0, 200),
                        "constant" => 405_000,
                        "huge" => random.NextInt64(1L << 50, 1L << 61),
                        _ => (long)(1000 / Math.Pow(1 - random.NextDouble(), 1.2)),
                    }
                ),
        ];
    }
}
