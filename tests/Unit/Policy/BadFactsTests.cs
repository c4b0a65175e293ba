using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

/// <summary>Whatever the planner is told: no exception, no task is lost, and every decision has a reason.</summary>
public class BadFactsTests
{
    private static readonly HashSet<string> Codes =
    [
        .. typeof(Reasons).GetFields().Where(f => f.IsLiteral).Select(f => (string)f.GetRawConstantValue()!),
    ];

    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 10)];

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Good_facts_end_everything(int seed) => EndsAll(new Spoiling(), seed);

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Facts_may_come_out_of_order(int seed) => EndsAll(new Spoiling { StepsLateMax = 8 }, seed);

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Facts_may_come_twice(int seed) => EndsAll(new Spoiling { Times = 2 }, seed);

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Facts_may_come_thrice_and_out_of_order(int seed) => EndsAll(new Spoiling { Times = 3, StepsLateMax = 8 }, seed);

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Facts_may_be_about_workers_and_work_nobody_knows(int seed) => EndsAll(new Spoiling { Strangers = true }, seed);

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Clocks_may_disagree_by_seconds_and_plans_go_backwards(int seed) =>
        EndsAll(new Spoiling { ClocksApart = TimeSpan.FromSeconds(2) }, seed);

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(long.MinValue)]
    [InlineData(long.MaxValue)]
    public void Device_times_may_be_zero_negative_or_endless(long deviceNs) =>
        EndsAll(new Spoiling { Batch = batch => batch with { DeviceNs = deviceNs } }, seed: 1);

    [Theory]
    [InlineData(0, 0)]
    [InlineData(-500, -500)]
    [InlineData(0, 500)]
    [InlineData(long.MaxValue, long.MaxValue)]
    public void Batches_may_tell_of_units_that_cannot_be(long units, long padded) =>
        EndsAll(new Spoiling { Batch = batch => batch with { Rows = 0, Units = units, PaddedUnits = padded } }, seed: 1);

    [Theory]
    [InlineData(0, 0)]
    [InlineData(-5, -5)]
    [InlineData(long.MaxValue, int.MaxValue)]
    public void Chunks_may_have_units_that_cannot_be(long units, int unitsMax) =>
        EndsAll(new Spoiling { Chunk = chunk => chunk with { Units = units, UnitsMax = unitsMax } }, seed: 1);

    public static TheoryData<DateTimeOffset, DateTimeOffset> Times =>
        new()
        {
            { default, default },
            { DateTimeOffset.MaxValue, DateTimeOffset.MinValue },
            { DateTimeOffset.MinValue, DateTimeOffset.MaxValue },
            { DateTimeOffset.MaxValue, DateTimeOffset.MaxValue },
            { PolicyWorld.Start.AddSeconds(-1), PolicyWorld.Start.AddYears(1) },
        };

    [Theory]
    [MemberData(nameof(Times))]
    public void Jobs_may_be_due_at_the_beginning_or_the_end_of_time(DateTimeOffset deadline, DateTimeOffset queuedAt) =>
        EndsAll(new Spoiling { Chunk = chunk => chunk with { Deadline = deadline, QueuedAt = queuedAt } }, seed: 1);

    [Theory]
    [MemberData(nameof(Seeds))]
    public void A_batch_may_take_a_hundred_times_its_estimate(int seed)
    {
        var batches = 0;
        EndsAll(new Spoiling { Batch = batch => ++batches % 5 == 0 ? batch with { DeviceNs = 100 * batch.DeviceNs } : batch }, seed);
    }

    [Theory]
    [MemberData(nameof(Seeds))]
    public void One_worker_may_always_fail(int seed)
    {
        var life = EndsAll(new Spoiling { AlwaysFails = static worker => worker == 0 }, seed);

        Assert.Contains(life.Decisions, d => d.Why.Code == Reasons.FaultSmaller);
    }

    [Fact]
    public void When_every_worker_always_fails_the_tasks_fail_with_the_reason()
    {
        var life = EndsAll(new Spoiling { AlwaysFails = static _ => true }, seed: 1);

        Assert.Contains(life.Decisions, d => d is FailTasks { Kind: FailureKind.DispatchFailed, Why.Code: Reasons.FaultsSpent });
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(long.MaxValue)]
    public void Workers_may_cost_nothing_or_what_cannot_be(long price) =>
        EndsAll(new Spoiling { Heartbeat = heartbeat => heartbeat with { PricePerHourPico = price } }, seed: 1);

    [Theory]
    [InlineData(LatencyClass.Express)]
    [InlineData(LatencyClass.Standard)]
    [InlineData(LatencyClass.Bulk)]
    public void A_class_may_be_removed_while_work_of_it_waits(LatencyClass removed)
    {
        var classes = LatencyClasses.Defaults.Where(c => c.Key != removed).ToDictionary(c => c.Key, c => c.Value);

        EndsAll(new Spoiling { Midway = new LimitsChanged(new PolicyOptions { Classes = classes }) }, seed: 1);
    }

    [Fact]
    public void All_classes_may_be_removed_or_promise_nothing()
    {
        EndsAll(
            new Spoiling
            {
                Midway = new LimitsChanged(new PolicyOptions { Classes = new Dictionary<LatencyClass, LatencyClassOptions>() }),
            },
            1
        );
        var nothing = new LatencyClassOptions(TimeSpan.Zero, TimeSpan.Zero, 0);
        var classes = Enum.GetValues<LatencyClass>().ToDictionary(c => c, _ => nothing);
        EndsAll(new Spoiling { Midway = new LimitsChanged(new PolicyOptions { Classes = classes }) }, 1);
    }

    private static BadLife EndsAll(Spoiling spoiling, int seed)
    {
        var life = new BadLife(spoiling, seed).Run();

        Assert.Equal((0, 0), (life.Missing, life.Held));
        Assert.All(life.Decisions, decision => Assert.Contains(decision.Why.Code, Codes));
        return life;
    }
}
