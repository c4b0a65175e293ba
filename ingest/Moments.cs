namespace Pipeline.Ingest;

/// <summary>Times as PostgreSQL keeps them, in whole microseconds, so that an answer and a later read show the same moment.</summary>
internal static class Moments
{
    public static DateTimeOffset Now(TimeProvider time) => Of(time.GetUtcNow());

    public static DateTimeOffset Of(DateTimeOffset moment) => moment.AddTicks(-(moment.Ticks % TimeSpan.TicksPerMicrosecond));
}
