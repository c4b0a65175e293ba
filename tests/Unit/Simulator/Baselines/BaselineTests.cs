using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator.Baselines;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator.Baselines;

/// <summary>What all baselines share: queues, devices, dispatches that come back, deadlines.</summary>
public sealed class BaselineTests
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly WorkerId Worker = new(new Guid("00000000-0000-7000-9000-000000000001"));

    public static TheoryData<string> Policies => [.. AllPolicies.Keys];

    internal static readonly Dictionary<string, Func<BaselineSetup, IPolicy>> AllPolicies = BaselineEntries.All.ToDictionary(
        e => e.Name,
        e => (Func<BaselineSetup, IPolicy>)(s => e.Create(s.Options))
    );

    [Theory]
    [MemberData(nameof(Policies))]
    public void Every_task_of_a_mixed_load_ends_once(string policy)
    {
        var bench = new BaselineBench(AllPolicies[policy], BaselineBench.Affine(1, 0.1), devices: 2).ArrivePoisson(0.2, 2000);
        for (var i = 0; i < 8; i++)
        {
            bench.Arrive(i * 100, LatencyClass.Bulk, 512).Arrive((i * 200) + 50, LatencyClass.Standard, 20);
        }

        bench.Run();
        foreach (var score in new[] { bench.Express, bench.Standard, bench.Bulk })
        {
            Assert.True(score.Tasks > 0);
        }

        Assert.Equal(bench.Express.Tasks, bench.Batches.Sum(b => b.Express) + bench.Express.Dropped);
        Assert.Equal(160, bench.Batches.Sum(b => b.Standard));
        Assert.Equal(8 * 512, bench.Batches.Sum(b => b.Bulk));
    }

    [Theory]
    [MemberData(nameof(Policies))]
    public void The_same_facts_give_the_same_decisions(string policy) => Assert.Equal(Life(policy), Life(policy));

    private static List<string> Life(string policy) =>
        [
            .. new BaselineBench(AllPolicies[policy], BaselineBench.Affine(1, 0.1), devices: 3, targetMs: 10)
                .ArrivePoisson(3, 200)
                .Arrive(5, LatencyClass.Bulk, 512)
                .Run()
                .Decisions.Select(d => $"{d.GetType().Name} {d.Why} {(d as SendDispatch)?.Dispatch.Id}"),
        ];

    [Fact]
    public void The_table_is_linear_between_its_points_and_inverts()
    {
        var table = new LatencyTable(BaselineBench.Table((1, 1), (8, 2), (16, 6)));
        Assert.Equal(10_000, table.Ticks(1), 3);
        Assert.Equal(40_000, table.Ticks(12), 3);
        Assert.Equal(70_000, table.Ticks(18), 3);
        Assert.Equal(12, table.Units(40_000), 6);
        Assert.Equal(18, table.Units(70_000), 6);
        Assert.True(table.Units(1000) < 1);
    }

    [Fact]
    public void The_largest_batch_within_a_time_takes_no_longer_and_one_more_would()
    {
        var model = new BaselineModel(BaselineBench.Model, QueueOrder.Due);
        model.Profile(BaselineBench.Affine(5.204, 1.082), new LimitSpec { BatchRowsMax = 4096 });
        for (var ms = 7; ms < 200; ms++)
        {
            var ticks = TimeSpan.FromMilliseconds(ms).Ticks;
            var tasks = model.TasksWithin(ticks);
            Assert.True(model.Latency(tasks) <= ticks && model.Latency(tasks + 1) > ticks, $"{ms} ms: {tasks}");
        }

        Assert.Equal(0, model.TasksWithin(TimeSpan.FromMilliseconds(6).Ticks));
    }

    [Fact]
    public void A_queue_keeps_its_order_whatever_comes_and_goes()
    {
        var queue = new BaselineQueue(QueueOrder.Due);
        var chunks = Enumerable.Range(0, 50).Select(i => Chunk((i * 7) % 50, i)).ToList();
        chunks.ForEach(queue.Add);
        Assert.Equal(500, queue.Tasks);
        var first = queue.Head;
        var range = queue.TakeAt(0, 4);
        Assert.Equal(new TaskRange(0, 4), range);
        queue.TakeAt(0, 6);
        Assert.Equal(1, queue.Head.Due);
        queue.Return(first, range);
        Assert.Equal((first, 4), (queue.Head, queue.Head.Waiting));
        queue.Remove(queue[10]);
        Assert.Equal(49, queue.Count);
        Assert.Equal(484, queue.Tasks);
        Assert.Equal(Enumerable.Range(0, 49).Select(i => i < 10 ? i : i + 1L), Enumerable.Range(0, 49).Select(i => queue[i].Due));
    }

    [Fact]
    public void What_is_handed_back_waits_again_and_what_is_done_does_not()
    {
        var policy = Ready(new FifoPolicy(new BaselineSetup(), 8));
        Arrive(policy, 8);
        var sent = Send(policy);
        var slice = sent.Slices.Single();
        SliceReport[] reports =
        [
            new(slice.Job, slice.No, 0, 5, SliceOutcome.Done),
            new(slice.Job, slice.No, 5, 3, SliceOutcome.HandedBack),
        ];
        policy.Observe(new DispatchEnded(Report(sent, reports, new BatchFact(5, 5, 5, 1000))), Start);
        Assert.Equal((5, 3), (Send(policy) is var again ? again.Slices.Single().First : 0, again.Slices.Single().Count));
    }

    [Fact]
    public void A_device_that_hands_back_unasked_rests_so_that_the_turn_ends()
    {
        var policy = Ready(new FifoPolicy(new BaselineSetup()));
        Arrive(policy, 1);
        var sent = Send(policy);
        var slice = sent.Slices.Single();
        policy.Observe(new DispatchEnded(Report(sent, [new(slice.Job, slice.No, 0, 1, SliceOutcome.HandedBack)])), Start);
        Assert.Empty(policy.Plan(Start));
        Assert.Equal(Start + TimeSpan.FromMilliseconds(100), policy.NextWake(Start));
        Assert.Single(policy.Plan(Start + TimeSpan.FromMilliseconds(100)));
    }

    [Fact]
    public void What_a_lost_worker_held_goes_to_another()
    {
        var policy = Ready(new FifoPolicy(new BaselineSetup()));
        Arrive(policy, 1);
        var sent = Send(policy);
        var other = new WorkerId(new Guid("00000000-0000-7000-9000-000000000002"));
        policy.Observe(new WorkerSeen(BaselineBench.Beat(other)), Start);
        Assert.Empty(policy.Plan(Start));
        policy.Observe(new WorkerGone(Worker, []), Start);
        var again = Send(policy);
        Assert.Equal((other, sent.Slices.Single()), (again.Worker, again.Slices.Single()));
    }

    [Fact]
    public void A_worker_that_beat_and_fell_silent_is_declared_lost_once()
    {
        var policy = Ready(new FifoPolicy(new BaselineSetup()));
        policy.Observe(new WorkerSeen(BaselineBench.Beat(Worker)), Start + TimeSpan.FromSeconds(1));
        Assert.Empty(policy.Plan(Start + TimeSpan.FromSeconds(4)));
        Assert.IsType<DeclareLost>(Assert.Single(policy.Plan(Start + TimeSpan.FromSeconds(5))));
        Assert.Empty(policy.Plan(Start + TimeSpan.FromSeconds(7)));
    }

    [Fact]
    public void What_passed_its_deadline_ends_expired_and_an_ending_that_failed_is_said_again()
    {
        var policy = new FifoPolicy(new BaselineSetup());
        Arrive(policy, 3);
        Assert.Empty(policy.Plan(Start + TimeSpan.FromSeconds(59)));
        var end = Assert.IsType<EndChunks>(Assert.Single(policy.Plan(Start + TimeSpan.FromSeconds(60))));
        Assert.Equal((TaskOutcome.Expired, FailureKind.DeadlinePassed, 3), (end.Outcome, end.Kind, end.Why.Tasks));
        policy.Observe(new EndingFailed(end), Start + TimeSpan.FromSeconds(61));
        Assert.Same(end, Assert.Single(policy.Plan(Start + TimeSpan.FromSeconds(61))));
    }

    [Fact]
    public void Facts_that_are_odd_break_nothing()
    {
        var policy = Ready(new HyGenPolicy(new BaselineSetup()));
        Arrive(policy, 0);
        var header = Arrive(policy, 2);
        policy.Observe(new ChunkArrived(header), Start);
        var sent = Send(policy);
        Assert.Equal(2, sent.Slices.Sum(s => s.Count));
        policy.Observe(new WorkerGone(new WorkerId(Guid.Empty), []), Start);
        policy.Observe(new DispatchFaulted(new DispatchId(Guid.Empty), "who?"), Start);
        var report = Report(sent, [new(header.Job, 0, 0, 2, SliceOutcome.Done)], new BatchFact(0, 0, 0, -5));
        policy.Observe(new DispatchEnded(report), Start - TimeSpan.FromSeconds(5));
        policy.Observe(new DispatchEnded(report), Start);
        policy.Observe(new ChunksEnded([header.Key]), Start);
        Assert.Empty(policy.Plan(Start));
    }

    [Fact]
    public void Every_variant_has_a_name_of_its_own_and_decides()
    {
        var variants = BaselineEntries.All.SelectMany(e => BaselineEntries.Variants(e.Name)).ToList();
        Assert.Equal(variants.Count, variants.DistinctBy(v => v.Name).Count());
        Assert.All(
            variants,
            v =>
            {
                var policy = Ready(v.Create(new PolicyOptions()));
                Arrive(policy, 8);
                var wake = policy.Plan(Start).Count > 0 ? Start : policy.NextWake(Start);
                Assert.True(wake < Start + TimeSpan.FromSeconds(1), v.Name);
            }
        );
    }

    private static BaselineChunk Chunk(long due, int no) =>
        new(
            new ChunkHeader(
                new JobId(new Guid($"00000000-0000-7000-8000-{no:d12}")),
                0,
                default,
                BaselineBench.Model,
                LatencyClass.Express,
                Start,
                Start,
                10,
                10,
                1,
                10,
                0
            ),
            due,
            no
        );

    private static IPolicy Ready(IPolicy policy)
    {
        policy.Observe(new ModelProfileKnown(BaselineBench.Model, BaselineBench.Affine(1, 0.1), new LimitSpec()), Start);
        policy.Observe(new WorkerSeen(BaselineBench.Beat(Worker)), Start);
        return policy;
    }

    private static ChunkHeader Arrive(IPolicy policy, int tasks)
    {
        var job = new JobId(new Guid($"00000000-0000-7000-8000-{tasks:d12}"));
        var header = new ChunkHeader(
            job,
            0,
            default,
            BaselineBench.Model,
            LatencyClass.Express,
            Start + TimeSpan.FromMinutes(1),
            Start,
            tasks,
            tasks,
            1,
            tasks,
            0
        );
        policy.Observe(new ChunkArrived(header), Start);
        return header;
    }

    private static Dispatch Send(IPolicy policy) => Assert.IsType<SendDispatch>(Assert.Single(policy.Plan(Start))).Dispatch;

    private static DispatchFinished Report(Dispatch dispatch, IReadOnlyList<SliceReport> slices, params BatchFact[] batches) =>
        new()
        {
            Id = dispatch.Id,
            Epoch = dispatch.Epoch,
            Worker = dispatch.Worker,
            Lane = dispatch.Lane,
            Model = dispatch.Model,
            Slices = slices,
            Batches = batches,
        };
}
