using Pipeline.Simulator.Baselines;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator.Baselines;

public sealed class CeilingsTests
{
    [Theory]
    [InlineData("ResNet-50 INT8 A100", 0.438, 0.0235, 15, 0.942, 8, 0.967)]
    [InlineData("ResNet-50 INT8 L4", 0.272, 0.0723, 15, 0.963, 1, 0.963)]
    [InlineData("Symphony resnet, tight", 5.204, 1.082, 25, 0.555, 8, 0.757)]
    [InlineData("Symphony resnet, loose", 5.204, 1.082, 100, 0.895, 8, 0.941)]
    [InlineData("dist4l s384 ORT A100", 1.126, 0.150, 50, 0.955, 1, 0.955)]
    [InlineData("BERT-base s128 TRT A100, tight", 0.507, 0.1066, 10, 0.898, 1, 0.898)]
    [InlineData("BERT-base s128 TRT A100, loose", 0.507, 0.1066, 50, 0.980, 1, 0.980)]
    public void The_ceilings_are_those_of_the_published_profiles(
        string profile,
        double a,
        double b,
        double target,
        double eager,
        int devices,
        double staggered
    )
    {
        Assert.True(Math.Abs(Ceilings.Eager(a, b, target).Kept - eager) < 0.001, profile);
        Assert.True(Math.Abs(Ceilings.Staggered(a, b, target, devices).Kept - staggered) < 0.001, profile);
    }

    [Fact]
    public void Staggering_gains_a_third_at_a_tight_target_and_a_twentieth_at_a_loose_one()
    {
        Assert.Equal(1.36, Ceilings.Staggered(5.204, 1.082, 25, 8).Kept / Ceilings.Eager(5.204, 1.082, 25).Kept, 0.01);
        Assert.Equal(1.05, Ceilings.Staggered(5.204, 1.082, 100, 8).Kept / Ceilings.Eager(5.204, 1.082, 100).Kept, 0.01);
    }

    [Fact]
    public void One_device_staggers_with_nobody() => Assert.Equal(Ceilings.Eager(1, 0.1, 20), Ceilings.Staggered(1, 0.1, 20, 1));

    [Fact]
    public void A_target_below_one_task_keeps_nothing() => Assert.Equal(new Ceiling(0, 0), Ceilings.Eager(5, 1, 11.9));
}
