using Pipeline.ResultsApi.Sla;
using Xunit;

namespace Pipeline.Tests.Unit.Sla;

public sealed class ReportCalendarTests
{
    private static readonly TimeZoneInfo Berlin = ReportCalendar.Zone("Europe/Berlin")!;

    [Fact]
    public void Days_have_23_and_25_hours_where_clocks_change()
    {
        var spring = Day(Berlin, 2026, 3, 29);
        var autumn = Day(Berlin, 2026, 10, 25);

        Assert.Equal((23, 25), (spring.Hours, autumn.Hours));
        Assert.Equal(new DateTimeOffset(2026, 10, 24, 22, 0, 0, TimeSpan.Zero), autumn.From);
        Assert.Equal(new DateTimeOffset(2026, 10, 25, 23, 0, 0, TimeSpan.Zero), autumn.To);
    }

    [Fact]
    public void A_day_whose_midnight_does_not_exist_begins_with_its_first_moment()
    {
        // In Cairo clocks go from 00:00 to 01:00 on the last Friday of April; in Azores' autumn 01:00 becomes 00:00: midnight comes twice.
        var cairo = ReportCalendar.Zone("Africa/Cairo")!;
        Assert.Equal(new DateTimeOffset(2026, 4, 23, 22, 0, 0, TimeSpan.Zero), ReportCalendar.StartOf(new DateOnly(2026, 4, 24), cairo));
        Assert.Equal(23, Day(cairo, 2026, 4, 24).Hours);
        var azores = ReportCalendar.Zone("Atlantic/Azores")!;
        Assert.Equal(25, Day(azores, 2026, 10, 25).Hours);
    }

    [Theory]
    [InlineData("UTC")]
    [InlineData("Europe/Berlin")]
    [InlineData("America/New_York")]
    [InlineData("Asia/Kathmandu")]
    [InlineData("Australia/Lord_Howe")]
    [InlineData("Africa/Cairo")]
    public void Periods_tile_their_window_without_gap_or_overlap(string name)
    {
        var zone = ReportCalendar.Zone(name)!;
        var from = new DateTimeOffset(2026, 1, 7, 9, 17, 0, TimeSpan.Zero);
        foreach (var unit in Enum.GetValues<CalendarUnit>())
        {
            var periods = ReportCalendar.Periods(unit, from, from.AddDays(700), zone);
            var at = from;
            foreach (var period in periods)
            {
                Assert.Equal(at, period.From);
                Assert.True(period.From < period.To);
                at = period.To;
            }

            Assert.All(periods, p => Assert.Equal(unit, ReportCalendar.UnitOf(p.Name)));
            Assert.Equal(from.AddDays(700), at);
            Assert.Equal(periods.Count, periods.Select(p => p.Name).Distinct().Count());
        }
    }

    [Fact]
    public void Weeks_are_those_of_iso_and_months_begin_on_the_first()
    {
        var from = new DateTimeOffset(2026, 12, 28, 0, 0, 0, TimeSpan.Zero);

        Assert.Equal(["2026-W53", "2027-W01"], Names(CalendarUnit.Week));
        Assert.Equal(["2026-12", "2027-01"], Names(CalendarUnit.Month));
        IEnumerable<string> Names(CalendarUnit unit) =>
            ReportCalendar.Periods(unit, from, from.AddDays(14), TimeZoneInfo.Utc).Select(p => p.Name);
    }

    [Fact]
    public void The_month_that_just_ended_is_whole_by_the_zones_clocks()
    {
        var now = new DateTimeOffset(2026, 11, 1, 0, 30, 0, TimeSpan.FromHours(1));

        var month = ReportCalendar.JustEnded(CalendarUnit.Month, now, Berlin);
        var week = ReportCalendar.JustEnded(CalendarUnit.Week, now, Berlin);

        Assert.Equal("2026-10", month.Name);
        Assert.Equal((31 * 24) + 1, month.Hours);
        Assert.Equal(("2026-W43", (7 * 24) + 1), (week.Name, week.Hours));
        Assert.Equal("2026-09", ReportCalendar.JustEnded(CalendarUnit.Month, now, TimeZoneInfo.Utc).Name);
    }

    [Theory]
    [InlineData("Berlin")]
    [InlineData("Europe/Atlantis")]
    [InlineData("CET-1CEST")]
    [InlineData("../etc/passwd")]
    [InlineData("")]
    public void What_is_no_iana_name_is_no_zone(string name) => Assert.Null(ReportCalendar.Zone(name));

    private static CalendarPeriod Day(TimeZoneInfo zone, int year, int month, int day)
    {
        var noon = new DateTimeOffset(year, month, day, 12, 0, 0, TimeSpan.Zero);
        return Assert.Single(
            ReportCalendar.Periods(CalendarUnit.Day, noon.AddDays(-3), noon.AddDays(3), zone),
            p => p.Name == $"{year}-{month:00}-{day:00}"
        );
    }
}
