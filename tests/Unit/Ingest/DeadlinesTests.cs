using System.Globalization;
using Pipeline.Ingest.Body;
using Xunit;

namespace Pipeline.Tests.Unit.Ingest;

public sealed class DeadlinesTests
{
    private static readonly DateTimeOffset Now = new(2030, 1, 1, 12, 0, 0, TimeSpan.Zero);

    [Theory]
    [InlineData("90s", "2030-01-01T12:01:30Z")]
    [InlineData("30m", "2030-01-01T12:30:00Z")]
    [InlineData("2h", "2030-01-01T14:00:00Z")]
    [InlineData("7d", "2030-01-08T12:00:00Z")]
    [InlineData("1h30m", "2030-01-01T13:30:00Z")]
    [InlineData("1.5h", "2030-01-01T13:30:00Z")]
    [InlineData("500ms", "2030-01-01T12:00:00.5Z")]
    [InlineData("2030-02-03T04:05:06Z", "2030-02-03T04:05:06Z")]
    [InlineData("2030-02-03t04:05:06.25z", "2030-02-03T04:05:06.25Z")]
    [InlineData("2030-02-03T04:05:06+02:00", "2030-02-03T02:05:06Z")]
    [InlineData("2030-02-03T04:05:06 02:00", "2030-02-03T02:05:06Z")] // a plus sign that a query made a space
    public void Moments_and_durations_are_read(string text, string expected)
    {
        Assert.True(Deadlines.TryParse(text, Now, out var deadline));
        Assert.Equal(DateTimeOffset.Parse(expected, CultureInfo.InvariantCulture), deadline);
    }

    [Theory]
    [InlineData("")]
    [InlineData("soon")]
    [InlineData("5")]
    [InlineData("5x")]
    [InlineData("-5m")]
    [InlineData("h")]
    [InlineData("1e9d")]
    [InlineData("99999999999999999999d")]
    [InlineData("2030-02-03T04:05:06")] // no offset: whose clock?
    [InlineData("2030-02-30T04:05:06Z")]
    [InlineData("2030-02-03")]
    public void Anything_else_is_refused(string text) => Assert.False(Deadlines.TryParse(text, Now, out _));
}
