using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;
using Pipeline.Hosting;
using Pipeline.ResultsApi.Sla;
using Xunit;

namespace Pipeline.Tests.Unit.Sla;

public sealed class ReportWindowTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 26, 10, 0, 30, TimeSpan.Zero);

    [Theory]
    [InlineData("from=2026-11-02&to=2026-11-01", "from")]
    [InlineData("from=2026-11-02T00:00:00Z&to=2026-11-02T00:00:30Z", "from")]
    [InlineData("from=2026-11-27", "from")]
    [InlineData("from=2027-01-01&to=2027-02-01", "from")]
    [InlineData("from=2020-01-01", "from")]
    [InlineData("from=2026-10-25T02:30:00&tz=Europe/Berlin", "from")]
    [InlineData("to=tomorrow", "to")]
    [InlineData("to=2026-11-31", "to")]
    [InlineData("to=9999-12-31", "to")]
    [InlineData("to=9999-12-31T23:59:59Z", "to")]
    [InlineData("to=0001-01-01T00:00:00Z", "to")]
    [InlineData("to=0001-01-02", "to")]
    [InlineData("tz=Berlin", "tz")]
    [InlineData("by=hour", "by")]
    [InlineData("by=tenant", "by")]
    public void A_mistake_is_told_by_the_parameters_name(string text, string field)
    {
        var query = Query(text);
        ReportWindow.Read(query, 400, mayByTenant: false, Now);

        Assert.Equal(field, query.Refusal()!.Value!.Errors![0].Field);
    }

    [Fact]
    public void Days_are_whole_by_the_zones_clocks_and_both_included()
    {
        var window = Read("from=2026-10-25&to=2026-10-25&tz=Europe/Berlin");

        Assert.Equal(TimeSpan.FromHours(25), window.To - window.From);
        Assert.Equal(new DateTimeOffset(2026, 10, 24, 22, 0, 0, TimeSpan.Zero), window.From);
    }

    [Fact]
    public void Moments_go_to_the_minute_and_the_end_is_not_included()
    {
        var window = Read("from=2026-10-25T02:30:59%2B02:00&to=2026-10-25T02:30:00%2B01:00");

        Assert.Equal(TimeSpan.FromHours(1), window.To - window.From);
    }

    [Fact]
    public void Without_a_window_it_is_the_last_30_days() =>
        Assert.Equal((30, CalendarUnit.Day), ((Read("").To - Read("").From).Days, Read("").Unit));

    [Fact]
    public void A_window_that_reaches_into_the_future_is_taken_for_one_that_is_not_over()
    {
        var window = Read("from=2026-11-01&to=2026-11-30&by=week,tenant,class");

        Assert.True(window.To > Now);
        Assert.Equal((CalendarUnit.Week, true, true, false), (window.Unit, window.ByTenant, window.ByClass, window.ByModel));
    }

    [Fact]
    public void What_is_excluded_leaves_holes()
    {
        DateTimeOffset At(int hour) => new(2026, 11, 1, hour, 0, 0, TimeSpan.Zero);
        var left = Interval.Without(
            At(2),
            At(20),
            [
                new Interval(At(18), At(23)),
                new Interval(At(0), At(3)),
                new Interval(At(5), At(7)),
                new Interval(At(6), At(8)),
                new Interval(At(6), At(7)),
            ]
        );

        Assert.Equal([new Interval(At(3), At(5)), new Interval(At(8), At(18))], left);
        Assert.Empty(Interval.Without(At(2), At(20), [new Interval(At(1), At(21))]));
        Assert.Equal([new Interval(At(2), At(20))], Interval.Without(At(2), At(20), [new Interval(At(20), At(21))]));
    }

    private static ReportWindow Read(string text)
    {
        var query = Query(text);
        var window = ReportWindow.Read(query, 400, mayByTenant: true, Now);
        Assert.Null(query.Refusal());
        return window;
    }

    private static QueryParameters Query(string text) => new(new QueryCollection(QueryHelpers.ParseQuery(text)));
}
