using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Scheduler.Policy;

namespace Pipeline.ResultsApi.Jobs;

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

        return ByPace(job, now, tasksPerSecond) ?? ByForecast(job, forecast) ?? (job.PredictedAt > now ? job.PredictedAt : null);
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
    private static DateTimeOffset? ByForecast(JobView job, Forecast? forecast)
    {
        DateTimeOffset? earliest = null;
        foreach (var pool in forecast?.Pools ?? [])
        {
            var units = Math.Max(0, job.UnitsLeft - pool.UnitsAhead.ElementAtOrDefault((int)job.Class));
            var tasks = Math.Max(0, job.Counts.Remaining - (pool.TasksAhead?.ElementAtOrDefault((int)job.Class) ?? 0));
            if (
                pool.Model == job.Model
                && Prediction.Of(forecast!.At, pool, job.Class, units, tasks)?.Completion is { } end
                && !(end >= earliest)
            )
            {
                earliest = end;
            }
        }

        return earliest;
    }
}
