using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

/// <summary>Two workers at a millisecond a unit, estimates up to a tenth too low; express has 500 ms.</summary>
public sealed class AdmissionTests
{
    private static readonly DateTimeOffset Now = new(2030, 1, 1, 12, 0, 0, TimeSpan.Zero);
    private static readonly ModelRef Model = new("m", "1");

    [Fact]
    public void Express_that_fits_is_accepted_with_its_prediction()
    {
        var admitted = Decide(Pool(100, 100, 100), Ask(LatencyClass.Express, 300));

        Assert.Equal((AdmissionVerdict.Accepted, LatencyClass.Express), (admitted.Verdict, admitted.Class));
        // 100 units on two workers, then 300 on one, since they make a single batch: 350 ms; a tenth more: 385 ms.
        Assert.Equal(new Predicted(Now.AddMilliseconds(350), Now.AddMilliseconds(385)), admitted.Predicted);
    }

    [Fact]
    public void Express_whose_high_estimate_is_late_is_refused_with_when_it_would_fit_and_what_takes_it_now()
    {
        // Expected after 480 ms, which is in time; a tenth more is not.
        var admitted = Decide(Pool(560, 1000, 1000), Ask(LatencyClass.Express, 200));

        Assert.Equal(AdmissionVerdict.ExpressRefused, admitted.Verdict);
        Assert.Equal(28, admitted.RetryAfter!.Value.TotalMilliseconds, 1.0);
        Assert.Equal((LatencyClass.Standard, Now.AddMilliseconds(700)), (admitted.OfferedClass, admitted.OfferedAt));
        Assert.Equal(Now.AddMilliseconds(480), admitted.Predicted!.Value.Completion);
    }

    [Fact]
    public void Bulk_is_offered_where_standard_is_full_too()
    {
        var admitted = Decide(Pool(2_000, 100_000, 100_000), Ask(LatencyClass.Express, 10));

        Assert.Equal((AdmissionVerdict.ExpressRefused, LatencyClass.Bulk), (admitted.Verdict, admitted.OfferedClass));
    }

    [Fact]
    public void Express_that_would_be_late_on_idle_devices_is_not_told_to_come_back_soon()
    {
        var admitted = Decide(Pool(0, 0, 0), Ask(LatencyClass.Express, 2_000));

        Assert.Equal((AdmissionVerdict.ExpressRefused, TimeSpan.FromMinutes(1)), (admitted.Verdict, admitted.RetryAfter));
    }

    [Fact]
    public void Express_is_judged_by_what_became_of_the_last_of_it_where_that_is_known()
    {
        var forecast = new Forecast { At = Now, Pools = [Pool(100, 100, 100)] };
        var ask = Ask(LatencyClass.Express, 10);
        Predicted? Slow(Estimated estimated) => new(estimated.Completion.AddMilliseconds(300), estimated.Completion.AddMilliseconds(600));

        var refused = AdmissionRule.Decide(forecast, ask, LatencyClasses.Defaults, Now, Slow);
        Assert.Equal((AdmissionVerdict.ExpressRefused, Now.AddMilliseconds(360)), (refused.Verdict, refused.Predicted!.Value.Completion));
        Assert.Equal(AdmissionVerdict.Accepted, AdmissionRule.Decide(forecast, ask, LatencyClasses.Defaults, Now, _ => null).Verdict);
    }

    [Fact]
    public void Nobody_is_told_to_wait_longer_than_a_minute()
    {
        var admitted = Decide(Pool(10_000_000, 0, 0), Ask(LatencyClass.Express, 1));

        Assert.Equal(TimeSpan.FromMinutes(1), admitted.RetryAfter);
    }

    [Fact]
    public void The_batch_on_the_device_counts_for_express()
    {
        var busy = Pool(0, 0, 0) with { ExpressFreeAt = Now.AddMilliseconds(450) };

        Assert.Equal(AdmissionVerdict.ExpressRefused, Decide(busy, Ask(LatencyClass.Express, 50)).Verdict);
        Assert.Equal(AdmissionVerdict.Accepted, Decide(busy with { ExpressFreeAt = Now }, Ask(LatencyClass.Express, 50)).Verdict);
    }

    [Theory]
    [InlineData(LatencyClass.Standard)]
    [InlineData(LatencyClass.Bulk)]
    public void A_fallback_is_taken_instead_of_a_refusal(LatencyClass fallback)
    {
        var full = Decide(Pool(5_000, 5_000, 5_000), Ask(LatencyClass.Express, 100) with { Fallback = fallback });
        var free = Decide(Pool(0, 0, 0), Ask(LatencyClass.Express, 100) with { Fallback = fallback });
        var blind = AdmissionRule.Decide(null, Ask(LatencyClass.Express, 100) with { Fallback = fallback }, LatencyClasses.Defaults, Now);

        Assert.Equal((AdmissionVerdict.Accepted, fallback), (full.Verdict, full.Class));
        Assert.Equal((AdmissionVerdict.Accepted, LatencyClass.Express), (free.Verdict, free.Class));
        Assert.Equal((AdmissionVerdict.Accepted, fallback, null), (blind.Verdict, blind.Class, blind.Predicted));
    }

    [Theory]
    [InlineData(LatencyClass.Express, AdmissionVerdict.ExpressRefused)]
    [InlineData(LatencyClass.Standard, AdmissionVerdict.Accepted)]
    [InlineData(LatencyClass.Bulk, AdmissionVerdict.Accepted)]
    public void Without_a_forecast_only_express_is_refused(LatencyClass latencyClass, AdmissionVerdict verdict)
    {
        var ask = Ask(latencyClass, 1) with { Deadline = Now.AddSeconds(1) };
        var admitted = AdmissionRule.Decide(null, ask, LatencyClasses.Defaults, Now);
        var strange = Decide(Pool(0, 0, 0) with { Model = new("other", "1") }, ask);

        Assert.Equal((verdict, null, null), (admitted.Verdict, admitted.Predicted, admitted.RetryAfter));
        Assert.Equal(verdict, strange.Verdict);
    }

    [Fact]
    public void A_deadline_no_order_of_work_can_meet_is_refused_with_one_that_would_do()
    {
        // 100,000 units on two workers are 50 s, whatever waits.
        var ask = Ask(LatencyClass.Bulk, 100_000) with
        {
            Deadline = Now.AddSeconds(49),
        };
        var admitted = Decide(Pool(0, 0, 20_000), ask);

        Assert.Equal(AdmissionVerdict.Hopeless, admitted.Verdict);
        Assert.Equal((Now.AddSeconds(60), Now.AddSeconds(66)), (admitted.OfferedAt, admitted.OfferedDeadline));
        Assert.Equal(AdmissionVerdict.Accepted, Decide(Pool(0, 0, 20_000), ask with { Deadline = admitted.OfferedDeadline }).Verdict);
    }

    [Fact]
    public void A_deadline_that_is_only_tight_is_accepted_and_announced()
    {
        var ask = Ask(LatencyClass.Bulk, 100_000) with { Deadline = Now.AddSeconds(51) };
        var admitted = Decide(Pool(0, 0, 20_000), ask);

        Assert.Equal((AdmissionVerdict.Accepted, Now.AddSeconds(60)), (admitted.Verdict, admitted.Predicted!.Value.Completion));
    }

    [Fact]
    public void Express_ahead_makes_a_deadline_hopeless_and_other_work_does_not()
    {
        var ask = Ask(LatencyClass.Standard, 1_000) with { Deadline = Now.AddSeconds(5) };

        Assert.Equal(AdmissionVerdict.Hopeless, Decide(Pool(20_000, 20_000, 20_000), ask).Verdict);
        Assert.Equal(AdmissionVerdict.Accepted, Decide(Pool(0, 20_000, 20_000), ask).Verdict);
    }

    [Fact]
    public void All_pools_together_decide_what_is_hopeless()
    {
        var ask = Ask(LatencyClass.Bulk, 100_000) with { Deadline = Now.AddSeconds(30) };
        var forecast = new Forecast { At = Now, Pools = [Pool(0, 0, 0), Pool(0, 0, 0) with { Pool = "other" }] };

        Assert.Equal(AdmissionVerdict.Accepted, AdmissionRule.Decide(forecast, ask, LatencyClasses.Defaults, Now).Verdict);
    }

    [Fact]
    public void What_an_old_forecast_has_starting_before_now_starts_now()
    {
        var forecast = new Forecast { At = Now.AddSeconds(-4), Pools = [Pool(0, 0, 0)] };

        Assert.Equal(new Predicted(Now.AddMilliseconds(10), Now.AddMilliseconds(11)), Of(LatencyClass.Bulk, 10).Predicted);
        Assert.Equal(AdmissionVerdict.Accepted, Of(LatencyClass.Express, 440).Verdict);
        Assert.Equal(AdmissionVerdict.ExpressRefused, Of(LatencyClass.Express, 480).Verdict); // 528 ms at most, of 500.

        Admitted Of(LatencyClass latencyClass, long units) =>
            AdmissionRule.Decide(forecast, Ask(latencyClass, units), LatencyClasses.Defaults, Now);
    }

    private static Admitted Decide(PoolForecast pool, AdmissionAsk ask) =>
        AdmissionRule.Decide(new Forecast { At = Now, Pools = [pool] }, ask, LatencyClasses.Defaults, Now);

    private static AdmissionAsk Ask(LatencyClass latencyClass, long units) => new(Model, latencyClass, null, new(units, units), null);

    private static PoolForecast Pool(params long[] ahead) => new("default", Model, 2, ahead, 0, 1_000_000, 1000) { ErrorBand = 0.1 };
}
