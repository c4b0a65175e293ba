using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public class LookaheadTests
{
    private const long Ms = TimeSpan.TicksPerMillisecond;

    /// <summary>A batch takes 5 ms and 1 ms a task.</summary>
    private sealed class Line : IBatchTime
    {
        public long Ticks(double units) => (long)((5 + units) * Ms);

        public double UnitsWithin(long ticks) => Math.Max(0, ((double)ticks / Ms) - 5);
    }

    private static Lookahead Of(double perMs, IEnumerable<long> dueMs, params long[] freeMs)
    {
        var look = new Lookahead
        {
            Time = new Line(),
            Rate = perMs / Ms,
            Target = 30 * Ms,
        };
        dueMs.ToList().ForEach(due => look.Add(due * Ms, 1));
        freeMs.ToList().ForEach(free => look.AddDevice(free * Ms));
        return look;
    }

    [Fact]
    public void Nothing_is_missed_where_one_batch_holds_all()
    {
        Assert.Equal(0, Of(0, [15, 20, 20], 0).Missed(0, long.MaxValue));
    }

    [Fact]
    public void A_task_that_is_late_even_alone_is_missed()
    {
        Assert.Equal(1, Of(0, [5, 20, 20], 0).Missed(0, long.MaxValue));
    }

    [Fact]
    public void A_head_with_little_slack_steps_aside_where_it_would_make_the_rest_late()
    {
        // With the head: 3 tasks by 8 ms, then 7 tasks by 8 + 12 = 20 > 18. Without it all nine are done by 14.
        var look = Of(0, [8, 18, 18, 18, 18, 18, 18, 18, 18, 18], 0);

        Assert.Equal(1, look.StepAside(0, out var missed));
        Assert.Equal(0, missed);
    }

    [Fact]
    public void Beyond_capacity_batches_are_kept_from_shrinking()
    {
        // Two tasks a millisecond come, one can be done. Served as the heads allow, batches shrink to one; who is due within 15 ms steps
        // aside, so that a batch of ten (15 ms) is in time.
        var look = Of(2, Enumerable.Range(8, 24).Select(due => (long)due), 0);

        Assert.InRange(look.StepAside(0, out _), 5, 18);
    }

    /// <summary>A batch takes 0.25 ms and 1.14 ms a task: a small one is hardly dearer.</summary>
    private sealed class Steep : IBatchTime
    {
        public long Ticks(double units) => (long)((0.25 + (1.14 * units)) * Ms);

        public double UnitsWithin(long ticks) => Math.Max(0, (((double)ticks / Ms) - 0.25) / 1.14);
    }

    [Fact]
    public void Batches_that_shrink_more_slowly_than_a_play_can_show_are_kept_from_it()
    {
        // Eight devices serve 6.88 a millisecond in batches of ten, 6.5 in batches of three; 6.85 come. Until the horizon hardly anyone
        // is late for it, and after it ever more.
        var look = new Lookahead
        {
            Time = new Steep(),
            Rate = 6.85 / Ms,
            Target = 42 * Ms,
        };
        Enumerable.Range(0, 260).ToList().ForEach(i => look.Add((long)((4 + (i / 6.85)) * Ms), 1));
        Enumerable.Range(0, 8).ToList().ForEach(i => look.AddDevice(i * Ms / 2));

        Assert.InRange(look.StepAside(0, out _), 10, 80);
    }

    [Fact]
    public void No_floor_is_higher_than_it_may_be()
    {
        // As above, but batches are held to four tasks (9 ms) at most: only who is due sooner steps aside.
        var look = Of(2, Enumerable.Range(8, 24).Select(due => (long)due), 0);
        look.FloorMax = 4;

        Assert.InRange(look.StepAside(0, out _), 0, 1);
    }

    [Fact]
    public void A_floor_may_be_the_only_one()
    {
        var look = Of(0, [8, 18, 18, 18], 0);
        Assert.Equal(0, look.StepAside(0, out _));

        look.FloorMin = look.FloorMax = 4;
        Assert.Equal(1, look.StepAside(0, out _));
    }

    [Fact]
    public void What_comes_before_the_horizon_counts_to_its_end()
    {
        // Five tasks and a half come in the millisecond; the device is free long after it, and late for all of them.
        var look = Of(5.5, [], 26);

        Assert.Equal(0, look.Missed(0, 0));
        Assert.InRange(look.Missed(0, Ms), 5, 6);
    }

    [Fact]
    public void It_stays_where_another_device_comes_free_in_time()
    {
        var look = Of(0, [8, 18, 18, 18, 18, 18, 18, 18, 18, 18], 0, 1);

        Assert.Equal(0, look.StepAside(0, out var missed));
        Assert.Equal(0, missed);
    }

    [Fact]
    public void What_will_come_counts()
    {
        // Those that wait would all do; but while they run in two batches, more comes than the slack of the third allows.
        long[] due = [7, .. Enumerable.Repeat(30L, 12)];
        var quiet = Of(0, due, 0);
        var busy = Of(0.68, due, 0);

        Assert.Equal(0, quiet.Missed(0, long.MaxValue));
        Assert.Equal(1, busy.StepAside(0, out var missed));
        Assert.True(busy.Missed(0, long.MaxValue) > 1 + missed);
    }

    [Fact]
    public void A_device_that_is_free_later_takes_what_waits_then()
    {
        Assert.Equal(0, Of(0, [30, 30], 20).Missed(0, long.MaxValue));
        Assert.Equal(2, Of(0, [30, 30], 25).Missed(0, long.MaxValue));
    }

    [Fact]
    public void Limits_of_a_batch_hold()
    {
        var look = Of(0, [20, 20, 20, 20], 0);
        look.RowsMax = 2;

        Assert.Equal(0, look.Missed(0, long.MaxValue)); // Two by 7 ms, two by 14.
        look.RowsMax = 1;
        Assert.Equal(1, look.Missed(0, long.MaxValue)); // One each by 6, 12 and 18 ms.
    }

    [Fact]
    public void It_can_be_used_again()
    {
        var look = Of(0, [5, 5], 0);
        look.Clear();
        look.Add(30 * Ms, 1);
        look.AddDevice(0);

        Assert.Equal(0, look.Missed(0, long.MaxValue));
        Assert.Equal(1, look.Waiting);
    }
}
