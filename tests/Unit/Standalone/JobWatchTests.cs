using Pipeline.Standalone.Client;
using Xunit;

namespace Pipeline.Tests.Unit.Standalone;

public sealed class JobWatchTests
{
    [Theory]
    [InlineData("00:00:00", "0 ms")]
    [InlineData("00:00:00.8501", "850 ms")]
    [InlineData("00:00:12.34", "12.3 s")]
    [InlineData("00:00:59.99", "1 min 00 s")]
    [InlineData("00:04:05.4", "4 min 05 s")]
    [InlineData("00:59:59.7", "1 h 00 min")]
    [InlineData("02:03:04", "2 h 03 min")]
    [InlineData("3.01:30:00", "73 h 30 min")]
    public void Says_a_duration_as_people_do(string duration, string said) =>
        Assert.Equal(said, JobWatch.Duration(TimeSpan.Parse(duration, System.Globalization.CultureInfo.InvariantCulture)));
}
