using Pipeline.GpuWorker;
using Xunit;

namespace Pipeline.Tests.Unit.Worker;

public sealed class DeviceMeterTests
{
    private readonly Clock _clock = new();
    private readonly DeviceMeter _meter;
    private readonly List<DeviceSpan> _spans = [];

    public DeviceMeterTests() => _meter = new DeviceMeter(_clock);

    [Fact]
    public void Spans_touch_and_every_moment_is_in_one_of_them()
    {
        Pass(5);
        _meter.LoadBegins();
        Pass(7);
        _meter.LoadEnds();
        _meter.RunBegins();
        Pass(11);
        _meter.RunEnds("bisected");
        _meter.RunBegins();
        Pass(13);
        var batch = _meter.RunEnds();

        _meter.TakeThrough(batch, _spans);

        Assert.Equal(
            [
                new DeviceSpan(SpanKind.Idle, 0, 5),
                new DeviceSpan(SpanKind.WarmUp, 5, 12),
                new DeviceSpan(SpanKind.Waste, 12, 23, "bisected"),
                new DeviceSpan(SpanKind.Batch, 23, 36),
            ],
            _spans
        );
    }

    [Fact]
    public void A_load_beside_a_running_batch_is_the_batchs_time()
    {
        _meter.RunBegins();
        Pass(1);
        _meter.LoadBegins();
        Pass(2);
        var batch = _meter.RunEnds();
        Pass(4);
        _meter.LoadEnds();
        _meter.TakeThrough(batch, _spans);
        _meter.TakeGaps(_spans);

        Assert.Equal([new DeviceSpan(SpanKind.Batch, 0, 3), new DeviceSpan(SpanKind.WarmUp, 3, 7)], _spans);
    }

    [Fact]
    public void Gaps_are_taken_up_to_the_first_batch_that_is_not_written()
    {
        Pass(1);
        _meter.RunBegins();
        Pass(1);
        _meter.RunEnds();
        Pass(1);

        _meter.TakeGaps(_spans);

        Assert.Equal([new DeviceSpan(SpanKind.Idle, 0, 1)], _spans);
    }

    [Fact]
    public void While_a_batch_runs_the_gap_before_it_is_all_there_is()
    {
        Pass(2);
        _meter.RunBegins();
        Pass(2);

        _meter.TakeGaps(_spans);
        _meter.TakeGaps(_spans);

        Assert.Equal([new DeviceSpan(SpanKind.Idle, 0, 2)], _spans);
    }

    private void Pass(long ns) => _clock.Now += ns;
}
