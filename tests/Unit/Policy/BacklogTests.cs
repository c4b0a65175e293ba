using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public class BacklogTests
{
    private static readonly ModelRef Model = new("m", "1");
    private static readonly ModelRef Large = new("l", "1");
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly long Lead = new PolicyOptions().DispatchTimeTarget.Ticks;
    private static readonly EndChunks Cancelled = new([], TaskOutcome.Cancelled, FailureKind.Cancelled, "", new Why(Reasons.JobCancelled));

    [Fact]
    public void Two_tenants_get_half_each_however_much_one_of_them_has()
    {
        var backlog = new Backlog(new CostBook());
        for (var no = 0; no < 2000; no++)
        {
            backlog.Add(Header(1, no, tenant: 1, units: 500));
        }

        for (var job = 2; job < 102; job++)
        {
            backlog.Add(Header(job, 0, tenant: 2, units: 500));
        }

        var units = TakenUntil(backlog, chunks: 200);

        Assert.Equal(units[1], units[2]);
    }

    [Fact]
    public void Weights_hold_within_a_chunk()
    {
        var weights = new Dictionary<TenantId, double> { [Tenant(1)] = 3 };
        var backlog = new Backlog(new CostBook()) { Options = new PolicyOptions { TenantWeights = weights } };
        for (var no = 0; no < 1000; no++)
        {
            backlog.Add(Header(1, no, tenant: 1, units: 100));
            backlog.Add(Header(2, no, tenant: 2, units: 100));
        }

        for (var chunks = 4; chunks <= 400; chunks += 4)
        {
            var units = TakenUntil(backlog, chunks: 4);
            Assert.InRange(units.GetValueOrDefault(1) - (3 * units.GetValueOrDefault(2)), -400, 400);
        }
    }

    [Fact]
    public void A_tenant_that_was_away_does_not_catch_up_on_the_others()
    {
        var backlog = new Backlog(new CostBook());
        for (var no = 0; no < 1000; no++)
        {
            backlog.Add(Header(1, no, tenant: 1, units: 100));
        }

        TakenUntil(backlog, chunks: 500);
        for (var no = 0; no < 1000; no++)
        {
            backlog.Add(Header(2, no, tenant: 2, units: 100));
        }

        var units = TakenUntil(backlog, chunks: 100);
        Assert.InRange(units[1], 4900, 5100);
    }

    [Fact]
    public void What_was_not_run_is_not_charged()
    {
        var backlog = new Backlog(new CostBook());
        for (var no = 0; no < 10; no++)
        {
            backlog.Add(Header(1, no, tenant: 1, units: 100));
            backlog.Add(Header(2, no, tenant: 2, units: 100));
        }

        for (var again = 0; again < 5; again++)
        {
            var chunk = backlog.NextOf(Queue(backlog).NextJob()!.Value)!.Value;
            Assert.Equal(Tenant(1), chunk.Job.Tenant);
            var range = Backlog.Take(chunk, int.MaxValue);
            chunk.Job.UnitsTaken -= chunk.UnitsOf(range.Count);
            backlog.Return(chunk, range);
            backlog.Land(chunk);
        }
    }

    [Fact]
    public void A_job_is_promoted_when_its_work_has_to_start()
    {
        var backlog = new Backlog(new CostBook()) { NsPerUnit = _ => 1_000_000 };
        backlog.Add(Header(1, 0, tenant: 1, units: 60_000, deadline: TimeSpan.FromHours(1)));
        backlog.Add(Header(2, 0, tenant: 1, units: 1000, deadline: TimeSpan.FromHours(2)));
        var latest = (Start + TimeSpan.FromMinutes(59)).UtcTicks - Lead;

        Assert.Equal(latest, backlog.NextAlarmAt);
        Assert.Null(backlog.NextAlarm(latest - 1));
        Assert.Equal(Job(1), backlog.NextAlarm(latest)!.Value.Id);
        Assert.Null(backlog.NextAlarm(latest));
        Assert.Equal((Start + TimeSpan.FromHours(1)).UtcTicks, backlog.NextAlarmAt);
        Assert.Equal(Job(2), Queue(backlog).NextJob()!.Value.Id);
        Assert.Equal([Job(1)], Queue(backlog).PromotedJobs.Select(j => j.Id));
        Assert.Equal(Job(1), Queue(backlog).Jobs.Min!.Value.Id);
        Assert.True(backlog.Find(Job(1))!.Value.Promoted);
        Assert.Equal(2, Queue(backlog).Jobs.Count);
    }

    [Fact]
    public void The_latest_start_follows_the_waiting_work()
    {
        var backlog = new Backlog(new CostBook()) { NsPerUnit = _ => 1_000_000 };
        for (var no = 0; no < 10; no++)
        {
            backlog.Add(Header(1, no, tenant: 1, units: 6000, deadline: TimeSpan.FromHours(1)));
        }

        Assert.Equal((Start + TimeSpan.FromMinutes(59)).UtcTicks - Lead, backlog.NextAlarmAt);
        TakenUntil(backlog, chunks: 5);
        Assert.Equal((Start + TimeSpan.FromMinutes(59.5)).UtcTicks - Lead, backlog.NextAlarmAt);
        backlog.Pause(Job(1));
        Assert.Equal((Start + TimeSpan.FromHours(1)).UtcTicks, backlog.NextAlarmAt);
        backlog.Resume(Job(1));
        Assert.Equal((Start + TimeSpan.FromMinutes(59.5)).UtcTicks - Lead, backlog.NextAlarmAt);
    }

    [Fact]
    public void A_job_is_looked_at_when_its_deadline_has_passed_whether_it_was_promoted_or_not()
    {
        var backlog = new Backlog(new CostBook()) { NsPerUnit = _ => 1_000_000 };
        backlog.Add(Header(1, 0, tenant: 1, units: 60_000, deadline: TimeSpan.FromHours(1)));
        backlog.Add(Header(2, 0, tenant: 1, units: 60_000, deadline: TimeSpan.FromHours(2)));
        backlog.NextAlarm((Start + TimeSpan.FromMinutes(59)).UtcTicks);
        var late = (Start + TimeSpan.FromHours(3)).UtcTicks;

        foreach (var (job, promoted) in ((int, bool)[])[(1, true), (2, false)])
        {
            var alarm = backlog.NextAlarm(late)!.Value;
            Assert.Equal((Job(job), promoted), (alarm.Id, alarm.Promoted));
            backlog.End(alarm, Cancelled);
        }

        Assert.Null(backlog.NextAlarm(late));
        Assert.Equal(long.MaxValue, backlog.NextAlarmAt);
    }

    [Fact]
    public void Express_is_never_promoted()
    {
        var backlog = new Backlog(new CostBook());
        backlog.Add(Header(1, 0, tenant: 1, units: 1, latencyClass: LatencyClass.Express));
        var job = backlog.Find(Job(1))!.Value;

        Assert.Equal(job.Deadline, backlog.NextAlarmAt);
        Assert.Null(backlog.NextAlarm(job.Deadline - 1));
        Assert.False(job.Promoted);
    }

    [Fact]
    public void Work_by_deadline_adds_up_in_order()
    {
        var backlog = new Backlog(new CostBook());
        foreach (var minutes in (int[])[90, 30, 30, 6000])
        {
            var job = minutes + backlog.ChunksOpen;
            backlog.Add(Header(job, 0, tenant: 1, units: 500, deadline: TimeSpan.FromMinutes(minutes)));
        }

        var work = backlog.WorkByDeadline().ToList();

        Assert.Equal([1000, 500, 500], work.Select(w => w.Units));
        Assert.Equal([20, 10, 10], work.Select(w => w.Tasks));
        Assert.All(work.Zip([30.0, 90, 6000]), w => Assert.True(w.First.DueBy <= (Start + TimeSpan.FromMinutes(w.Second)).UtcTicks));
        TakenUntil(backlog, chunks: 4);
        Assert.Empty(backlog.WorkByDeadline());
    }

    [Fact]
    public void The_first_chunks_come_in_order_of_due_times_of_all_tenants()
    {
        var backlog = new Backlog(new CostBook());
        var random = new Random(5);
        for (var job = 1; job <= 300; job++)
        {
            backlog.Add(Header(job, 0, tenant: random.Next(7), units: 10, queuedAt: Start + TimeSpan.FromMilliseconds(random.Next(100))));
        }

        var first = Queue(backlog).First(300).ToList();

        Assert.Equal(300, first.Distinct().Count());
        Assert.Equal(first.Select(c => (c.Job.Due, c.Job.Arrival)).Order(), first.Select(c => (c.Job.Due, c.Job.Arrival)));
        Assert.Equal(first.Take(5), Queue(backlog).First(5));
        Assert.Equal(Queue(backlog).DueShared, first[0].Job.Due);
    }

    [Fact]
    public void Odd_headers_do_not_disturb()
    {
        var backlog = new Backlog(new CostBook());
        Assert.Null(backlog.Add(Header(1, 0, tenant: 1, units: 10) with { Remaining = -1 }));
        Assert.Null(backlog.Add(Header(1, 0, tenant: 1, units: 10) with { Tasks = 0 }));
        backlog.Add(Header(2, 0, tenant: 1, units: 10) with { Class = (LatencyClass)77 });
        backlog.Add(Header(3, 0, tenant: 1, units: -5));
        backlog.Add(Header(4, 0, tenant: 1, units: long.MaxValue));
        backlog.Add(Header(5, 0, tenant: 1, units: 10) with { Deadline = DateTimeOffset.MaxValue, QueuedAt = DateTimeOffset.MaxValue });
        backlog.Add(Header(6, 0, tenant: 1, units: 10) with { Deadline = DateTimeOffset.MinValue, QueuedAt = DateTimeOffset.MinValue });

        Assert.Equal(LatencyClass.Bulk, backlog.Find(Job(2))!.Value.Queue.Class);
        Assert.Equal(10, backlog.Find(Job(3))!.Value.UnitsWaiting);
        Assert.Equal(5, backlog.ChunksOpen);
        Assert.Equal(5, Queue(backlog).First(100).Count());
        TakenUntil(backlog, chunks: 5);
        Assert.True(Queue(backlog).IsEmpty);
    }

    [Fact]
    public void Chunks_in_any_order_come_out_in_order_of_number()
    {
        var backlog = new Backlog(new CostBook());
        int[] numbers = [.. Enumerable.Range(0, 1000)];
        new Random(3).Shuffle(numbers);
        foreach (var no in numbers)
        {
            backlog.Add(Header(1, no, tenant: 1, units: 10));
        }

        var job = backlog.Find(Job(1))!.Value;
        Assert.Equal(Enumerable.Range(0, 1000), Queue(backlog).First(1000).Select(c => c.No));
        for (var no = 0; no < 1000; no++)
        {
            var chunk = backlog.NextOf(job)!.Value;
            Assert.Equal(no, chunk.No);
            Backlog.Take(chunk, int.MaxValue);
        }

        Assert.Null(backlog.NextOf(job));
    }

    [Fact]
    public void A_record_is_not_given_out_again_while_its_job_stands_in_line_to_end()
    {
        var backlog = new Backlog(new CostBook());
        var gone = backlog.Add(Header(1, 0, tenant: 1, units: 10))!.Value;
        backlog.Cancel(Job(1), Cancelled);
        gone.InFlight++;
        Backlog.Remove(gone, new TaskRange(0, 10));
        backlog.Land(gone);
        backlog.Add(Header(2, 0, tenant: 1, units: 10));

        Assert.Null(backlog.FirstToEnd());
        Assert.Null(backlog.Find(Job(2))!.Value.Ending);
        Assert.Equal(1, backlog.ChunksOpen);
    }

    [Fact]
    public void A_handle_on_a_chunk_that_is_gone_does_nothing_to_the_one_in_its_place()
    {
        var backlog = new Backlog(new CostBook());
        var gone = backlog.Add(Header(1, 0, tenant: 1, units: 10))!.Value;
        var range = Backlog.Take(gone, int.MaxValue);
        backlog.Rank(gone.Job);
        backlog.Land(gone);
        var other = backlog.Add(Header(2, 0, tenant: 1, units: 10))!.Value;

        backlog.Return(gone, range);
        backlog.Land(gone);
        Backlog.Remove(gone, range);
        Backlog.Fault(gone, 3);

        Assert.True(gone.Waiting.IsEmpty);
        Assert.Equal((10, 10L, 0), (other.Waiting.Count, Queue(backlog).Units, other.Faults));
        Assert.Equal(1, backlog.ChunksOpen);
    }

    /// <summary>Takes whole chunks by fair shares and lands them as done.</summary>
    /// <returns>Units by tenant.</returns>
    [Fact]
    public void A_job_whose_tasks_escalate_waits_for_each_of_its_models_in_that_models_queue()
    {
        var backlog = new Backlog(new CostBook());
        backlog.Add(Header(1, 0, tenant: 1, units: 100));
        backlog.Add(Escalated(no: 1));

        Assert.Equal((1, 1), (Queue(backlog).Chunks, backlog.QueueOf(Large, LatencyClass.Bulk).Chunks));
        Assert.Equal(Model, backlog.Find(new ChunkKey(Job(1), 0))!.Value.Job.Queue.Model);
        Assert.Equal(Large, backlog.Find(new ChunkKey(Job(1), 1))!.Value.Job.Queue.Model);
        Assert.Null(backlog.Add(Escalated(no: 1)));
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(1, 0)]
    public void Either_of_a_jobs_models_may_be_done_first(int first, int second)
    {
        var backlog = new Backlog(new CostBook());
        backlog.Add(Header(1, 0, tenant: 1, units: 100));
        backlog.Add(Escalated(no: 1));

        Run(first);
        Assert.Null(backlog.Find(new ChunkKey(Job(1), first)));
        Assert.NotNull(backlog.Find(Job(1)));
        Run(second);

        Assert.Null(backlog.Find(Job(1)));
        Assert.Equal(0, backlog.ChunksOpen);

        void Run(int no)
        {
            var chunk = backlog.Find(new ChunkKey(Job(1), no))!.Value;
            Backlog.Take(chunk, int.MaxValue);
            backlog.Land(chunk);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void What_is_told_of_a_job_holds_for_all_its_models_whichever_comes_first(bool escalatedBefore)
    {
        var backlog = new Backlog(new CostBook());
        backlog.Add(Header(1, 0, tenant: 1, units: 100));
        if (escalatedBefore)
        {
            backlog.Add(Escalated(no: 1));
        }

        backlog.Pause(Job(1));
        backlog.Add(Escalated(no: 1));
        Assert.Equal((0, 0), (Queue(backlog).Chunks, backlog.QueueOf(Large, LatencyClass.Bulk).Chunks));
        backlog.Resume(Job(1));
        Assert.Equal((1, 1), (Queue(backlog).Chunks, backlog.QueueOf(Large, LatencyClass.Bulk).Chunks));

        backlog.Cancel(Job(1), Cancelled);
        backlog.Add(Escalated(no: 2));
        Assert.All([0, 1, 2], no => Assert.NotNull(backlog.Find(new ChunkKey(Job(1), no))!.Value.Job.Ending));
    }

    private static ChunkHeader Escalated(int no) => Header(1, no, tenant: 1, units: 20) with { Model = Large };

    private static Dictionary<int, long> TakenUntil(Backlog backlog, int chunks)
    {
        var units = new Dictionary<int, long>();
        for (; chunks > 0; chunks--)
        {
            var chunk = backlog.NextOf(Queue(backlog).Jobs.Min!.Value)!.Value;
            var tenant = chunk.Job.Tenant.Value.ToByteArray()[0];
            units[tenant] = units.GetValueOrDefault(tenant) + chunk.UnitsWaiting;
            Backlog.Take(chunk, int.MaxValue);
            backlog.Rank(chunk.Job);
            backlog.Land(chunk);
        }

        return units;
    }

    private static ClassQueue Queue(Backlog backlog) => backlog.QueueOf(Model, LatencyClass.Bulk);

    private static JobId Job(int number) => new(new Guid(number, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1));

    private static TenantId Tenant(int number) => new(new Guid(number, 2, 0, 0, 0, 0, 0, 0, 0, 0, 2));

    private static ChunkHeader Header(
        int job,
        int no,
        int tenant,
        long units,
        LatencyClass latencyClass = LatencyClass.Bulk,
        TimeSpan? deadline = null,
        DateTimeOffset? queuedAt = null
    ) =>
        new(
            Job(job),
            no,
            Tenant(tenant),
            Model,
            latencyClass,
            Start + (deadline ?? TimeSpan.FromHours(24)),
            queuedAt ?? Start,
            Tasks: 10,
            units,
            UnitsMax: 10,
            Remaining: 10,
            Attempts: 0
        );
}
