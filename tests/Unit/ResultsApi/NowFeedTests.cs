using Pipeline.ResultsApi.Dashboard.Now;
using Xunit;

namespace Pipeline.Tests.Unit.ResultsApi;

public sealed class NowFeedTests
{
    [Theory]
    [InlineData(5, 2000)]
    [InlineData(100, 2000)]
    [InlineData(200, 4000)]
    [InlineData(3000, 60_000)]
    public void What_takes_long_to_look_at_is_looked_at_less_often(int tookMs, int pauseMs) =>
        Assert.Equal(pauseMs, NowFeed.Pause(TimeSpan.FromSeconds(2), TimeSpan.FromMilliseconds(tookMs)).TotalMilliseconds, precision: 3);
}
