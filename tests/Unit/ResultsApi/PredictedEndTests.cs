using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.ResultsApi.Jobs;
using Xunit;

namespace Pipeline.Tests.Unit.ResultsApi;

public sealed class PredictedEndTests
{
    private static readonly DateTimeOffset Now = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
    private static readonly ModelRef Model = new("language-id", "1.0.0");

    [Fact]
    public void A_running_job_goes_on_at_its_own_pace()
    {
        var job = Job(JobState.Running, ended: 30, remaining: 70) with { StartedAt = Now.AddSeconds(-10) };

        Assert.Equal(Now.AddSeconds(70 / 3.0), PredictedEnd.Of(job, null, Now)!.Value, TimeSpan.FromMilliseconds(1));
    }

    [Fact]
    public void The_pace_of_the_last_seconds_counts_for_more_than_that_of_its_life()
    {
        var job = Job(JobState.Running, ended: 30, remaining: 70) with { StartedAt = Now.AddSeconds(-10) };

        Assert.Equal(Now.AddSeconds(10), PredictedEnd.Of(job, null, Now, tasksPerSecond: 7));
    }

    [Fact]
    public void In_its_first_moments_a_job_has_no_pace_yet_and_the_forecast_is_asked()
    {
        var job = Job(JobState.Running, ended: 30, remaining: 70) with { StartedAt = Now.AddMilliseconds(-1) };

        Assert.Equal(Now.AddSeconds(60), PredictedEnd.Of(job, Forecast((1, 60_000)), Now));
    }

    [Fact]
    public void The_pool_that_is_done_first_decides() =>
        Assert.Equal(Now.AddSeconds(20), PredictedEnd.Of(Job(JobState.Queued), Forecast((1, 60_000), (3, 60_000), (0, 0)), Now));

    [Fact]
    public void A_job_is_never_predicted_to_end_before_its_own_units_are_done() =>
        Assert.Equal(Now.AddSeconds(1), PredictedEnd.Of(Job(JobState.Queued) with { UnitsLeft = 1000 }, Forecast((1, 10)), Now));

    [Fact]
    public void A_forecast_for_another_model_says_nothing()
    {
        var job = Job(JobState.Queued) with { Model = new ModelRef("other", "1") };

        Assert.Null(PredictedEnd.Of(job, Forecast((1, 60_000)), Now));
    }

    [Fact]
    public void Without_anything_better_what_was_predicted_at_admission_stands_until_it_has_passed()
    {
        Assert.Equal(Now.AddHours(1), PredictedEnd.Of(Job(JobState.Queued) with { PredictedAt = Now.AddHours(1) }, null, Now));
        Assert.Null(PredictedEnd.Of(Job(JobState.Queued) with { PredictedAt = Now.AddHours(-1) }, null, Now));
    }

    [Fact]
    public void A_pace_has_the_band_of_the_forecast_or_else_of_the_prediction_at_admission()
    {
        var queued = Job(JobState.Queued) with { QueuedAt = Now.AddSeconds(-20), PredictedAt = Now.AddSeconds(80) };
        var running = queued with
        {
            State = JobState.Running,
            StartedAt = Now.AddSeconds(-10),
            Counts = Job(JobState.Running, ended: 30, remaining: 70).Counts,
        };
        var accepted = new AcceptedPrediction(Now.AddSeconds(80), Now.AddSeconds(30), Now.AddSeconds(130), null);

        var forecasted = PredictedEnd.BandOf(queued, Forecast((1, 60_000)), Now)!;
        Assert.Equal((Now.AddSeconds(60), Now.AddSeconds(48), Now.AddSeconds(72)), (forecasted.At, forecasted.EarlyAt, forecasted.LateAt));
        Assert.Equal(
            new(Now.AddSeconds(10), Now.AddSeconds(8), Now.AddSeconds(12)),
            PredictedEnd.BandOf(running, Forecast((1, 60_000)), Now, 7)
        );
        Assert.Equal(new(Now.AddSeconds(10)), PredictedEnd.BandOf(running, null, Now, 7));
        Assert.Equal(
            new(Now.AddSeconds(10), Now.AddSeconds(5), Now.AddSeconds(15)),
            PredictedEnd.BandOf(running with { Accepted = accepted }, null, Now, 7)
        );
    }

    [Fact]
    public void Nobody_knows_when_a_paused_job_ends()
    {
        var job = Job(JobState.Running, ended: 30, remaining: 70) with { StartedAt = Now.AddSeconds(-10), Paused = true };

        Assert.Null(PredictedEnd.Of(job, Forecast((1, 60_000)), Now));
    }

    [Fact]
    public void A_finished_job_keeps_the_prediction_it_was_accepted_with()
    {
        var job = Job(JobState.Completed, ended: 100) with { PredictedAt = Now.AddHours(-1) };

        Assert.Equal(Now.AddHours(-1), PredictedEnd.Of(job, Forecast((1, 60_000)), Now));
    }

    /// <summary>Pools in which a unit takes a millisecond, with units ahead of bulk work.</summary>
    private static Forecast Forecast(params (int Workers, long UnitsAhead)[] pools) =>
        new()
        {
            At = Now,
            Pools = [.. pools.Select((pool, i) => new PoolForecast($"pool-{i}", Model, pool.Workers, [0, 0, pool.UnitsAhead], 0, 1e6, 1))],
        };

    private static JobView Job(JobState state, int ended = 0, int remaining = 0) =>
        new()
        {
            Id = JobId.New(Now),
            Model = Model,
            Class = LatencyClass.Bulk,
            State = state,
            Paused = false,
            Tasks = ended + remaining,
            Counts = new JobCounts(ended, 0, 0, 0, remaining),
            CreatedAt = Now,
            QueuedAt = Now,
            StartedAt = null,
            FinishedAt = null,
            Deadline = Now.AddDays(1),
            PredictedAt = null,
            CostPicoUsd = 0,
            MaxCostPicoUsd = null,
            Metadata = default,
            Webhook = null,
            RetryOf = null,
            Error = null,
            UnitsLeft = 0,
        };
}
