using Pipeline.Migrations;
using Xunit;

namespace Pipeline.Tests.Unit.Sla;

public sealed class SlaSpanTests
{
    private static readonly DateTimeOffset Start = new(2026, 10, 25, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    public void A_month_of_utc_is_its_days() =>
        Assert.Equal([new SlaSpan(SlaGrain.Day, Start, Start.AddDays(31))], SlaSpan.Of(Start, Start.AddDays(31)));

    [Fact]
    public void Edges_are_hours_and_minutes() =>
        Assert.Equal(
            [
                new SlaSpan(SlaGrain.Minute, Start.AddMinutes(30), Start.AddHours(1)),
                new SlaSpan(SlaGrain.Hour, Start.AddHours(1), Start.AddDays(1)),
                new SlaSpan(SlaGrain.Day, Start.AddDays(1), Start.AddDays(3)),
                new SlaSpan(SlaGrain.Hour, Start.AddDays(3), Start.AddDays(3).AddHours(5)),
                new SlaSpan(SlaGrain.Minute, Start.AddDays(3).AddHours(5), Start.AddDays(3).AddHours(5).AddMinutes(1)),
            ],
            SlaSpan.Of(Start.AddMinutes(30).AddSeconds(12), Start.AddDays(3).AddHours(5).AddSeconds(80))
        );

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Spans_tile_their_window_and_each_begins_with_a_whole_one(int seed)
    {
        var random = new Random(seed);
        for (var i = 0; i < 500; i++)
        {
            var (from, minutes) = (Start.AddMinutes(random.Next(5000)), random.Next(0, i < 250 ? 200 : 9000));
            var at = from;
            foreach (var span in SlaSpan.Of(from, from.AddMinutes(minutes)))
            {
                Assert.Equal(at, span.From);
                Assert.True(span.From < span.To);
                Assert.Equal(span.From, SlaTables.Floor(span.Grain, span.From));
                Assert.Equal(span.To, SlaTables.Floor(span.Grain, span.To));
                at = span.To;
            }

            Assert.Equal(from.AddMinutes(minutes), at);
        }
    }
}
