using Pipeline.ResultsApi.Dashboard.Layout;
using Xunit;

namespace Pipeline.Tests.Unit.ResultsApi.Dashboard;

public sealed class ShowTests
{
    [Theory]
    [InlineData(0, "$0")]
    [InlineData(556, "$0.000000000556")]
    [InlineData(3_940_000, "$0.00000394")]
    [InlineData(2_000_000_000, "$0.00200")]
    [InlineData(30_000_000_000, "$0.03")]
    [InlineData(1_234_567_000_000_000, "$1,235")]
    public void Amounts_have_the_digits_that_say_something(long pico, string text) => Assert.Equal(text, Show.Usd(pico));

    [Theory]
    [InlineData(0, "0 ms")]
    [InlineData(0.405, "0.4 ms")]
    [InlineData(745, "745 ms")]
    [InlineData(2_840, "2.8 s")]
    [InlineData(61_000, "1 min 1 s")]
    [InlineData(3_600_000, "1 h 0 min")]
    [InlineData(90_000_000, "1 d 1 h")]
    public void Times_have_the_unit_that_fits(double milliseconds, string text) =>
        Assert.Equal(text, Show.Time(TimeSpan.FromMilliseconds(milliseconds)));

    [Fact]
    public void A_link_keeps_the_filters_and_takes_over_what_changes()
    {
        const string query = "?state=failed&after=x&model=";

        Assert.Equal("/jobs?state=failed&after=y", Links.With("/jobs", query, ("after", "y")));
        Assert.Equal("state=failed", Links.Clean(Links.With("", query, ("after", null))));
    }
}
