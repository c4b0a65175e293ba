namespace Pipeline.Ingest;

/// <summary>The time as PostgreSQL keeps it, so that an answer and a later read show the same moment.</summary>
internal static class Moments
{
    /// <summary>Now, in whole microseconds.</summary>
    public static DateTimeOffset Now(TimeProvider time)
    {
        var now = time.GetUtcNow();
        return now.AddTicks(-(now.Ticks % TimeSpan.TicksPerMicrosecond));
    }
}
