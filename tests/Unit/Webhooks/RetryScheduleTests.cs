using Pipeline.ResultsApi.Webhooks;
using Xunit;

namespace Pipeline.Tests.Unit.Webhooks;

public sealed class RetryScheduleTests
{
    private static readonly WebhookOptions Options = new();

    [Fact]
    public void The_schedule_grows_and_spans_three_days()
    {
        var pauses = Enumerable.Range(1, Options.AttemptsMax - 1).Select(n => RetrySchedule.DelayAfter(n, Options, 0.5)!.Value).ToArray();

        Assert.Equal(TimeSpan.FromSeconds(5), pauses[0]);
        Assert.Equal(TimeSpan.FromSeconds(25), pauses[1]);
        Assert.Equal(pauses.Order(), pauses);
        Assert.InRange(pauses.Aggregate((a, b) => a + b), TimeSpan.FromHours(72), TimeSpan.FromHours(80));
        Assert.Null(RetrySchedule.DelayAfter(Options.AttemptsMax, Options, 0.5));
    }

    [Theory]
    [InlineData(0.0, 4)]
    [InlineData(1.0, 6)]
    public void A_pause_is_drawn_around_its_plan(double chance, int seconds) =>
        Assert.Equal(seconds, RetrySchedule.DelayAfter(1, Options, chance)!.Value.TotalSeconds, 3);

    [Fact]
    public void What_the_receiver_asks_for_is_obeyed_up_to_a_bound()
    {
        Assert.Equal(TimeSpan.FromHours(1), RetrySchedule.DelayAfter(1, Options, 0.5, TimeSpan.FromHours(1)));
        Assert.Equal(TimeSpan.FromSeconds(5), RetrySchedule.DelayAfter(1, Options, 0.5, TimeSpan.FromSeconds(1)));
        Assert.Equal(Options.RetryAfterMax, RetrySchedule.DelayAfter(1, Options, 0.5, TimeSpan.FromDays(300)));
    }
}
