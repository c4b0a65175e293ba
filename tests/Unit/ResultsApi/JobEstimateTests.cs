using Pipeline.Contracts;
using Pipeline.Hosting;
using Xunit;

namespace Pipeline.Tests.Unit.ResultsApi;

public sealed class JobEstimateTests
{
    private static readonly DateTimeOffset Now = new(2030, 1, 1, 12, 0, 0, TimeSpan.Zero);

    [Fact]
    public void What_was_predicted_stands_against_what_happened()
    {
        var estimate = JobEstimate.Of(Job(JobState.Completed, tookSeconds: 80))!;

        Assert.Equal((0.25, 0.5), (estimate.CompletionError, estimate.CostError));
        Assert.True(estimate.InBand);
        Assert.Equal(Now.AddSeconds(80), estimate.ActualAt);
    }

    [Theory]
    [InlineData(79.9, false)]
    [InlineData(80, true)]
    [InlineData(130, true)]
    [InlineData(130.1, false)]
    public void The_band_has_two_sides(double tookSeconds, bool inBand) =>
        Assert.Equal(inBand, JobEstimate.Of(Job(JobState.Completed, tookSeconds))!.InBand);

    [Fact]
    public void A_job_that_expired_is_out_of_its_band_and_its_cost_is_not_compared()
    {
        var estimate = JobEstimate.Of(Job(JobState.Expired, tookSeconds: 100))!;

        Assert.False(estimate.InBand);
        Assert.Null(estimate.CostError);
    }

    [Fact]
    public void Before_its_end_there_is_the_prediction_alone()
    {
        var estimate = JobEstimate.Of(Job(JobState.Running, tookSeconds: null))!;

        Assert.Equal((Now.AddSeconds(100), 150L), (estimate.CompletedAt, estimate.CostPicoUsd));
        Assert.Equal((null, null, null), (estimate.InBand, estimate.CompletionError, estimate.CostError));
    }

    [Fact]
    public void Nothing_is_compared_where_nothing_was_predicted() =>
        Assert.Null(JobEstimate.Of(Job(JobState.Completed, tookSeconds: 80) with { Accepted = null }));

    private static JobView Job(JobState state, double? tookSeconds) =>
        new()
        {
            Id = JobId.New(Now),
            Model = new ModelRef("m", "1"),
            Class = LatencyClass.Bulk,
            State = state,
            Paused = false,
            Tasks = 1,
            Counts = new JobCounts(1, 0, 0, 0, 0),
            CreatedAt = Now,
            QueuedAt = Now,
            StartedAt = Now,
            FinishedAt = Now.AddSeconds(tookSeconds ?? 0) is var at && tookSeconds is null ? null : at,
            Deadline = Now.AddDays(1),
            PredictedAt = null,
            CostPicoUsd = 100,
            MaxCostPicoUsd = null,
            Metadata = default,
            Webhook = null,
            RetryOf = null,
            Error = null,
            Accepted = new AcceptedPrediction(Now.AddSeconds(100), Now.AddSeconds(80), Now.AddSeconds(130), 150),
        };
}
