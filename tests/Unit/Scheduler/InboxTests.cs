using Pipeline.Scheduler.Service;
using Xunit;

namespace Pipeline.Tests.Unit.Scheduler;

public sealed class InboxTests
{
    [Fact]
    public async Task A_timer_that_fires_when_the_wait_is_over_does_no_harm()
    {
        var inbox = new Inbox(new SchedulerOptions());
        var time = new LateTime();
        var wait = inbox.WaitAsync(TimeSpan.FromSeconds(1), time, TestContext.Current.CancellationToken);
        await inbox.PutAsync(new EpochHeard(1), TestContext.Current.CancellationToken);
        await wait;

        time.Fire();

        Assert.True(inbox.TryTake(out _));
    }

    [Fact]
    public async Task The_wait_ends_when_its_time_is_over()
    {
        var time = new LateTime();
        var wait = new Inbox(new SchedulerOptions()).WaitAsync(TimeSpan.FromSeconds(1), time, TestContext.Current.CancellationToken);
        Assert.False(wait.IsCompleted);

        time.Fire();

        await wait;
    }

    /// <summary>Its timers fire when they are told to, also when they were disposed of: a callback may be on its way by then.</summary>
    private sealed class LateTime : TimeProvider
    {
        private readonly List<Action> _timers = [];

        public void Fire() => _timers.ForEach(fire => fire());

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            _timers.Add(() => callback(state));
            return new Timer();
        }

        private sealed class Timer : ITimer
        {
            public bool Change(TimeSpan dueTime, TimeSpan period) => true;

            public void Dispose() { }

            public ValueTask DisposeAsync() => ValueTask.CompletedTask;
        }
    }
}
