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
    public const int ReasonLengthMax = 500;

    public static void MapJobs(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/jobs", ListAsync);
        pages.MapGet("/jobs/export", ExportAsync);
        pages.MapGet("/jobs/{id:guid}", ShowAsync);
        pages.MapPost("/jobs/{id:guid}/{action}", ActAsync);
    }

    private static async Task<IResult> ListAsync(HttpContext http, NpgsqlDataSource database, DashboardOptions options)
    {
        var search = await JobSearch.ReadAsync(http.Request.Query, database, http.RequestAborted);
        if (search.Id is { } id)
        {
            return TypedResults.LocalRedirect(Links.Job(id));
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
        if (search.Mistake is { } mistake)
        {
            return http.Error(StatusCodes.Status400BadRequest, "Those filters were not understood", mistake);
        }

        var found = await search.FindAsync(database, options, options.ExportRowsMax, http.RequestAborted);
        return Export.Answer(
            http,
            "jobs",
            [
                "id",
                "tenant",
                "model",
                "class",
                "state",
                "paused",
                "tasks",
                "succeeded",
                "failed",
                "expired",
                "cancelled",
                "created_at",
                "started_at",
                "finished_at",
                "deadline",
                "cost_pico_usd",
                "price_pico_usd",
                "group",
            ],
            found.Select(f =>
                (string?[])
                    [
                        f.Job.Id.ToString(),
                        f.Tenant,
                        f.Job.Model.ToString(),
                        f.Job.Class.Name(),
                        f.Job.State.Name(),
                        f.Job.Paused ? "true" : "false",
                        $"{f.Job.Tasks}",
                        $"{f.Job.Counts.Succeeded}",
                        $"{f.Job.Counts.Failed}",
                        $"{f.Job.Counts.Expired}",
                        $"{f.Job.Counts.Cancelled}",
                        Show.Iso(f.Job.CreatedAt),
                        f.Job.StartedAt is { } started ? Show.Iso(started) : null,
                        f.Job.FinishedAt is { } finished ? Show.Iso(finished) : null,
                        Show.Iso(f.Job.Deadline),
                        $"{f.Job.CostPicoUsd}",
                        f.Job.PricePicoUsd is { } price ? $"{price}" : null,
                        f.Job.Group,
                    ]
            )
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

        var query = http.Request.Query;
        var status = query["status"].ToString() is { Length: > 0 } word ? word : null;
        var customId = query["custom_id"].ToString() is { Length: > 0 } text ? text : null;
        int? after = int.TryParse(query["after"], out var seq) ? seq : null;
        var tasks = await details.TasksAsync(id, status, customId, after, TaskRows + 1, stop);
        var (latency, batches) = await details.SampleAsync(id, stop);
        return http.Page<JobPage>(
            new
            {
                Job = job with
                {
                    PredictedAt = PredictedEnd.Of(job, forecasts.Fresh, time.GetUtcNow()),
                },
                Position = job.State == JobState.Queued ? await QueuePositions.FindAsync(database, job.Id, job.Class, stop) : null,
                Tenant = tenant.Name,
                Events = await details.EventsAsync(id, stop),
                Status = status,
                CustomId = customId,
                Tasks = tasks.Take(TaskRows).ToList(),
                Next = tasks.Count > TaskRows ? $"{tasks[TaskRows - 1].Seq}" : null,
                Latency = latency,
                Batches = batches,
                Deliveries = await details.DeliveriesAsync(id, stop),
                Deeds = await audit.ListAsync(id.ToString(), null, null, null, AuditRows, stop),
                // One key for the form, so that a double click makes one job of a retry.
                Once = Guid.CreateVersion7(time.GetUtcNow()).ToString(),
            }
        );
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
        var form = await http.Request.ReadFormAsync(http.RequestAborted);
        var (reason, once) = (form["reason"].ToString().Trim(), form["once"].ToString());
        var here = Links.Job(id);
        if (!JobActions.All.TryGetValue(action, out var name) || await details.FindTenantAsync(id, http.RequestAborted) is not { } tenant)
        {
            return http.Error(StatusCodes.Status404NotFound, "There is nothing to do that to", "No such job, or no such action.");
        }

        if (options.Ingest is null)
        {
            return http.Back(here, good: false, "Dashboard:Ingest is not set, so nothing can be asked of jobs.");
        }

        if (reason.Length is 0 or > ReasonLengthMax)
        {
            return http.Back(here, good: false, $"Say why, in at most {ReasonLengthMax} characters.");
        }

        var who = Guard.OperatorOf(http)!;
        var actor = new Actor(who.Id, who.Name, http.Connection.RemoteIpAddress?.ToString(), reason);
        var outcome = await actions.PerformAsync(actor, tenant.Id, new JobId(id), action, $"dashboard {id} {once}", http.RequestAborted);
        return outcome switch
        {
            { Done: false } => http.Back(here, good: false, $"{name}: {outcome.Detail}"),
            { Detail: { } retried } => http.Back(Links.Job(Guid.Parse(retried)), good: true, "This job runs the failed tasks again."),
            _ => http.Back(here, good: true, $"{name}: done."),
        };
    }
}
