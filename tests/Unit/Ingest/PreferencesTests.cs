using Microsoft.AspNetCore.Http;
using Pipeline.Ingest.Express;
using Pipeline.Ingest.Tasks;
using Xunit;

namespace Pipeline.Tests.Unit.Ingest;

public class PreferencesTests
{
    private static readonly TimeSpan Most = TimeSpan.FromSeconds(30);

    [Theory]
    [InlineData(null, 30, null)]
    [InlineData("respond-async", 0, "respond-async")]
    [InlineData("wait=5", 5, "wait=5")]
    [InlineData("wait=\"5\"", 5, "wait=5")]
    [InlineData("respond-async, wait=10", 10, "respond-async, wait=10")]
    [InlineData("Respond-Async;x=1", 0, "respond-async")]
    [InlineData("wait=3600", 30, "wait=3600")]
    [InlineData("wait=1, wait=7", 1, "wait=1")]
    [InlineData("return=minimal, priority=5", 30, null)]
    public void Say_how_long_to_wait_and_what_was_followed(string? header, int seconds, string? applied)
    {
        var mistakes = new Mistakes(10);
        var preferences = Preferences.From(Request(header), mistakes);

        Assert.False(mistakes.Any);
        Assert.Equal(TimeSpan.FromSeconds(seconds), preferences.WaitUpTo(Most));
        Assert.Equal(applied, preferences.Applied);
    }

    [Theory]
    [InlineData("wait=-1")]
    [InlineData("wait=soon")]
    [InlineData("wait")]
    public void Refuse_a_wait_that_is_no_number(string header)
    {
        var mistakes = new Mistakes(10);
        Preferences.From(Request(header), mistakes);

        Assert.Equal("Prefer", Assert.Single(mistakes.Kept).Field);
    }

    private static HttpRequest Request(string? header)
    {
        var request = new DefaultHttpContext().Request;
        if (header is not null)
        {
            request.Headers[Preferences.Header] = header;
        }

        return request;
    }
}
