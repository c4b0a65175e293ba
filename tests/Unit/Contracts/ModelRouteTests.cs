using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Unit.Contracts;

public class ModelRouteTests
{
    [Theory]
    [InlineData(0.9, 0.05, true)]
    [InlineData(0.89, 0.0, false)]
    [InlineData(double.NaN, 0.0, false)]
    public void A_probability_is_enough_from_its_threshold_on(double top, double second, bool accepted) =>
        Assert.Equal(accepted, new Acceptance { ProbabilityMin = 0.9 }.Accepts(top, second, units: 1_000_000));

    [Theory]
    [InlineData(0.75, 0.25, true)]
    [InlineData(0.74, 0.25, false)]
    [InlineData(0.5, 0.0, true)]
    [InlineData(0.9, double.NaN, false)]
    public void A_margin_is_enough_from_its_threshold_on(double top, double second, bool accepted) =>
        Assert.Equal(accepted, new Acceptance { MarginMin = 0.5 }.Accepts(top, second, units: 1));

    [Theory]
    [InlineData(64, true)]
    [InlineData(65, false)]
    public void A_length_is_right_up_to_its_threshold_whatever_the_scores(int units, bool accepted) =>
        Assert.Equal(accepted, new Acceptance { UnitsMax = 64 }.Accepts(double.NaN, double.NaN, units));

    [Theory]
    [InlineData(0.95, 0.01, 10, true)]
    [InlineData(0.95, 0.01, 11, false)]
    [InlineData(0.85, 0.01, 10, false)]
    public void Where_several_thresholds_are_given_all_must_hold(double top, double second, int units, bool accepted) =>
        Assert.Equal(accepted, new Acceptance { ProbabilityMin = 0.9, UnitsMax = 10 }.Accepts(top, second, units));

    [Fact]
    public void A_step_names_the_next_variant_and_the_last_has_none()
    {
        var rule = new Acceptance { ProbabilityMin = 0.9 };
        var route = new ModelRoute("r", 3, [new("a@1", rule), new("b@2", rule), new("c@3")]);

        Assert.Equal(new RouteStep(1, rule, new ModelRef("b", "2")), route.StepOf(1));
        Assert.Equal(new RouteStep(3, null, null), route.StepOf(3));
        Assert.Equal("r@3", route.ToString());
    }

    [Fact]
    public void Bits_give_back_the_places_they_were_made_of()
    {
        int[] places = [0, 7, 8, 21];

        Assert.Equal(places, TaskBits.Places(TaskBits.Of(places, count: 22)));
        Assert.Equal(3, TaskBits.Of(places, count: 22).Length);
        Assert.Null(TaskBits.Places(null));
    }
}
