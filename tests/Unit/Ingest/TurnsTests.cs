using Pipeline.Contracts;
using Pipeline.Ingest.Routes;
using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Ingest;

public sealed class TurnsTests
{
    private static readonly DateTimeOffset Now = new(2030, 1, 1, 12, 0, 0, TimeSpan.Zero);

    [Fact]
    public void What_escalates_runs_behind_the_first_turn_and_is_paid_too()
    {
        // A unit takes the small model 1 ms and the large one 10; two of ten tasks go on.
        var forecast = new Forecast { At = Now, Pools = [Pool("small", 0, 1_000_000), Pool("large", 500, 10_000_000)] };
        var turns = Turns.Of(Route("small@1", "large@1"), Measured(1.2));
        var estimated = Estimate(turns, forecast)!.Value;

        Assert.Equal(1.2, turns.PerTask, 1e-6);
        // Behind the 5 s of its own model, which are longer than the first turn: 200 units more.
        Assert.Equal((Now, Now.AddSeconds(7)), (estimated.Start, Near(estimated.Completion)));
        Assert.Equal(Cost.PicoPerUsd * 3 / 3600, estimated.CostPico!.Value, 1_000_000_000.0);
    }

    [Fact]
    public void A_route_nobody_measured_is_estimated_by_its_first_variant()
    {
        var forecast = new Forecast { At = Now, Pools = [Pool("small", 0, 1_000_000)] };

        Assert.Equal(Now.AddSeconds(1), Estimate(Turns.Of(Route("small@1", "large@1"), null), forecast)!.Value.Completion);
        Assert.Equal(Now.AddSeconds(1), Estimate(Turns.Of(null, null), forecast)!.Value.Completion);

        // Measured, and nobody runs the model that a part of it needs.
        Assert.Null(Estimate(Turns.Of(Route("small@1", "large@1"), Measured(1.2)), forecast));
        Assert.NotNull(Estimate(Turns.Of(Route("small@1", "large@1"), Measured(1)), forecast));
    }

    [Fact]
    public void A_turn_that_a_single_task_may_take_is_in_the_cost_by_its_likelihood_and_in_the_latest_time()
    {
        var forecast = new Forecast { At = Now, Pools = [Pool("small", 0, 1_000_000), Pool("large", 0, 10_000_000)] };
        var small = new ModelRef("small", "1");
        Estimated Of(double turns) =>
            Turns
                .Of(Route("small@1", "large@1"), Measured(turns))
                .Estimate(forecast, small, LatencyClass.Express, new(1, 1), Now.AddDays(1))!
                .Value;

        var (rare, sometimes, mostly) = (Of(1.04), Of(1.2), Of(1.6));
        var once = Prediction.Estimate(forecast, small, LatencyClass.Express, new(1, 1), Now.AddDays(1))!.Value;

        Assert.Equal((once.Completion, once.Late), (rare.Completion, rare.Late));
        Assert.Equal(once.Completion, sometimes.Completion);
        Assert.Equal(once.Late + TimeSpan.FromMilliseconds(12), sometimes.Late);
        Assert.Equal(once.Completion + TimeSpan.FromMilliseconds(10), mostly.Completion);
        Assert.Equal(3.0, (double)sometimes.CostPico!.Value / once.CostPico!.Value, 0.001);
    }

    [Fact]
    public void Of_three_variants_the_same_part_goes_on_from_each()
    {
        var turns = Turns.Of(Route("small@1", "middle@1", "large@1"), Measured(1.75));

        Assert.Equal([0.5, 0.25], turns.Further.Select(turn => Math.Round(turn.Share, 6)));
    }

    private static Estimated? Estimate(Turns turns, Forecast forecast) =>
        turns.Estimate(forecast, new ModelRef("small", "1"), LatencyClass.Bulk, new(1_000, 1_000), Now.AddDays(1));

    private static DateTimeOffset Near(DateTimeOffset at) => Now.AddSeconds(Math.Round((at - Now).TotalSeconds, 1));

    private static ModelRoute Route(params string[] models) => new("r", 1, [.. models.Select(model => new RouteVariant(model))]);

    private static RouteQuality Measured(double turns) => new(Now, 100, [new ChoiceQuality("r@1", 0.9, 1, turns)]);

    private static PoolForecast Pool(string model, long ahead, double betaNs) =>
        new("default", new ModelRef(model, "1"), 1, [0, 0, ahead], 0, betaNs, 1) { PricePerHourPico = Cost.PicoPerUsd };
}
