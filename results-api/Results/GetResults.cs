using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.ResultsApi.Events;
using Pipeline.ResultsApi.Jobs;

namespace Pipeline.ResultsApi.Results;

/// <summary>
/// <c>GET /v1/jobs/{id}/results</c>: the ended tasks as NDJSON, streamed. Whatever cut it short, the last whole line tells where to
/// go on: its <c>cursor</c> where it has one (<c>order=completed</c>), else its <c>seq</c>.
/// </summary>
internal static partial class GetResults
{
    /// <summary>The job's state when the reply began: of a job in an end state, a whole reply without <c>limit</c> has all there is.</summary>
    public const string StateHeader = "Pipeline-Job-State";

    public static readonly string[] Statuses = [.. Enum.GetValues<TaskOutcome>().Select(outcome => outcome.Name())];

    public static void MapResults(this IEndpointRouteBuilder v1) =>
        v1.MapGet("/jobs/{id}/results", Handle).Describe(ReadOperations.GetResults);

    private static async Task<IResult> Handle(
        string id,
        HttpContext http,
        NpgsqlDataSource database,
        ResultsApiOptions options,
        JobWatch watch,
        IHostApplicationLifetime lifetime,
        ILoggerFactory logs
    )
    {
        var query = new QueryParameters(http.Request.Query);
        var request = Request.Read(query);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        if (await GetJob.FindAsync(database, http, id) is not { } job)
        {
            return GetJob.Unknown(id);
        }

        if (JobViews.Removed(job.Id, "results", job.OutputsRemovedAt) is { } removed)
        {
            return removed;
        }

        using var following = request.Follow ? watch.TrySubscribe(job.Id) : null;
        if (request.Follow && following is null)
        {
            return JobWatch.Full();
        }

        IResultSource source = request.CompletedAfter is { } completed
            ? new CompletedOrder(database, job.Id, completed, request.Status, options.PageRowsMax)
            : new TaskOrder(database, job.Id, request.SeqAfter, request.Status, options.PageRowsMax);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, lifetime.ApplicationStopping);
        try
        {
            http.Response.Headers[StateHeader] = job.State.Name();
            await StreamAsync(http, source, request.Limit, following, options, () => IsKeptAsync(database, job.Id, stop.Token), stop.Token);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // The reader has left, or this process is stopping: the reply is cut short as by any lost connection.
        }
        catch (Exception e) when (http.Response.HasStarted && Problems.IsLostServer(e))
        {
            // Too late for a status: the aborted reply is what tells the client to go on from its cursor.
            LogCutShort(logs.CreateLogger("Pipeline.ResultsApi.Results"), job.Id, e.Message);
        }

        return TypedResults.Empty;
    }

    private static async Task StreamAsync(
        HttpContext http,
        IResultSource source,
        int limit,
        JobSubscription? following,
        ResultsApiOptions options,
        Func<Task<bool>> isKept,
        CancellationToken stop
    )
    {
        await using var body = new ResultBody(http);
        using var sink = new ResultSink(body, options.PageBytes);
        while (limit > 0)
        {
            var page = await source.ReadAsync(sink, limit, stop);
            await sink.SendAsync(stop);
            limit -= page.Lines;
            if (page.Then == Then.End || (page.Then == Then.Wait && following is null))
            {
                break;
            }

            if (page.Then == Then.Wait)
            {
                await body.FlushAsync(stop);
                await following!.NextAsync(options.WatchInterval * 4, stop);
            }
        }

        // What went away while it was read would look like an end.
        if (!await isKept())
        {
            http.Abort();
            return;
        }

        await body.FinishAsync(stop);
    }

    private static async Task<bool> IsKeptAsync(NpgsqlDataSource database, JobId job, CancellationToken stop)
    {
        await using var command = database.CreateCommand("SELECT outputs_removed_at IS NULL FROM jobs WHERE id = $1");
        command.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = job.Value });
        return await command.ExecuteScalarAsync(stop) is true;
    }

    [LoggerMessage(20, LogLevel.Warning, "The results of job {Job} were cut short: {Reason}")]
    private static partial void LogCutShort(ILogger log, JobId job, string reason);

    /// <param name="CompletedAfter">Set for <c>order=completed</c>.</param>
    private sealed record Request(CompletedCursor? CompletedAfter, int SeqAfter, int Limit, string[]? Status, bool Follow)
    {
        public static Request Read(QueryParameters query)
        {
            var completed = query.Value<bool>("order", "task or completed", Order) ?? false;
            return new Request(
                completed
                    ? query.Value<CompletedCursor>("cursor", "the \"cursor\" of a line", CompletedCursor.TryParse) ?? CompletedCursor.Start
                    : null,
                completed ? -1 : query.Whole("cursor", 0, int.MaxValue) ?? -1,
                query.Whole("limit", 1, int.MaxValue) ?? int.MaxValue,
                query.Words("status", Statuses),
                query.Flag("follow")
            );

            static bool? Order(string text) =>
                text switch
                {
                    "task" => false,
                    "completed" => true,
                    _ => null,
                };
        }
    }
}
