using Npgsql;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard.Jobs;

/// <summary>Tasks of all jobs, found by their <c>custom_id</c>.</summary>
internal static class TaskPages
{
    public const string Path = $"{DashboardServices.Root}/tasks";

    /// <summary>How far back is looked where nobody says.</summary>
    public static readonly TimeSpan DefaultRange = TimeSpan.FromDays(7);

    public static void MapTasks(this IEndpointRouteBuilder pages) => pages.MapGet("/tasks", ShowAsync);

    private static async Task<IResult> ShowAsync(HttpContext http, NpgsqlDataSource database, TaskSearch tasks, TimeProvider time)
    {
        var query = http.Request.Query;
        var (customId, after) = (query["custom_id"].ToString(), query["after"].ToString());
        var filters = query.Where(p => p.Key is not ("custom_id" or "after")).ToDictionary(p => p.Key, p => p.Value);
        var search = await JobSearch.ReadAsync(new QueryCollection(filters), database, http.RequestAborted);
        var from = after.Length > 0 ? TaskPlace.Parse(after) : null;
        var mistake = search.Mistake ?? (after.Length > 0 && from is null ? "Parameter \"after\" is not where a search goes on." : null);
        var jobs = search.Filter with { CreatedAfter = search.Filter.CreatedAfter ?? time.GetUtcNow() - DefaultRange };
        return http.Page<TasksPage>(
            new
            {
                CustomId = customId,
                Jobs = jobs,
                From = from,
                Mistake = mistake,
                Found = customId.Length > 0 && mistake is null ? await tasks.FindAsync(jobs, customId, from, http.RequestAborted) : null,
            },
            mistake is null ? StatusCodes.Status200OK : StatusCodes.Status400BadRequest
        );
    }
}
