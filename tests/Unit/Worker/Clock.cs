namespace Pipeline.Tests.Unit.Worker;

/// <summary>A monotonic clock in nanoseconds that stands until it is told otherwise.</summary>
internal sealed class Clock : TimeProvider
{
    public long Now { get; set; } = 1000;

    public override long TimestampFrequency => 1_000_000_000;

    public override long GetTimestamp() => Now;

    public void Pass(TimeSpan time) => Now += (long)time.TotalNanoseconds;
}
