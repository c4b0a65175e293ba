using System.Text.Json;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.ResultsApi.Jobs;

namespace Pipeline.ResultsApi.Events;

/// <summary>
/// <c>GET /v1/jobs/{id}/events</c>: server-sent events. <c>progress</c> shows the job whenever it has changed; what the outbox has of
/// the job (<c>job.queued</c>, …, last <c>job.completed</c> or another end) carries an id, from which <c>Last-Event-ID</c> goes on.
/// The stream ends with the job; a client that comes back after that gets 204, which tells a browser to stay away.
/// </summary>
internal static class GetEvents
{
    public static void MapEvents(this IEndpointRouteBuilder v1) =>
        v1.MapGet("/jobs/{id}/events", Handle).Describe(ReadOperations.GetEvents);

    private static async Task<IResult> Handle(
        string id,
        HttpContext http,
        NpgsqlDataSource database,
        ResultsApiOptions options,
        JobWatch watch,
        Forecasts forecasts,
        TimeProvider time,
        IHostApplicationLifetime lifetime
    )
    {
        if (new QueryParameters(http.Request.Query).Refusal() is { } refusal)
        {
            return refusal;
        }

        if (await GetJob.FindAsync(database, http, id) is not { } job)
        {
            return GetJob.Unknown(id);
        }

        var header = http.Request.Headers["Last-Event-ID"].ToString();
        if ((header.Length == 0 ? default(EventCursor) : EventCursor.TryParse(header)) is not { } cursor)
        {
            return Problems.Result(
                FailureKind.InvalidRequest,
                $"Last-Event-ID: expected the id of an event, given \"{header}\".",
                "Last-Event-ID"
            );
        }

        if (
            job.State.IsEnd()
            && cursor != default
            && (await JobEvents.ReadAfterAsync(database, job.Id, cursor, http.RequestAborted)).Count == 0
        )
        {
            return TypedResults.NoContent();
        }

        using var subscription = watch.TrySubscribe(job.Id);
        if (subscription is null)
        {
            return JobWatch.Full();
        }

        using var stop = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, lifetime.ApplicationStopping);
        var stream = new EventStream(http.Response);
        var following = new Following(database, job.Id, cursor, stream, look => Progress.Of(look, forecasts.Fresh, time.GetUtcNow()));
        try
        {
            await stream.BeginAsync(stop.Token);
            while (!await following.ShowAsync(await subscription.NextAsync(options.EventsHeartbeat, stop.Token), stop.Token)) { }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // The reader has left, or this process is stopping; either comes back with the last id it saw.
        }
        catch (Exception e) when (Problems.IsLostServer(e))
        {
            http.Abort();
        }

        return TypedResults.Empty;
    }

    /// <summary>One reader's place in a job's story.</summary>
    private sealed class Following(
        NpgsqlDataSource database,
        JobId job,
        EventCursor cursor,
        EventStream stream,
        Func<JobLook, Progress> show
    )
    {
        private EventCursor _cursor = cursor;

        /// <summary>Sends what a look shows: what happened, then how things stand, then the end if it has come.</summary>
        /// <param name="look">Null when nothing was new for a heartbeat.</param>
        /// <returns>True when the end was sent.</returns>
        public async Task<bool> ShowAsync(JobLook? look, CancellationToken stop)
        {
            if (look is null)
            {
                await stream.HeartbeatAsync(stop);
                return false;
            }

            JobEvent? end = null;
            while (look.LatestEvent > _cursor && await JobEvents.ReadAfterAsync(database, job, _cursor, stop) is { Count: > 0 } events)
            {
                foreach (var happened in events)
                {
                    _cursor = happened.Cursor;
                    if (IsEnd(happened.Type))
                    {
                        end = happened;
                    }
                    else
                    {
                        await stream.SendAsync(happened.Type, happened.Cursor.ToString(), happened.Data, stop);
                    }
                }
            }

            await stream.SendAsync("progress", null, JsonSerializer.Serialize(show(look), ApiJson.Options), stop);
            if (look.Job.State.IsEnd())
            {
                // The outbox may have been cleared of it; the end is told all the same.
                var data = end?.Data ?? JsonSerializer.Serialize(show(look), ApiJson.Options);
                await stream.SendAsync(end?.Type ?? $"job.{look.Job.State.Name()}", end?.Cursor.ToString(), data, stop);
            }

            return look.Job.State.IsEnd();
        }

        private static bool IsEnd(string type) => type is "job.completed" or "job.failed" or "job.expired" or "job.cancelled";
    }
}

/// <summary>The data of a <c>progress</c> event.</summary>
internal sealed record Progress
{
    public required JobId Job { get; init; }
    public required JobState State { get; init; }
    public required bool Paused { get; init; }
    public required int Tasks { get; init; }
    public required JobCounts Counts { get; init; }

    [System.Text.Json.Serialization.JsonPropertyName("progress")]
    public required double Part { get; init; }
    public required double? TasksPerSecond { get; init; }
    public required DateTimeOffset? PredictedAt { get; init; }
    public required decimal CostPicoUsd { get; init; }

    public static Progress Of(JobLook look, Forecast? forecast, DateTimeOffset now) =>
        new()
        {
            Job = look.Job.Id,
            State = look.Job.State,
            Paused = look.Job.Paused,
            Tasks = look.Job.Tasks,
            Counts = look.Job.Counts,
            Part = look.Job.Progress,
            TasksPerSecond = look.TasksPerSecond is { } pace ? Math.Round(pace, 1) : null,
            PredictedAt = PredictedEnd.Of(look.Job, forecast, now, look.TasksPerSecond),
            CostPicoUsd = look.Job.CostPicoUsd,
        };
}
