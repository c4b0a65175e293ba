using Pipeline.Contracts;
using Pipeline.Standalone.Client.Routes;
using Xunit;

namespace Pipeline.Tests.Unit.Standalone;

/// <summary>Four tasks whose right label is x. The small model (10 a task) is right of the first two, the large one (100) of all but the last.</summary>
public class RouteEvaluationTests
{
    private static readonly int[] All = [0, 1, 2, 3];

    private static readonly RouteEvaluation Evaluation = new(
        ["x", "x", "x", "x"],
        [
            new("small@1", [new("x", 0.9, 0.1, 10), new("x", 0.6, 0.3, 10), new("y", 0.5, 0.4, 10), new("y", 0.8, 0.2, 10)]),
            new("large@1", [new("x", 0.9, 0, 100), new("x", 0.9, 0, 100), new("x", 0.9, 0, 100), new(null, 0, 0, 100)]),
        ]
    );

    [Fact]
    public void A_variant_alone_answers_and_costs_what_it_did()
    {
        Assert.Equal((0.5, 10), (Evaluation.Alone(0, All).Accuracy, Evaluation.Alone(0, All).CostPico));
        Assert.Equal((0.75, 100), (Evaluation.Alone(1, All).Accuracy, Evaluation.Alone(1, All).CostPico));
    }

    [Theory]
    [InlineData(0.5, 0.5, 10, 1)]
    [InlineData(0.6, 0.75, 35, 1.25)]
    [InlineData(0.85, 0.75, 85, 1.75)]
    [InlineData(1.0, 0.75, 110, 2)]
    public void What_is_below_the_threshold_costs_both_turns(double threshold, double accuracy, double cost, double turns)
    {
        var point = Evaluation.Along("r", threshold, Evaluation.Rules(byMargin: false, threshold), All);

        Assert.Equal((accuracy, cost, turns), (point.Accuracy, point.CostPico, point.TurnsPerTask));
    }

    [Fact]
    public void A_margin_is_judged_by_the_second_label() =>
        Assert.Equal(1.5, Evaluation.Along("r", 0.35, Evaluation.Rules(byMargin: true, 0.35), All).TurnsPerTask);

    [Fact]
    public void A_task_that_failed_on_a_variant_goes_no_further()
    {
        var failing = new RouteEvaluation(["x"], [new("a", [new(null, 0, 0, 1)]), new("b", [new("x", 1, 0, 10)])]);

        var point = failing.Along("r", 0.5, failing.Rules(byMargin: false, 0.5), [0]);

        Assert.Equal((0, 1, 1), (point.Accuracy, point.CostPico, point.TurnsPerTask));
    }

    [Fact]
    public void Thresholds_are_scores_that_were_seen_of_variants_that_may_escalate()
    {
        Assert.Equal([0.5, 0.6, 0.8, 0.9], Evaluation.Thresholds(byMargin: false, most: 10));
        Assert.Equal([0.5, 0.9], Evaluation.Thresholds(byMargin: false, most: 2));
    }

    [Fact]
    public void The_front_holds_nothing_that_is_beaten_in_both()
    {
        var points = Evaluation.Sweep("r", false, [0.5, 0.6, 0.8, 0.9], All).Concat([Evaluation.Alone(0, All), Evaluation.Alone(1, All)]);

        Assert.Equal([(0.5, 10), (0.75, 35)], RouteEvaluation.Front(points).Select(p => (p.Accuracy, p.CostPico)));
    }

    [Fact]
    public void The_cheapest_that_is_good_enough_is_found_or_none()
    {
        var points = Evaluation.Sweep("r", false, [0.5, 0.6, 0.8], All);

        Assert.Equal(0.6, RouteEvaluation.Cheapest(points, 0.7)!.Threshold);
        Assert.Null(RouteEvaluation.Cheapest(points, 0.8));
    }

    [Fact]
    public void Three_variants_take_turns_in_their_order()
    {
        var three = new RouteEvaluation(
            ["x"],
            [new("a", [new("y", 0.1, 0, 1)]), new("b", [new("y", 0.7, 0, 10)]), new("c", [new("x", 0.1, 0, 100)])]
        );
        Acceptance half = new() { ProbabilityMin = 0.5 };

        Assert.Equal((0, 11), Of(three.Along("r", null, [half, half, null], [0])));
        Assert.Equal((1, 111), Of(three.Along("r", null, [half, new() { ProbabilityMin = 0.8 }, null], [0])));

        static (double, double) Of(Evaluated e) => (e.Accuracy, e.CostPico);
    }
}
