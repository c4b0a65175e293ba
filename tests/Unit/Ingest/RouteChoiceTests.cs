using Pipeline.Contracts;
using Pipeline.Ingest.Routes;
using Xunit;

namespace Pipeline.Tests.Unit.Ingest;

public class RouteChoiceTests
{
    private static readonly ModelRoute Route = new("r", 2, [new("small@1", new Acceptance { ProbabilityMin = 0.8 }), new("large@1")]);

    private static readonly RouteQuality Quality = new(
        DateTimeOffset.UnixEpoch,
        1000,
        [new("small@1", 0.90, 100, 1), new("large@1", 0.95, 400, 1), new("r@2", 0.945, 200, 1.2)]
    );

    [Theory]
    [InlineData(0.5, "small@1")]
    [InlineData(0.9, "small@1")]
    [InlineData(0.91, "r@2")]
    [InlineData(0.95, "large@1")]
    public void The_cheapest_that_is_good_enough_is_chosen(double least, string choice) =>
        Assert.Equal(choice, RouteChoice.Choose(Route, Quality, least).Choice);

    [Fact]
    public void Where_nothing_is_good_enough_all_that_was_measured_is_told()
    {
        var (choice, why) = RouteChoice.Choose(Route, Quality, 0.96);

        Assert.Null(choice);
        Assert.Equal("Measured of 1000 tasks: large@1 0.95, r@2 0.945, small@1 0.9.", why);
    }

    [Fact]
    public void What_was_never_measured_is_not_guessed_at() =>
        Assert.Contains("Nothing has been measured", RouteChoice.Choose(Route, null, 0.1).Why);

    [Fact]
    public void What_was_measured_of_other_model_versions_does_not_count()
    {
        var newer = Route with { Variants = [Route.Variants[0], new("large@2")] };

        var (choice, why) = RouteChoice.Choose(newer, Quality, 0.1);

        Assert.Null(choice);
        Assert.Contains("large@2 was not among them", why);
    }
}
