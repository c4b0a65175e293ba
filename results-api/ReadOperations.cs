using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.ResultsApi.Calibration;
using Pipeline.ResultsApi.Fleet;
using Pipeline.ResultsApi.Outcomes;
using Pipeline.ResultsApi.Prices;
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
        Errors = [.. OfJob, FailureKind.DataRemoved],
    };

    public static readonly ApiOperation GetUsage = new(
        "getUsage",
        ApiTags.Prices,
        "What the caller's tasks came to.",
        "Tasks by their end, units, turns, device time and cost, what was reused and what that saved, summed by any of day, class and model; kept up to date as tasks end, some seconds behind. Page by page, as JSON or CSV."
    )
    {
        Parameters = Report("group_by", "one row"),
        Answers =
        [
            ApiAnswer.Json<ListView<UsageView>>("A page."),
            new(StatusCodes.Status200OK, "text/csv", null, "The same as CSV; `Pipeline-Last-Id` is there where more follows."),
        ],
        Errors = [FailureKind.InvalidRequest],
    };

    public static readonly ApiOperation GetCache = new(
        "getCache",
        ApiTags.Prices,
        "The caller's cache of results.",
        "Whether it is on, its bounds, how full it is, and how many tasks it answered. An operator turns it on."
    )
    {
        Answers = [ApiAnswer.Json<CacheView>("The cache.")],
        Errors = [FailureKind.InvalidRequest],
    };

    public static readonly ApiOperation ListPrices = new(
        "listPrices",
        ApiTags.Prices,
        "What work is charged.",
        "The price list, the same for every tenant, the last one set first, page by page. A price holds from `valid_from` until the next of the same class and model; one for a model goes before one without. Where there is none, a class is charged by its factor."
    )
    {
        Parameters =
        [
            ApiParameters.Limit(Defaults.ListLimitMax, Defaults.ListLimitDefault, "prices"),
            ApiParameters.After(ApiType.Text()),
            ApiParameter.Query("class", ApiType.List(ApiParameters.Classes), "Only prices of these classes."),
            ApiParameter.Query("model", ApiType.Text(), "Only prices of this model."),
        ],
        Answers = [ApiAnswer.Json<ListView<PriceView>>("A page.")],
        Errors = [FailureKind.InvalidRequest],
    };

    public static readonly ApiOperation GetBudget = new(
        "getTenantBudget",
        ApiTags.Prices,
        "What a tenant may be charged in this calendar month (UTC), and what of it is spent.",
        "Charged to it, or promised to jobs that have not ended. A tenant sees its own, operators everybody's."
    )
    {
        Parameters = [ApiParameter.Path("tenant", ApiType.Text(), "The tenant's name.")],
        Answers = [ApiAnswer.Json<TenantBudgetView>("The budget.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.UnknownRoute],
    };

    public static readonly ApiOperation GetGroup = new(
        "getGroup",
        ApiTags.Results,
        "What a group's tasks came to, and what became of it.",
        "From jobs and results as they are now: requests (tasks), turns, cost, price, and the time from the first acceptance to the last end. It looks at every task of the group, so it is not for polling large ones."
    )
    {
        Parameters = [ApiParameters.Group],
        Answers = [ApiAnswer.Json<GroupView>("The group.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.UnknownGroup],
    };

    public static readonly ApiOperation GetOutcomes = new(
        "getOutcomes",
        ApiTags.Results,
        "What an accepted outcome costs.",
        """
        The caller's groups whose first task was accepted in the range: how many had their outcome reported and accepted, requests, cost and price per
        group, and the cost of the reported groups, the ones not accepted too, for each accepted one. So a cheap model that needs three tries is seen
        to be dear. Kept up to date as tasks end, some seconds behind.
        """
    )
    {
        Parameters = Report("by", "one row", "route"),
        Answers =
        [
            ApiAnswer.Json<ListView<OutcomesView>>("A page."),
            new(StatusCodes.Status200OK, "text/csv", null, "The same as CSV; `Pipeline-Last-Id` is there where more follows."),
        ],
        Errors = [FailureKind.InvalidRequest],
    };

    public static readonly ApiOperation GetCalibration = new(
        "getCalibration",
        ApiTags.Fleet,
        "How far predictions were off (operators).",
        "What was predicted when jobs were accepted, held against what happened, over all tenants: coverage of the band, mean absolute percentage error (MAPE) and bias of completion and of cost, as parts of 1."
    )
    {
        Parameters = Report("by", "`class,model`"),
        Answers =
        [
            ApiAnswer.Json<ListView<CalibrationView>>("A page."),
            new(StatusCodes.Status200OK, "text/csv", null, "The same as CSV; `Pipeline-Last-Id` is there where more follows."),
        ],
        Errors = [FailureKind.InvalidRequest, FailureKind.OperatorOnly],
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
            ApiParameter.Query("state", ApiType.List(Jobs.JobFilter.States), "Only jobs in one of these states."),
            ApiParameter.Query("class", ApiType.List(ApiParameters.Classes), "Only jobs of one of these classes."),
            ApiParameter.Query("model", ApiType.Text(), "Only jobs for this `name` or `name@version`."),
            ApiParameter.Query("created_after", ApiType.Time, "Only younger jobs."),
            ApiParameter.Query("created_before", ApiType.Time, "Only older jobs."),
            ApiParameter.Query("group", ApiType.Text(GroupName.LengthMax, GroupName.Pattern), "Only jobs of this group."),
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
        Errors = [.. OfJob, FailureKind.DataRemoved, FailureKind.RateLimited],
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

    public static readonly ApiOperation ListHolds = new(
        "listHolds",
        ApiTags.Fleet,
        "What operators hold (operators).",
        "All of it, by kind and name: the scheduler sends nothing more of these models and tenants, nor to these pools and workers."
    )
    {
        Answers = [ApiAnswer.Json<ListView<HeldView>>("What is held.")],
        Errors = [FailureKind.OperatorOnly],
    };

    public static readonly ApiOperation ListKeys = new(
        "listKeys",
        ApiTags.Fleet,
        "A tenant's API keys, and what each may ask of the express path.",
        """
        As they are told apart: by their names and first characters; a key's text is shown once, when it is made. The valid ones come first, 200 at
        most. A limit that is null is as ingest's options say. Operators see everybody's keys, a tenant its own.
        """
    )
    {
        Parameters = [ApiParameter.Path("tenant", ApiType.Text(), "The tenant's name.")],
        Answers = [ApiAnswer.Json<ListView<KeyView>>("The keys.")],
        Errors = [FailureKind.UnknownRoute],
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

    private static IReadOnlyList<ApiParameter> Report(string by, string byDefault, params IReadOnlyList<string> more) =>
        [
            ApiParameter.Query("from", Day, "The first day (UTC). Default: 30 days with `to`."),
            ApiParameter.Query("to", Day, "The last day (UTC), at most 366 with `from`. Default: today."),
            ApiParameter.Query(by, ApiType.List(["day", "class", "model", .. more]), $"A row for each of these. Default: {byDefault}."),
            ApiParameter.Query("format", ApiType.Word(["json", "csv"], "json"), "As `Accept` says, too."),
            ApiParameters.Limit(Defaults.UsageRowsMax, Defaults.UsageRowsMax, "rows"),
            ApiParameter.Query("after", ApiType.Text(), "Only rows after the one with this id."),
        ];
}
