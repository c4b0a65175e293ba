using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Sla;
using Xunit;

namespace Pipeline.Tests.Unit.Sla;

public sealed class BreachCauseTests
{
    private static readonly DateTimeOffset Queued = new(2026, 11, 1, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    public void A_late_callback_is_the_callback_whatever_else_there_was() =>
        Assert.Equal(BreachCause.Callback, Cause(b => (b.Kind, b.WorkerLosses) = ("callback", 2)));

    [Theory]
    [InlineData(600_000, "worker_lost")]
    [InlineData(40_000, "waiting")]
    public void A_lost_worker_is_the_cause_where_it_cost_the_time(long lostUs, string cause) =>
        Assert.Equal(cause, Cause(b => (b.WorkerLosses, b.LostUs) = (1, lostUs)).Name());

    [Theory]
    [InlineData(650_000, "paused")]
    [InlineData(40_000, "waiting")]
    public void So_is_its_owner_who_held_it_back(long pausedUs, string cause) =>
        Assert.Equal(cause, Cause(b => b.PausedUs = pausedUs).Name());

    [Fact]
    public void A_late_announcement_is_a_fault_of_ingest() => Assert.Equal(BreachCause.Ingest, Cause(b => b.AnnouncedUs = 650_000));

    [Fact]
    public void A_deadline_shorter_than_the_target_is_too_tight_only_where_it_expired()
    {
        Assert.Equal(BreachCause.DeadlineTooTight, Cause(b => (b.State, b.Deadline) = ("expired", Queued.AddMilliseconds(400))));
        Assert.Equal(BreachCause.Waiting, Cause(b => (b.State, b.Deadline) = ("expired", Queued.AddMilliseconds(600))));
        Assert.Equal(BreachCause.Waiting, Cause(b => b.Deadline = Queued.AddMilliseconds(400)));
    }

    [Fact]
    public void A_tight_deadline_is_excused_by_a_worker_that_was_lost_for_half_of_it() =>
        Assert.Equal(
            BreachCause.WorkerLost,
            Cause(b => (b.State, b.Deadline, b.LostUs) = ("expired", Queued.AddMilliseconds(400), 600_000))
        );

    [Fact]
    public void What_waited_and_was_predicted_late_when_it_was_accepted_met_an_overload()
    {
        Assert.Equal(BreachCause.Overload, Cause(b => b.PredictedAt = Queued.AddMilliseconds(501)));
        Assert.Equal(BreachCause.Waiting, Cause(b => b.PredictedAt = Queued.AddMilliseconds(100)));
    }

    [Fact]
    public void A_pause_that_made_an_overloaded_job_only_later_is_not_its_cause() =>
        Assert.Equal(
            BreachCause.Overload,
            Cause(b => (b.PredictedAt, b.PausedUs, b.QueuedUs) = (Queued.AddMilliseconds(700), 200_000, 850_000))
        );

    [Fact]
    public void Time_behind_a_slow_device_is_the_devices() =>
        Assert.Equal(
            BreachCause.Device,
            Cause(b => (b.UnitPs, b.UsualUnitPs, b.PredictedAt) = (2_500, 1_000, Queued.AddMilliseconds(700)))
        );

    [Theory]
    [InlineData(600_000, 100_000, 200_000, "waiting")]
    [InlineData(100_000, 600_000, 200_000, "staged")]
    [InlineData(100_000, 200_000, 600_000, "device")]
    [InlineData(100_000, 100_000, 200_000, "writing")]
    public void Else_it_is_the_stage_that_took_longest(long queuedUs, long stagedUs, long deviceUs, string cause) =>
        Assert.Equal(cause, Cause(b => (b.QueuedUs, b.StagedUs, b.DeviceUs) = (queuedUs, stagedUs, deviceUs)).Name());

    [Fact]
    public void What_a_stage_usually_takes_is_no_delay() =>
        Assert.Equal(
            BreachCause.Writing,
            Cause(b => (b.QueuedUs, b.StagedUs, b.DeviceUs) = (10_000, 20_000, 500_000), new UsualTimes(5_000, 10_000, 250_000, 10_000))
        );

    [Theory]
    [InlineData(0.5, 2, 1.3333)]
    [InlineData(0.9, 10, 5.2632)]
    [InlineData(0.9, double.PositiveInfinity, 10)]
    [InlineData(0, double.PositiveInfinity, 1)]
    public void The_gain_of_a_faster_stage_follows_amdahl(double share, double factor, double gain) =>
        Assert.Equal(gain, Amdahl.Gain(share, factor)!.Value, 4);

    [Fact]
    public void Of_a_stage_that_is_all_there_is_no_finite_gain_remains() => Assert.Null(Amdahl.Gain(1, double.PositiveInfinity));

    private static BreachCause Cause(Action<SlaBreachRow> change, UsualTimes usual = default)
    {
        var breach = new SlaBreachRow
        {
            Job = JobId.New(Queued),
            Kind = "job",
            At = Queued.AddSeconds(1),
            Tenant = default,
            Class = LatencyClass.Express,
            Model = "m@1",
            State = "completed",
            QueuedAt = Queued,
            Deadline = Queued.AddMinutes(1),
            TargetUs = 500_000,
            TotalUs = 1_000_000,
            Tasks = 1,
            Failed = 0,
            Expired = 0,
            QueuedUs = 700_000,
            StagedUs = 100_000,
            DeviceUs = 100_000,
            WorkerLosses = 0,
        };
        change(breach);
        return BreachCauses.Of(breach, usual);
    }
}
