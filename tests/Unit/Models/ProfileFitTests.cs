using Pipeline.Contracts;
using Pipeline.GpuWorker.Models.Registration;
using Xunit;

namespace Pipeline.Tests.Unit.Models;

public sealed class ProfileFitTests
{
    [Fact]
    public void Finds_the_line_that_the_points_lie_on()
    {
        var (alpha, beta) = Fit((10, 1_100), (100, 2_000), (1_000, 11_000));

        Assert.Equal(1_000, alpha, tolerance: 1e-6);
        Assert.Equal(10, beta, tolerance: 1e-9);
    }

    [Fact]
    public void One_size_alone_is_all_units()
    {
        var (alpha, beta) = Fit((50, 1_000), (50, 1_000));

        Assert.Equal(0, alpha);
        Assert.Equal(20, beta, tolerance: 1e-9);
    }

    [Fact]
    public void Neither_part_is_negative()
    {
        var (alpha, beta) = Fit((10, 10), (20, 100));
        Assert.Equal(0, alpha);
        Assert.True(beta > 0);

        (alpha, beta) = Fit((10, 1_000), (1_000, 900));
        Assert.True(alpha > 0);
        Assert.Equal(0, beta);
    }

    private static (double AlphaNs, double BetaNs) Fit(params (long Units, long Ns)[] points) =>
        ModelProfiler.Fit([.. points.Select(point => new ProfilePoint(1, point.Units, point.Ns))]);
}
