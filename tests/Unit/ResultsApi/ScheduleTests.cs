using Microsoft.Extensions.Configuration;
using Pipeline.Hosting;
using Pipeline.ResultsApi.Recurring;
using Pipeline.ResultsApi.Recurring.Works;
using Xunit;

namespace Pipeline.Tests.Unit.ResultsApi;

/// <summary>When recurring work is due, and which schedules are refused.</summary>
public sealed class ScheduleTests
{
    [Theory]
    [InlineData("00:00:01")]
    [InlineData("31.00:00:00")]
    [InlineData("0 15 3 * * ?")]
    [InlineData("0 0 0 29 2 ?")]
    [InlineData("0 0/10 * * * ?")]
    public void Reads_times_between_runs_and_cron_expressions(string text) => Assert.Equal(text, Schedule.TryParse(text)!.ToString());

    [Theory]
    [InlineData("")]
    [InlineData("hourly")]
    [InlineData("00:00:00.5")]
    [InlineData("32.00:00:00")]
    [InlineData("-00:05:00")]
    [InlineData("15 3 * *")]
    [InlineData("0 15 25 * * ?")]
    [InlineData("0 61 3 * * ?")]
    // The last two are expressions, and never come true.
    [InlineData("0 0 0 31 2 ?")]
    [InlineData("0 0 0 1 1 ? 2020")]
    public void Refuses_what_is_neither_or_never_comes_due(string text)
    {
        Assert.Null(Schedule.TryParse(text));
        Assert.Contains(Schedule.Form, Assert.Throws<ArgumentException>(() => Schedule.Cron(text)).Message, StringComparison.Ordinal);
    }

    [Theory]
    // 28 March and 31 October 2027 are 23 and 25 hours long in most of Europe, 14 March and 7 November in America.
    [InlineData("0 30 2 * * ?", 365)]
    [InlineData("0 30 * * * ?", 365 * 24)]
    public void Comes_true_in_utc_so_no_summer_time_leaves_one_out_or_doubles_it(string cron, int times)
    {
        var schedule = Schedule.Cron(cron);
        var (at, end, count) = (
            new DateTimeOffset(2026, 12, 31, 23, 59, 59, TimeSpan.Zero),
            new DateTimeOffset(2028, 1, 1, 0, 0, 0, TimeSpan.Zero),
            0
        );
        while (schedule.After(at) is { } next && next < end)
        {
            Assert.Equal(TimeSpan.Zero, next.Offset);
            (at, count) = (next, count + 1);
        }

        Assert.Equal(times, count);
    }

    [Fact]
    public void Options_tell_every_mistake_at_once_with_what_is_expected()
    {
        var configuration = new ConfigurationBuilder()
            .AddInMemoryCollection(
                new Dictionary<string, string?>
                {
                    ["Recurring:Schedules:retention"] = "every night",
                    ["Recurring:RunsMax"] = "0",
                    ["Retention:Outputs"] = "00:10:00",
                }
            )
            .Build();
        var refused = Assert.Throws<OptionsException>(() => RecurringOptions.Read(configuration)).Message;
        Assert.Contains($"Recurring:Schedules:retention expects {Schedule.Form}, given \"every night\"", refused, StringComparison.Ordinal);
        Assert.Contains("Recurring:RunsMax expects 1 to 64, given \"0\"", refused, StringComparison.Ordinal);
        Assert.Contains(
            "Retention:Outputs expects 01:00:00 to 3650.00:00:00",
            Assert.Throws<OptionsException>(() => RetentionOptions.Read(configuration)).Message,
            StringComparison.Ordinal
        );
    }
}
