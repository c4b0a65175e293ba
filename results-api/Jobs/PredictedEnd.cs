using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Scheduler.Policy;

namespace Pipeline.ResultsApi.Jobs;

/// <summary>When a job should be finished, not before and not after what in 19 of 20 cases; null where nothing tells that.</summary>
public sealed record PredictedBand(DateTimeOffset At, DateTimeOffset? EarlyAt = null, DateTimeOffset? LateAt = null)
{
    private const double RatioMax = 10;

    /// <summary>Another end, with the same error for its time.</summary>
    /// <param name="from">Since when this one counts, and <paramref name="now"/> since when the other does.</param>
    public PredictedBand With(DateTimeOffset end, DateTimeOffset from, DateTimeOffset now)
    {
        return new(end, Scaled(EarlyAt), Scaled(LateAt));

        DateTimeOffset? Scaled(DateTimeOffset? bound) =>
            bound is { } at && At > from ? now + ((end - now) * Math.Clamp((at - from) / (At - from), 0, RatioMax)) : null;
    }
}

/// <summary>
/// When a job should be finished. The best witness is its own pace; before it has one, the scheduler's forecast for its class and
/// model; before that is heard, what was predicted at admission. Pure: facts in, a time out.
/// </summary>
internal static class PredictedEnd
{
    /// <summary>The first commit ends a whole batch at the moment the job starts, so a pace is no pace before this.</summary>
    private static readonly TimeSpan PaceMin = TimeSpan.FromSeconds(2);

    /// <summary>Ten years: further ahead nothing is predicted.</summary>
    private const double SecondsMax = 10 * 365 * 86_400.0;

    /// <param name="forecast">The latest, if it is fresh.</param>
    /// <param name="tasksPerSecond">Its pace over the last seconds, where somebody watched.</param>
    /// <returns>The predicted end; null when nothing is known, and for a job that waits for its owner (paused) or is being cancelled.</returns>
    public static DateTimeOffset? Of(JobView job, Forecast? forecast, DateTimeOffset now, double? tasksPerSecond = null) =>
        BandOf(job, forecast, now, tasksPerSecond)?.At;

    /// <summary>The same with its band: a pace tells none of its own, so it gets that of the forecast, or of the prediction at admission.</summary>
    public static PredictedBand? BandOf(JobView job, Forecast? forecast, DateTimeOffset now, double? tasksPerSecond = null)
    {
        var told =
            job.PredictedAt is not { } at ? null
            : job.Accepted is { } accepted && accepted.At == at ? new PredictedBand(at, accepted.EarlyAt, accepted.LateAt)
            : new PredictedBand(at);
        if (job.State.IsEnd() || job.State == JobState.Finalizing)
        {
            return told;
        }

        if (job.Paused || job.State is JobState.Receiving or JobState.Cancelling)
        {
            return null;
        }

        var forecasted = ByForecast(job, forecast);
        return ByPace(job, now, tasksPerSecond) is not { } end ? forecasted ?? (told?.At > now ? told : null)
            : forecasted is not null ? forecasted.With(end, forecast!.At, now)
            : told is not null ? told.With(end, job.QueuedAt ?? job.CreatedAt, now)
            : new PredictedBand(end);
    }

    private static DateTimeOffset? ByPace(JobView job, DateTimeOffset now, double? tasksPerSecond)
    {
        if (job.Counts.Ended == 0 || job.StartedAt is not { } started || now - started < PaceMin)
        {
            return null;
        }

        var pace = tasksPerSecond is > 0 and { } recent ? recent : job.Counts.Ended / (now - started).TotalSeconds;
        var seconds = job.Counts.Remaining / pace;
        return seconds < SecondsMax ? now.AddMilliseconds(Math.Ceiling(seconds * 1000)) : null;
    }

    /// <summary>The job waits already, so its own units are among those ahead; it is new work only as far as they do not cover it.</summary>
    private static PredictedBand? ByForecast(JobView job, Forecast? forecast)
    {
        PredictedBand? earliest = null;
        foreach (var pool in forecast?.Pools ?? [])
        {
            var units = Math.Max(0, job.UnitsLeft - pool.UnitsAhead.ElementAtOrDefault((int)job.Class));
            var tasks = Math.Max(0, job.Counts.Remaining - (pool.TasksAhead?.ElementAtOrDefault((int)job.Class) ?? 0));
            if (
                pool.Model == job.Model
                && Prediction.Estimate(forecast!.At, pool, job.Class, new(units, tasks)) is { } estimated
                && !(estimated.Completion >= earliest?.At)
            )
            {
                earliest = new(estimated.Completion, estimated.Early, estimated.Late);
            }
        }

        return earliest;
    }
}
