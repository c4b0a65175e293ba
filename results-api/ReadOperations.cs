using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.ResultsApi.Fleet;
using Pipeline.ResultsApi.Results;
using Pipeline.ResultsApi.Usage;

namespace Pipeline.ResultsApi;

/// <summary>What the reads promise, for the API's document.</summary>
internal static class ReadOperations
{
    private static readonly ResultsApiOptions Defaults = new();
    private static readonly ApiType Day = new("string") { Format = "date" };
    private static readonly IReadOnlyList<FailureKind> OfJob = [FailureKind.InvalidRequest, FailureKind.UnknownJob];

    public static readonly ApiOperation GetJob = new(
        "getJob",
        ApiTags.Jobs,
        "Where a job stands.",
        "State, counts, cost so far and when it should be done, all from one snapshot: the counts add up to the tasks."
    )
    {
        Parameters =
        [
            ApiParameters.Job,
            ApiParameter.Query("costs", ApiType.Flag, "Add `costs`: cost per task, by account, and actual against estimate."),
        ],
        Answers = [ApiAnswer.Json<JobView>("The job.")],
        Errors = OfJob,
    };

    public static readonly ApiOperation GetUsage = new(
        "getUsage",
        ApiTags.Prices,
        "What the caller's tasks came to.",
        "Tasks by their end, units, turns, device time and cost, summed by any of day, class and model; kept up to date as tasks end, some seconds behind. Page by page, as JSON or CSV."
    )
    {
        Parameters =
        [
            ApiParameter.Query("from", Day, "The first day (UTC). Default: 30 days with `to`."),
            ApiParameter.Query("to", Day, "The last day (UTC), at most 366 with `from`. Default: today."),
            ApiParameter.Query("group_by", ApiType.List(["day", "class", "model"]), "A row for each of these. Default: one row."),
            ApiParameter.Query("format", ApiType.Word(["json", "csv"], "json"), "As `Accept` says, too."),
            ApiParameters.Limit(Defaults.UsageRowsMax, Defaults.UsageRowsMax, "rows"),
            ApiParameter.Query("after", ApiType.Text(), "Only rows after the one with this id."),
        ],
        Answers =
        [
            ApiAnswer.Json<ListView<UsageView>>("A page."),
            new(StatusCodes.Status200OK, "text/csv", null, "The same as CSV; `Pipeline-Last-Id` is there where more follows."),
        ],
        Errors = [FailureKind.InvalidRequest],
    };

    public static readonly ApiOperation ListRoutes = new(
        "listRoutes",
        ApiTags.Routes,
        "The routes, by name.",
        "The newest version of each, with what was last measured of it."
    )
    {
        Parameters =
        [
            ApiParameters.Limit(Defaults.ListLimitMax, Defaults.ListLimitDefault, "routes"),
            ApiParameter.Query("after", ApiType.Text(), "Only routes after the one of this name."),
        ],
        Answers = [ApiAnswer.Json<ListView<RouteView>>("A page.")],
        Errors = [FailureKind.InvalidRequest],
    };

    public static readonly ApiOperation GetRoute = new("getRoute", ApiTags.Routes, "A route.", "Its newest version.")
    {
        Parameters = [ApiParameter.Path("name", ApiType.Text(100), "The route's name.")],
        Answers = [ApiAnswer.Json<RouteView>("The route.")],
        Errors = [FailureKind.UnknownModelRoute],
    };

    public static readonly ApiOperation ListJobs = new(
        "listJobs",
        ApiTags.Jobs,
        "The caller's jobs.",
        "Newest first, page by page; all filters must hold."
    )
    {
        Parameters =
        [
            ApiParameters.Limit(Defaults.ListLimitMax, Defaults.ListLimitDefault, "jobs"),
            ApiParameters.After(ApiType.Id),
            ApiParameter.Query("state", ApiType.List(Jobs.ListJobs.States), "Only jobs in one of these states."),
            ApiParameter.Query("class", ApiType.List(ApiParameters.Classes), "Only jobs of one of these classes."),
            ApiParameter.Query("model", ApiType.Text(), "Only jobs for this `name` or `name@version`."),
            ApiParameter.Query("created_after", ApiType.Time, "Only younger jobs."),
            ApiParameter.Query("created_before", ApiType.Time, "Only older jobs."),
            ApiParameter.Query("metadata", ApiType.Pairs, "`metadata[key]=value`: only jobs with this pair; several: with all."),
        ],
        Answers = [ApiAnswer.Json<ListView<JobView>>("A page.")],
        Errors = [FailureKind.InvalidRequest],
    };

    public static readonly ApiOperation GetResults = new(
        "getResults",
        ApiTags.Results,
        "The ended tasks as NDJSON.",
        """
        A line a task, streamed, packed by gzip where `Accept-Encoding` has it. Wherever a download broke off, drop what follows the last line break
        and ask again with the `cursor` (or `seq`) of the last whole line: the parts join to the whole, byte for byte. A cursor never skips a task. A reply that
        fails on its way is aborted, never ended in an orderly way.
        """
    )
    {
        Parameters =
        [
            ApiParameters.Job,
            ApiParameter.Query(
                "order",
                ApiType.Word(["task", "completed"], "task"),
                "By `seq`, or as they were committed; each line then ends with a `cursor`."
            ),
            ApiParameter.Query("cursor", ApiType.Text(), "Reads on after this line: its `seq` in task order, else its `cursor`."),
            ApiParameter.Query("limit", ApiType.Whole(1, int.MaxValue), "At most so many lines. Default: all."),
            ApiParameter.Query("status", ApiType.List(Results.GetResults.Statuses), "Only tasks that ended so."),
            ApiParameter.Query("follow", ApiType.Flag, "Do not end before the job does."),
        ],
        Answers =
        [
            new(StatusCodes.Status200OK, "application/x-ndjson", typeof(TaskResult), "The lines; each is an object of this schema.")
            {
                Headers = new Dictionary<string, string>
                {
                    [Results.GetResults.StateHeader] =
                        "The job's state when the reply began: in an end state, a whole reply without `limit` is all there is.",
                },
            },
        ],
        Errors = [.. OfJob, FailureKind.RateLimited],
    };

    public static readonly ApiOperation GetEvents = new(
        "getEvents",
        ApiTags.Results,
        "What happens to a job, as server-sent events.",
        $"""
        `progress` whenever something has changed, at most every {Defaults.WatchInterval.TotalMilliseconds:0} ms, without an id. The others (`job.queued`, …, last `job.completed`, `job.failed`,
        `job.expired` or `job.cancelled`) come all and in order; `Last-Event-ID` goes on after one. The stream ends with the job.
        """
    )
    {
        Parameters = [ApiParameters.Job, ApiParameters.LastEventId],
        Answers =
        [
            new(StatusCodes.Status200OK, "text/event-stream", null, "The events."),
            new(StatusCodes.Status204NoContent, null, null, "The job has ended, and its end was seen: stay away."),
        ],
        Errors = [.. OfJob, FailureKind.RateLimited],
    };

    public static readonly ApiOperation GetDecisions = new(
        "getDecisions",
        ApiTags.Results,
        "What the scheduler decided about a job lately, and why.",
        "Newest first, with the numbers behind each; the scheduler's README explains the reasons. The active scheduler keeps them in memory: `remembered_since` says since when."
    )
    {
        Parameters = [ApiParameters.Job, ApiParameters.Limit(Decisions.LimitMax, Decisions.LimitMax, "decisions")],
        Answers = [ApiAnswer.Json<DecisionsView>("The decisions.")],
        Errors = OfJob,
    };

    public static readonly ApiOperation ListWorkers = new(
        "listWorkers",
        ApiTags.Fleet,
        "Lives of worker processes.",
        "Newest first: device, price, state, and how much of its time is accounted for."
    )
    {
        Parameters =
        [
            ApiParameters.Limit(Defaults.ListLimitMax, Defaults.ListLimitDefault, "workers"),
            ApiParameters.After(ApiType.Id),
            ApiParameter.Query("state", ApiType.List(Workers.States), "Only workers in one of these states."),
            ApiParameter.Query("pool", ApiType.Text(), "Only workers of this pool."),
        ],
        Answers = [ApiAnswer.Json<ListView<WorkerView>>("A page.")],
        Errors = [FailureKind.InvalidRequest],
    };
}
