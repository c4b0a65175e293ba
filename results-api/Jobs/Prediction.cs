using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Jobs;

/// <summary>
/// When a job should be finished. The best witness is its own pace; before it has one, the scheduler's forecast for its class and
/// model; before that is heard, what was predicted at admission. Pure: facts in, a time out.
/// </summary>
internal static class Prediction
{
    /// <summary>The first commit ends a whole batch at the moment the job starts, so a pace is no pace before this.</summary>
    private static readonly TimeSpan PaceMin = TimeSpan.FromSeconds(2);

    /// <param name="forecast">The latest, if it is fresh.</param>
    /// <param name="tasksPerSecond">Its pace over the last seconds, where somebody watched.</param>
    /// <returns>The predicted end; null when nothing is known, and for a job that waits for its owner (paused) or is being cancelled.</returns>
    public static DateTimeOffset? Of(JobView job, Forecast? forecast, DateTimeOffset now, double? tasksPerSecond = null)
    {
        if (job.State.IsEnd() || job.State == JobState.Finalizing)
        {
            return job.PredictedAt;
        }

        if (job.Paused || job.State is JobState.Receiving or JobState.Cancelling)
        {
            return null;
        }

        return ByPace(job, now, tasksPerSecond) ?? ByForecast(job, forecast, now) ?? (job.PredictedAt > now ? job.PredictedAt : null);
    }

    private static DateTimeOffset? ByPace(JobView job, DateTimeOffset now, double? tasksPerSecond)
    {
        if (job.Counts.Ended == 0 || job.StartedAt is not { } started || now - started < PaceMin)
        {
            return null;
        }

        var pace = tasksPerSecond is > 0 and { } recent ? recent : job.Counts.Ended / (now - started).TotalSeconds;
        return In(now, job.Counts.Remaining / pace);
    }

    /// <summary>The job waits already, so its own units are among those ahead.</summary>
    private static DateTimeOffset? ByForecast(JobView job, Forecast? forecast, DateTimeOffset now)
    {
        double? soonest = null;
        foreach (var pool in forecast?.Pools ?? [])
        {
            if (pool.Model == job.Model && pool.Workers > 0 && pool.UnitsAhead.Count > (int)job.Class)
            {
                var units = Math.Max(pool.UnitsAhead[(int)job.Class], job.UnitsLeft);
                var unitNs = pool.BetaNs + (pool.AlphaNs / Math.Max(1, pool.UnitsPerBatch));
                var seconds = units * unitNs / pool.Workers / 1e9;
                soonest = soonest is { } other ? Math.Min(other, seconds) : seconds;
            }
        }

        return soonest is { } wait ? In(now, wait) : null;
    }

    /// <summary>Whole milliseconds; beyond ten years nothing is predicted.</summary>
    private static DateTimeOffset? In(DateTimeOffset now, double seconds) =>
        seconds is >= 0 and < 10 * 365 * 86_400.0 ? now.AddMilliseconds(Math.Ceiling(seconds * 1000)) : null;
}
