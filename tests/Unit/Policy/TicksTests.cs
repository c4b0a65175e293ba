using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public sealed class TicksTests
{
    [Theory]
    [InlineData(double.PositiveInfinity)]
    [InlineData(double.NaN)]
    [InlineData(1e300)]
    public void An_estimate_that_is_no_time_is_ten_years_so_that_sums_stay_numbers(double ns)
    {
        var ticks = Backlog.Ticks(ns);

        Assert.Equal(TimeSpan.FromDays(3650).Ticks, ticks);
        Assert.True(DateTime.UtcNow.Ticks + (100 * ticks) > 0);
    }

    [Fact]
    public void An_estimate_is_told_in_ticks() => Assert.Equal(12, Backlog.Ticks(1234));
}
