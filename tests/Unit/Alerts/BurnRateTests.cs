using Pipeline.ResultsApi.Alerts;
using Xunit;

namespace Pipeline.Tests.Unit.Alerts;

/// <summary>When an error budget is spent so fast that somebody must know.</summary>
public class BurnRateTests
{
    private static readonly TimeSpan Hour = TimeSpan.FromHours(1);

    [Fact]
    public void The_pairs_spend_the_shares_of_a_30_day_budget_that_the_workbook_says()
    {
        var spent = BurnWindows.Defaults.Select(w => Math.Round(w.Factor * w.Long / TimeSpan.FromDays(30), 3));

        Assert.Equal([0.02, 0.05, 0.1, 0.1], spent);
        Assert.All(BurnWindows.Defaults.Take(2), w => Assert.Equal(w.Long / 12, w.Short));
    }

    [Fact]
    public void A_budget_that_goes_at_twenty_times_the_allowed_rate_is_critical()
    {
        var burning = Worst(0.999, _ => new EventCount(10_000, 200));

        Assert.NotNull(burning);
        Assert.Equal((Hour, Severity.Critical), (burning.Windows.Long, burning.Windows.Severity));
        Assert.Equal(20, burning.LongBurn, 6);
    }

    [Fact]
    public void What_is_over_in_the_short_window_does_not_alarm()
    {
        // Six hours are a long and a short window: they are over, too.
        Assert.Null(Worst(0.999, window => BurnWindows.Defaults.Any(w => w.Short == window) ? new(1000, 0) : new(10_000, 9000)));
    }

    [Fact]
    public void A_peak_of_minutes_that_cost_little_does_not_alarm()
    {
        Assert.Null(Worst(0.999, window => window < Hour ? new EventCount(1000, 500) : new EventCount(1_000_000, 500)));
    }

    [Fact]
    public void A_slow_leak_is_found_by_the_long_windows_as_a_warning()
    {
        var burning = Worst(0.99, _ => new EventCount(100_000, 1500));

        Assert.Equal((TimeSpan.FromDays(3), Severity.Warning), (burning!.Windows.Long, burning.Windows.Severity));
    }

    [Theory]
    [InlineData(99, 99)]
    [InlineData(1000, 4)]
    public void Too_few_events_or_too_few_bad_ones_alarm_nobody(long total, long bad) =>
        Assert.Null(BurnRate.Worst(0.999, BurnWindows.Defaults, _ => new EventCount(total, bad), eventsMin: 100, badMin: 5));

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(double.NaN)]
    public void An_objective_without_a_budget_is_refused(double target) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => Worst(target, _ => new EventCount(1, 0)));

    private static Burning? Worst(double target, Func<TimeSpan, EventCount> counts) =>
        BurnRate.Worst(target, BurnWindows.Defaults, counts, eventsMin: 100, badMin: 5);
}
