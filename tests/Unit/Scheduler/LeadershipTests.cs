using Pipeline.Contracts;
using Pipeline.Scheduler.Service;
using Xunit;

namespace Pipeline.Tests.Unit.Scheduler;

public class LeadershipTests
{
    private readonly StillTime _time = new();
    private readonly Leadership _leadership;

    public LeadershipTests() => _leadership = new Leadership(new SchedulerOptions(), _time);

    [Fact]
    public void A_fresh_tick_calls_the_spare()
    {
        Assert.True(_leadership.Hear(Tick(age: 1)));
        _leadership.Begin(7);
        Assert.Equal((true, 7L), (_leadership.IsActive, _leadership.Epoch));
        Assert.False(_leadership.Hear(Tick(age: 0)));
    }

    [Theory]
    [InlineData(6)]
    [InlineData(-6)]
    [InlineData(3600)]
    public void An_old_tick_calls_nobody(int age) => Assert.False(_leadership.Hear(Tick(age)));

    [Fact]
    public void Who_slept_is_the_spare_before_it_reads_what_its_buffers_kept()
    {
        _leadership.Begin(1);
        _time.Pass(4);
        Assert.Null(_leadership.ReasonToEnd());
        _leadership.TurnEnded();
        _time.Pass(6);
        Assert.Equal("it slept", _leadership.ReasonToEnd());
    }

    [Fact]
    public void Who_is_served_no_ticks_is_not_active()
    {
        _leadership.Begin(1);
        for (var second = 0; second < 10; second++)
        {
            Assert.Null(_leadership.ReasonToEnd());
            _time.Pass(1);
            _leadership.TurnEnded();
        }

        _time.Pass(1);
        Assert.NotNull(_leadership.ReasonToEnd());
    }

    [Fact]
    public void A_long_queue_with_old_ticks_in_it_ends_no_term()
    {
        _leadership.Begin(1);
        for (var second = 0; second < 60; second++)
        {
            _time.Pass(1);
            _leadership.Hear(Tick(age: 30));
            Assert.Null(_leadership.ReasonToEnd());
            _leadership.TurnEnded();
        }
    }

    private SchedulerTick Tick(int age) => new() { Instance = Guid.NewGuid(), SentAt = _time.GetUtcNow().AddSeconds(-age) };

    /// <summary>A clock that moves when told.</summary>
    private sealed class StillTime : TimeProvider
    {
        private DateTimeOffset _now = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

        public void Pass(int seconds) => _now = _now.AddSeconds(seconds);

        public override DateTimeOffset GetUtcNow() => _now;

        public override long GetTimestamp() => _now.UtcTicks;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;
    }
}
