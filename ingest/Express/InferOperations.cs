using System.Text.Json;
using System.Text.Json.Serialization;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Ingest.Body;

namespace Pipeline.Ingest.Express;

/// <summary>What the inference that is waited for promises, for the API's document.</summary>
internal static class InferOperations
{
    private static readonly IngestOptions Defaults = new();

    /// <summary>How a task may end other than well; told as the answer where none ended well.</summary>
    public static readonly IReadOnlyList<FailureKind> Endings =
    [
        FailureKind.InvalidInput,
        FailureKind.InvalidModel,
        FailureKind.ModelFailed,
        FailureKind.WorkerCrashed,
        FailureKind.DispatchFailed,
        FailureKind.DeadlinePassed,
        FailureKind.Cancelled,
    ];

    /// <summary>How the way to an answer may end before there is one.</summary>
    public static readonly IReadOnlyList<FailureKind> Refusals =
    [
        FailureKind.InvalidRequest,
        FailureKind.InputTooLarge,
        FailureKind.UnknownModel,
        FailureKind.DeadlineInfeasible,
        FailureKind.ExpressUnavailable,
        FailureKind.Held,
        FailureKind.BudgetExceeded,
        FailureKind.TenantBudgetExceeded,
        FailureKind.RateLimited,
    ];

    public static readonly IReadOnlyDictionary<string, string> Limits = new Dictionary<string, string>
    {
        ["RateLimit-Policy"] = "The limits of this key (draft-ietf-httpapi-ratelimit-headers).",
        ["RateLimit"] = "What is left of them.",
    };

    public static readonly IReadOnlyDictionary<string, string> LimitsAndReplay = new Dictionary<string, string>([
        .. Limits,
        .. ApiParameters.Replayed,
    ]);

    private static readonly ApiParameter Prefer = ApiParameter.Header(
        Preferences.Header,
        ApiType.Text(),
        $"RFC 7240. `respond-async`: answer 202 at once. `wait=N`: wait N seconds, then 202; {Defaults.ExpressWaitMax.TotalSeconds:0} at most, which is also the default."
    );

    private static readonly IReadOnlyList<ApiAnswer> Answers =
    [
        ApiAnswer.Json<Inference>("The results, in the order of the inputs. At least one task succeeded; each says how it ended.") with
        {
            Headers = new Dictionary<string, string>(LimitsAndReplay)
            {
                [Preferences.AppliedHeader] = "The preferences that were followed.",
            },
        },
        new(
            200,
            InferStream.ContentType,
            null,
            "With `Accept: text/event-stream`, each result as it lands: the events `accepted`, `position`, `started`, `result`, `finished`."
        ),
        ApiAnswer.Json<JobView>("Accepted, and not answered yet: `Location` will have the answer.", 202) with
        {
            Headers = new Dictionary<string, string>(Limits) { ["Location"] = "Where the answer will be.", ["Retry-After"] = "Seconds." },
        },
    ];

    public static readonly ApiOperation Submit = new(
        "infer",
        ApiTags.Inference,
        "Answers one or a few inputs while the caller waits.",
        $"""
        Stored before it is run, as any job: once accepted it goes on whatever becomes of the connection, and `GET /v1/infer/{"{id}"}` finds the answer.
        `express` is refused (429) where its {LatencyClasses.Defaults[
            LatencyClass.Express
        ].Target.TotalMilliseconds:0} ms cannot be promised now; `offers` then says when slower classes would have it. When no task
        succeeded, the answer is a problem with the first one's code and the `job`.

        Parameters of the body may also come from the query, or as headers (`Pipeline-Class`); each once.
        """
    )
    {
        Parameters = [Prefer, ApiParameters.IdempotencyKey],
        Bodies =
        [
            new(
                "application/json",
                typeof(InferRequest),
                $"`input` or up to {Defaults.ExpressInputsMax} `inputs`, in at most {Defaults.ExpressBodyBytesMax:N0} bytes; packed as `Content-Encoding` says. Any media type is read as JSON.",
                """{"model": "language-id-small", "input": "Guten Morgen"}"""
            ),
        ],
        Answers = Answers,
        Errors =
        [
            .. Refusals,
            .. Endings,
            FailureKind.UnknownModelRoute,
            FailureKind.QualityUnmet,
            FailureKind.UnknownJob,
            FailureKind.IdempotencyInProgress,
            FailureKind.IdempotencyConflict,
            FailureKind.InvalidState,
        ],
    };

    public static readonly ApiOperation Find = new(
        "getInference",
        ApiTags.Inference,
        "The answer of an inference that was accepted before.",
        "On any instance, also while the first request still waits. Waits as `Prefer: wait` says, by default not at all."
    )
    {
        Parameters = [ApiParameters.Job, Prefer, ApiParameters.LastEventId],
        Answers = Answers,
        Errors =
        [
            FailureKind.InvalidRequest,
            FailureKind.UnknownJob,
            FailureKind.InvalidState,
            FailureKind.DataRemoved,
            FailureKind.RateLimited,
            .. Endings,
        ],
    };
}

/// <summary>The shape of the body that <see cref="InferBody"/> reads.</summary>
internal sealed record InferRequest
{
    /// <summary><c>name</c> or <c>name@version</c>. This or <see cref="Route"/>.</summary>
    public string? Model { get; init; }

    /// <summary>A route: its variants take turns, the cheapest first.</summary>
    public string? Route { get; init; }

    /// <summary>Beside a route: the cheapest of its variants and itself whose measured accuracy is at least this.</summary>
    public double? MinQuality { get; init; }

    /// <summary>A string for a text model; tensors by their names for others. This or <see cref="Inputs"/>.</summary>
    public JsonElement? Input { get; init; }

    public IReadOnlyList<JsonElement>? Inputs { get; init; }
    public LatencyClass? Class { get; init; }
    public LatencyClass? Fallback { get; init; }
    public string? Deadline { get; init; }

    /// <summary>Seconds, or a time like <c>500ms</c>; what has not run by then expires.</summary>
    public JsonElement? Timeout { get; init; }

    /// <summary>Budget in dollars of what is charged: where the inputs come to more, nothing is stored (422).</summary>
    public string? MaxCost { get; init; }

    /// <summary>The group the inputs belong to: one user query, one agent run.</summary>
    public string? Group { get; init; }

    /// <summary>Name of the one input.</summary>
    public string? CustomId { get; init; }
    public bool? CancelOnDisconnect { get; init; }

    /// <summary><c>false</c>: every input runs, also one that came before or is in the tenant's cache.</summary>
    public bool? Reuse { get; init; }
    public IReadOnlyDictionary<string, string>? Metadata { get; init; }
}

/// <summary>The shape of the answer that <see cref="InferAnswer"/> writes.</summary>
internal sealed record Inference
{
    public required JobId Id { get; init; }
    public required string Object { get; init; }
    public required ModelRef Model { get; init; }

    /// <summary>The route, as <c>name@version</c>; each result says which variant answered, and after how many turns.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Route { get; init; }
    public required LatencyClass Class { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public LatencyClass? RequestedClass { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
    public required decimal CostPicoUsd { get; init; }
    public required IReadOnlyList<TaskResult> Results { get; init; }
    public required InferenceLinks Links { get; init; }
}

/// <summary>Paths below the API's base address.</summary>
internal sealed record InferenceLinks(string Self, string Results, string Events);
