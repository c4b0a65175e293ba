using MassTransit;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.ResultsApi.Dashboard.Layout;
using Pipeline.ResultsApi.Jobs;

namespace Pipeline.ResultsApi.Dashboard.Jobs;

/// <summary>The list of jobs with its filters and exports, a job's page, and the actions on it.</summary>
internal static class JobPages
{
    private const int TaskRows = 20;
    private const int AuditRows = 10;
    public const int ReasonLengthMax = Actors.ReasonLengthMax;

    public static void MapJobs(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/jobs", ListAsync);
        pages.MapGet("/jobs/export", ExportAsync);
        pages.MapGet("/jobs/{id:guid}", ShowAsync);
        pages.MapGet("/jobs/{id:guid}/export", ExportTasksAsync);
        pages.MapPost("/jobs/{id:guid}/{action}", ActAsync);
        pages.MapGet("/jobs/{id:guid}/change", PreviewChangeAsync);
        pages.MapPost("/jobs/{id:guid}/change", ChangeAsync);
        pages.MapGet("/jobs/{id:guid}/decisions", DecisionsAsync);
    }

    private static async Task<IResult> ListAsync(HttpContext http, NpgsqlDataSource database, DashboardOptions options)
    {
        var search = await JobSearch.ReadAsync(http.Request.Query, database, http.RequestAborted);
        if (search.Id is { } id)
        {
            return TypedResults.LocalRedirect(Links.Job(id));
        }

        if (search.CustomId is not null)
        {
            return TypedResults.LocalRedirect(Links.With(TaskPages.Path, http.Request.QueryString.ToString(), ("after", null)));
        }

        var found = search.Mistake is null ? await search.FindAsync(database, options, options.PageItems + 1, http.RequestAborted) : [];
        return http.Page<JobsPage>(
            new
            {
                Search = search,
                Jobs = found.Take(options.PageItems).ToList(),
                Next = found.Count > options.PageItems ? found[options.PageItems - 1].Job.Id.ToString() : null,
            },
            search.Mistake is null ? StatusCodes.Status200OK : StatusCodes.Status400BadRequest
        );
    }

    private static async Task<IResult> ExportAsync(HttpContext http, NpgsqlDataSource database, DashboardOptions options)
    {
        var search = await JobSearch.ReadAsync(http.Request.Query, database, http.RequestAborted);
        if (search.NotForMany is { } mistake)
        {
            return http.Error(StatusCodes.Status400BadRequest, "Those filters were not understood", mistake);
        }

        var found = await search.FindAsync(database, options, options.ExportRowsMax, http.RequestAborted);
        return Export.Answer(
            http,
            "jobs",
            found,
            ("id", f => f.Job.Id),
            ("tenant", f => f.Tenant),
            ("model", f => f.Job.Model),
            ("class", f => f.Job.Class.Name()),
            ("state", f => f.Job.State.Name()),
            ("paused", f => f.Job.Paused),
            ("tasks", f => f.Job.Tasks),
            ("succeeded", f => f.Job.Counts.Succeeded),
            ("failed", f => f.Job.Counts.Failed),
            ("expired", f => f.Job.Counts.Expired),
            ("cancelled", f => f.Job.Counts.Cancelled),
            ("created_at", f => f.Job.CreatedAt),
            ("started_at", f => f.Job.StartedAt),
            ("finished_at", f => f.Job.FinishedAt),
            ("deadline", f => f.Job.Deadline),
            ("cost_pico_usd", f => f.Job.CostPicoUsd),
            ("price_pico_usd", f => f.Job.PricePicoUsd),
            ("group", f => f.Job.Group)
        );
    }

    private static async Task<IResult> ShowAsync(
        Guid id,
        HttpContext http,
        NpgsqlDataSource database,
        JobDetails details,
        AuditLog audit,
        Forecasts forecasts,
        TimeProvider time
    )
    {
        var stop = http.RequestAborted;
        if (
            await details.FindTenantAsync(id, stop) is not { } tenant
            || await JobViews.FindAsync(database, tenant.Id, new JobId(id), stop) is not { } job
        )
        {
            return http.Error(StatusCodes.Status404NotFound, "There is no such job", $"No job has the id {id}.");
        }

        var (status, customId, after) = TasksAsked(http.Request.Query);
        var tasks = await details.TasksAsync(id, status, customId, after, TaskRows + 1, stop);
        var (latency, batches) = await details.SampleAsync(id, stop);
        var costs = latency is null
            ? null
            : await JobCosts.ReadAsync(database, job, isOperator: true, stop, tasksMax: JobDetails.SampleMax);
        return http.Page<JobPage>(
            new
            {
                Job = job,
                Predicted = PredictedEnd.BandOf(job, forecasts.Fresh, time.GetUtcNow()),
                Position = job.State == JobState.Queued ? await QueuePositions.FindAsync(database, job.Id, job.Class, stop) : null,
                Tenant = tenant.Name,
                Events = await details.EventsAsync(id, stop),
                Status = status,
                CustomId = customId,
                Tasks = tasks.Take(TaskRows).ToList(),
                Next = tasks.Count > TaskRows ? $"{tasks[TaskRows - 1].Seq}" : null,
                Latency = latency,
                Costs = costs,
                Costed = latency?.Tasks ?? 0,
                Batches = batches,
                Deliveries = await details.DeliveriesAsync(id, stop),
                Deeds = await audit.ListAsync(id.ToString(), null, null, null, AuditRows, stop),
                // One key for the form, so that a double click makes one job of a retry.
                Once = Guid.CreateVersion7(time.GetUtcNow()).ToString(),
            }
        );
    }

    /// <summary>Its ended tasks without inputs and outputs: those the API has, whole.</summary>
    private static async Task<IResult> ExportTasksAsync(Guid id, HttpContext http, JobDetails details, DashboardOptions options)
    {
        var (status, customId, after) = TasksAsked(http.Request.Query);
        var tasks = await details.TasksAsync(id, status, customId, after, options.ExportRowsMax, http.RequestAborted, withInputs: false);
        return Export.Answer(
            http,
            $"tasks-{id}",
            tasks,
            ("seq", t => t.Seq),
            ("custom_id", t => t.CustomId),
            ("status", t => t.Status),
            ("model", t => t.Model),
            ("models_before", t => string.Join(' ', t.Before)),
            ("error", t => t.ErrorCode),
            ("error_message", t => t.ErrorMessage),
            ("cost_pico_usd", t => t.CostPico),
            ("queued_ms", t => t.Queued.TotalMilliseconds),
            ("device_ms", t => t.Device.TotalMilliseconds),
            ("total_ms", t => t.Total.TotalMilliseconds)
        );
    }

    private static (string? Status, string? CustomId, int? After) TasksAsked(IQueryCollection query)
    {
        return (Text("status"), Text("custom_id"), int.TryParse(query["after"], out var seq) ? seq : null);

        string? Text(string name) => query[name].ToString() is { Length: > 0 } text ? text : null;
    }

    private static async Task<IResult> ActAsync(
        Guid id,
        string action,
        HttpContext http,
        JobDetails details,
        JobActions actions,
        DashboardOptions options
    )
    {
        var here = Links.Job(id);
        if (!JobActions.All.TryGetValue(action, out var name) || await details.FindTenantAsync(id, http.RequestAborted) is not { } tenant)
        {
            return http.Error(StatusCodes.Status404NotFound, "There is nothing to do that to", "No such job, or no such action.");
        }

        var (actor, form, refused) = await Actors.ReadAsync(http, options, here);
        if (actor is null)
        {
            return refused!;
        }

        var outcome = await actions.PerformAsync(
            actor,
            tenant.Id,
            new JobId(id),
            new JobAsk(action, $"dashboard {id} {form["once"]}"),
            http.RequestAborted
        );
        return outcome switch
        {
            { Done: false } => http.Back(here, good: false, $"{name}: {outcome.Detail}"),
            { Detail: { } retried } when action == JobActions.Retry => http.Back(
                Links.Job(Guid.Parse(retried)),
                good: true,
                "This job runs the failed tasks again."
            ),
            _ => http.Back(here, good: true, $"{name}: done."),
        };
    }

    /// <summary>What the rest of the job would take in every class, by its deadline or another, before anything is changed.</summary>
    private static async Task<IResult> PreviewChangeAsync(
        Guid id,
        HttpContext http,
        NpgsqlDataSource database,
        JobDetails details,
        IngestClient ingest,
        DashboardOptions options
    )
    {
        var stop = http.RequestAborted;
        if (
            await details.FindTenantAsync(id, stop) is not { } tenant
            || await JobViews.FindAsync(database, tenant.Id, new JobId(id), stop) is not { } job
        )
        {
            return http.Error(StatusCodes.Status404NotFound, "There is no such job", $"No job has the id {id}.");
        }

        if (options.Ingest is null)
        {
            return http.Error(StatusCodes.Status409Conflict, "Nothing can be asked of jobs", Actors.NoIngest);
        }

        var deadline = http.Request.Query["deadline"].ToString().Trim();
        var answer = await RestEstimate.AskAsync(ingest, tenant.Id, id, deadline, stop);
        return http.Page<ChangePage>(
            new
            {
                Job = job,
                Deadline = deadline,
                answer.Rest,
                answer.Unknown,
            }
        );
    }

    /// <summary>What the scheduler decided about the job lately, and why; asked of it, so it is a page of its own.</summary>
    private static async Task<IResult> DecisionsAsync(Guid id, HttpContext http, IBus bus, ResultsApiOptions options)
    {
        var told = await Decisions.AskAsync(bus, options, new JobId(id), Decisions.LimitMax, http.RequestAborted);
        return http.Page<ListPage>(
            new
            {
                Title = $"Decisions on job {Show.Short(id)}",
                Columns = (Column[])
                    [
                        new("When"),
                        new("Decision"),
                        new("Reason"),
                        new("Tasks of it", true),
                        new("Of all", true),
                        new("Estimated", true),
                        new("Slack", true),
                        new("Waiting chunks", true),
                        new("Lane"),
                        new("Worker"),
                    ],
                Rows = (told?.Decisions ?? []).Select(Row).ToList(),
                EmptyTitle = told is null ? "No scheduler answers" : "No decision is remembered",
                EmptyText = told is null
                    ? Decisions.NoAnswer(options)
                    : $"The scheduler remembers what was decided after {Show.Moment(told.Since)} UTC; nothing of this job.",
            }
        );

        static Cell[] Row(DecisionTold decision) =>
            [
                Cell.Moment(decision.At),
                new(decision.Kind),
                new(decision.Reason),
                Cell.Count(decision.TasksOfJob),
                Cell.Count(decision.Tasks),
                new(Show.Time(decision.Estimated)),
                new($"{(decision.Slack < TimeSpan.Zero ? "−" : "")}{Show.Time(decision.Slack.Duration())}"),
                Cell.Count(decision.ChunksWaiting),
                new(decision.Lane?.Name()),
                new(decision.Worker?.ToString()),
            ];
    }

    private static async Task<IResult> ChangeAsync(
        Guid id,
        HttpContext http,
        JobDetails details,
        JobActions actions,
        DashboardOptions options
    )
    {
        var here = Links.Job(id);
        if (await details.FindTenantAsync(id, http.RequestAborted) is not { } tenant)
        {
            return http.Error(StatusCodes.Status404NotFound, "There is no such job", $"No job has the id {id}.");
        }

        var (actor, form, refused) = await Actors.ReadAsync(http, options, here);
        if (actor is null)
        {
            return refused!;
        }

        var ask = new JobAsk(JobActions.Change, "") { Change = JobChangeAsk.Read(form) ?? new(null, null) };
        var outcome = await actions.PerformAsync(actor, tenant.Id, new JobId(id), ask, http.RequestAborted);
        return http.Back(here, outcome.Done, outcome.Done ? "What waits goes on so from now." : $"Not changed: {outcome.Detail}");
    }
}
