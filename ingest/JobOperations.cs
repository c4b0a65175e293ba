using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Ingest.Body;

namespace Pipeline.Ingest;

/// <summary>What the writes on jobs promise, for the API's document.</summary>
internal static class JobOperations
{
    private static readonly IngestOptions Defaults = new();

    private static readonly ApiType Deadline = ApiType.Text();

    /// <summary>What may stand in a model's place.</summary>
    public static readonly IReadOnlyList<ApiParameter> RouteParts =
    [
        ApiParameter.Query(
            JobParameters.Route,
            ApiType.Text(100),
            "A route, in place of `model`: its variants take turns, the cheapest first."
        ),
        ApiParameter.Query(
            JobParameters.MinQuality,
            new("number") { Min = 0, Max = 1 },
            "Beside `route`: the cheapest of its variants and itself whose measured accuracy is at least this."
        ),
    ];

    private static readonly IReadOnlyList<ApiParameter> JobParts =
    [
        .. RouteParts,
        ApiParameter.Query(JobParameters.Class, ApiType.Word(ApiParameters.Classes, LatencyClass.Bulk.Name()), "The latency class."),
        ApiParameter.Query(
            JobParameters.Fallback,
            ApiType.Word([LatencyClass.Standard.Name(), LatencyClass.Bulk.Name()]),
            "The slower class to take where `express` would be refused. The answer then has `requested_class` beside `class`."
        ),
        ApiParameter.Query(
            JobParameters.Deadline,
            Deadline,
            $"{Capital(Deadlines.Form)}, at most {Defaults.DeadlineMax.TotalDays:0} days ahead. What has not ended by then ends `expired`. "
                + "Default: the completion window of the class, 1 minute, 1 hour or 24 hours."
        ),
        ApiParameter.Query(
            JobParameters.Webhook,
            ApiType.Text(2048) with
            {
                Format = "uri",
            },
            "An https address that is called when the job has ended, as `POST /v1/webhook_callback_secret` says."
        ),
        ApiParameter.Query(JobParameters.MaxCost, ApiType.Text(), "Budget in dollars, more than 0."),
        ApiParameter.Query(
            JobParameters.Reuse,
            ApiType.Word(["true", "false"], "true"),
            "`false`: every task runs, also one whose input came before in the job or is in the tenant's cache."
        ),
        ApiParameter.Query(
            JobParameters.Group,
            ApiType.Text(GroupName.LengthMax, GroupName.Pattern),
            "The group of its tasks that name none of their own: one user query, one agent run, over any number of jobs."
        ),
        ApiParameter.Query(
            JobParameters.Metadata,
            ApiType.Pairs,
            "`metadata[key]=value`: up to 16 pairs, keys of 1 to 64 and values of up to 512 characters."
        ),
    ];

    private static readonly ApiParameter ContentEncoding = ApiParameter.Header(
        "Content-Encoding",
        ApiType.Word(["gzip", "deflate", "br"]),
        "How the body is packed, where it is."
    );

    private static readonly ApiAnswer Accepted = ApiAnswer.Json<JobView>(
        "The job: it is stored and queued, and will end whatever happens to this service."
    ) with
    {
        Headers = ApiParameters.Replayed,
    };

    public static readonly ApiOperation Submit = new(
        "submitJob",
        ApiTags.Jobs,
        "Submits a job.",
        $$$"""
        Reads a task a line as the body comes, stores all of them or none, and answers when the job is queued. A bad line refuses the whole job:
        `errors` has the first {{{Defaults.MistakesMax}}} mistakes with their lines, `errors_total` counts all. Before it is queued the door decides from the
        scheduler's forecast whether the class and the deadline can be kept.

        Parameters come from the query, or as headers (`Pipeline-Class: bulk`, `Pipeline-Metadata: {"team": "a"}`), or in a first line
        `{"job": {"model": "…", "class": "…"}}`; each once.
        """
    )
    {
        Parameters =
        [
            ApiParameter.Query(
                JobParameters.Model,
                ApiType.Text(),
                "`name`, for its current version, or `name@version`. Needed, here or in the body, unless there is a `route`."
            ),
            .. JobParts,
            ApiParameters.IdempotencyKey,
            ContentEncoding,
        ],
        Bodies =
        [
            new(
                "application/x-ndjson",
                null,
                $"One task a line, at most {Defaults.TasksMax:N0} of at most {Defaults.LineBytesMax:N0} bytes. Any media type but `application/json` and `multipart/…` is read so.",
                """
                {"custom_id": "a-1", "input": "Where does this sentence come from?"}
                {"custom_id": "a-2", "input": "Der Mond entfernt sich jährlich um knapp vier Zentimeter von der Erde."}

                """
            ),
            new(
                "application/json",
                typeof(InlineJob),
                $"A small job as one object of at most {Defaults.InlineBodyBytesMax:N0} bytes.",
                """{"model": "language-id-small", "class": "bulk", "tasks": [{"custom_id": "a-1", "input": "Guten Morgen"}]}"""
            ),
        ],
        Answers = [Accepted],
        Errors =
        [
            FailureKind.InvalidRequest,
            FailureKind.InvalidInput,
            FailureKind.UnknownModel,
            FailureKind.UnknownModelRoute,
            FailureKind.QualityUnmet,
            FailureKind.InvalidState,
            FailureKind.IdempotencyInProgress,
            FailureKind.IdempotencyConflict,
            FailureKind.DeadlineInfeasible,
            FailureKind.ExpressUnavailable,
            FailureKind.Held,
            FailureKind.BudgetExceeded,
            FailureKind.TenantBudgetExceeded,
            FailureKind.RateLimited,
        ],
    };

    public static readonly ApiOperation Estimate = new(
        "estimateJob",
        ApiTags.Jobs,
        "What a job would take and cost in every class, before it is sent.",
        """
        The body is the job's own body, a sample of it (with `tasks`), or its shape. From the scheduler's last forecast: what is ahead, the learned
        cost model and its error, the prices. Express is reckoned in the pool that is done first, the slower classes in the cheapest that meets
        the deadline. Times and costs are null while no live worker has the model. Nothing is stored.
        """
    )
    {
        Parameters =
        [
            ApiParameter.Query(JobParameters.Model, ApiType.Text(), "`name` or `name@version`. Needed, here or in the body."),
            .. JobParts,
            ApiParameter.Query(
                JobParameters.Tasks,
                ApiType.Whole(1, Defaults.TasksMax),
                "How many tasks the job has of which the body is a sample."
            ),
            ContentEncoding,
        ],
        Bodies =
        [
            new(
                "application/json",
                typeof(EstimateBody),
                "The shape of the job; a small job as one object is taken, too.",
                """{"model": "language-id-small", "shape": {"tasks": 1000000, "units": 60000000}}"""
            ),
            new(
                "application/x-ndjson",
                null,
                "The job's body, or a sample of its lines.",
                """
                {"custom_id": "a-1", "input": "Where does this sentence come from?"}

                """
            ),
        ],
        Answers = [ApiAnswer.Json<EstimateView>("The estimate, from the fastest class to the cheapest.")],
        Errors =
        [
            FailureKind.InvalidRequest,
            FailureKind.InvalidInput,
            FailureKind.UnknownModel,
            FailureKind.UnknownModelRoute,
            FailureKind.QualityUnmet,
        ],
    };

    public static readonly ApiOperation Cancel = Command(
        "cancelJob",
        "Cancels a job.",
        "What has ended stays, the rest ends `cancelled`. A job whose body is still coming in is taken back. May be asked again."
    );

    public static readonly ApiOperation Pause = Command(
        "pauseJob",
        "Holds a job back.",
        """
        Nothing more of it is dispatched; what is on a device finishes. The deadline goes on. May be asked again. The answer comes when the scheduler knows; where
        it says nothing for half a second, as while it is replaced, some may be dispatched after.
        """
    );

    public static readonly ApiOperation Resume = Command("resumeJob", "Lets a paused job go on.", "May be asked again.");

    private static readonly IReadOnlyList<ApiParameter> ChangeParts =
    [
        ApiParameter.Query(JobParameters.Class, ApiType.Word(ApiParameters.Classes), "Another latency class."),
        ApiParameter.Query(
            JobParameters.Deadline,
            Deadline,
            $"{Capital(Deadlines.Form)}, at most {Defaults.DeadlineMax.TotalDays:0} days ahead."
        ),
    ];

    public static readonly ApiOperation Change = new(
        "changeJob",
        ApiTags.Jobs,
        "Changes the class or the deadline of a job that is under way.",
        """
        What waits goes on in the new class and by the new deadline; what is on a device finishes. What is not named stays, the deadline too. The class's
        target counts from now on. Units that were done keep their price, what ends from now on has that of the new class. Decided as for a new job
        from what is left: `express` that would be late and a deadline that no order of work can meet are refused, and nothing changes. May be asked again.
        """
    )
    {
        Parameters = [ApiParameters.Job, .. ChangeParts],
        Bodies =
        [
            new(
                "application/json",
                typeof(ChangeBody),
                "The same in a body, in place of the query.",
                """{"class": "standard", "deadline": "2h"}"""
            ),
        ],
        Answers = [ApiAnswer.Json<JobView>("The job as it is now.")],
        Errors =
        [
            FailureKind.InvalidRequest,
            FailureKind.InputTooLarge,
            FailureKind.UnknownJob,
            FailureKind.UnknownModel,
            FailureKind.InvalidState,
            FailureKind.DeadlineInfeasible,
            FailureKind.ExpressUnavailable,
            FailureKind.Held,
            FailureKind.BudgetExceeded,
            FailureKind.TenantBudgetExceeded,
        ],
    };

    public static readonly ApiOperation EstimateRest = new(
        "estimateRestOfJob",
        ApiTags.Jobs,
        "What the rest of a job would take and cost in every class.",
        "Asked before a change: tasks and units are those that have not ended, times count from now on. The job's own work is taken off what is ahead. Nothing changes."
    )
    {
        Parameters = [ApiParameters.Job, ChangeParts[1] with { Meaning = "Another deadline than it has." }],
        Answers = [ApiAnswer.Json<EstimateView>("The estimate, from the fastest class to the cheapest.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.UnknownJob, FailureKind.UnknownModel, FailureKind.InvalidState],
    };

    public static readonly ApiOperation RetryFailed = new(
        "retryFailedTasks",
        ApiTags.Jobs,
        "Makes a new job of the tasks that failed.",
        "For the same model version, of a job that has ended; the old job stays as it is, and `retry_of` names it. What the query does not say is as it was."
    )
    {
        Parameters =
        [
            ApiParameters.Job,
            ApiParameter.Query(
                JobParameters.Model,
                ApiType.Text(),
                "Another model or version. Default: the old job's version, or its route."
            ),
            .. JobParts.Select(part => part with { Type = part.Type with { Default = null } }),
            ApiParameters.IdempotencyKey,
        ],
        Answers = [Accepted],
        Errors =
        [
            FailureKind.InvalidRequest,
            FailureKind.DataRemoved,
            FailureKind.UnknownModel,
            FailureKind.UnknownModelRoute,
            FailureKind.QualityUnmet,
            FailureKind.UnknownJob,
            FailureKind.InvalidState,
            FailureKind.IdempotencyInProgress,
            FailureKind.IdempotencyConflict,
            FailureKind.DeadlineInfeasible,
            FailureKind.ExpressUnavailable,
            FailureKind.Held,
            FailureKind.BudgetExceeded,
            FailureKind.TenantBudgetExceeded,
        ],
    };

    private static ApiOperation Command(string id, string summary, string promise) =>
        new(id, ApiTags.Jobs, summary, promise)
        {
            Parameters = [ApiParameters.Job],
            Answers = [ApiAnswer.Json<JobView>("The job as it is now.")],
            Errors = [FailureKind.UnknownJob, FailureKind.InvalidState],
        };

    private static string Capital(string text) => $"{char.ToUpperInvariant(text[0])}{text[1..]}";
}

/// <summary>The shape of a small job as one JSON object, which <see cref="InlineBody"/> reads.</summary>
internal sealed record InlineJob(
    IReadOnlyList<InlineTask> Tasks,
    string? Model = null,
    string? Route = null,
    double? MinQuality = null,
    LatencyClass? Class = null,
    LatencyClass? Fallback = null,
    string? Deadline = null,
    string? Webhook = null,
    string? MaxCost = null,
    bool? Reuse = null,
    string? Group = null,
    IReadOnlyDictionary<string, string>? Metadata = null
);

/// <summary>What is to be changed of a job.</summary>
internal sealed record ChangeBody(LatencyClass? Class = null, string? Deadline = null);

/// <summary>The shape of a question for an estimate.</summary>
internal sealed record EstimateBody(
    JobShape Shape,
    string? Model = null,
    string? Route = null,
    double? MinQuality = null,
    string? Deadline = null
);

/// <param name="Units">Of all tasks together; or <paramref name="UnitsPerTask"/>.</param>
internal sealed record JobShape(long Tasks, long? Units = null, double? UnitsPerTask = null);

/// <param name="Input">A string for a text model; tensors by their names for others.</param>
/// <param name="Group">The group it belongs to; without one it is in its job's.</param>
internal sealed record InlineTask(string CustomId, System.Text.Json.JsonElement Input, string? Group = null);
