namespace Pipeline.Contracts;

/// <summary>
/// What failed, in a small closed vocabulary. <see cref="FailureKinds"/> says whose fault each is, whether trying again can help,
/// what to do next, and which HTTP status tells of it; the wire name is the <c>code</c> of every error body and failed task.
/// </summary>
public enum FailureKind
{
    InvalidRequest,
    InvalidInput,
    InputTooLarge,
    UnknownModel,
    UnknownJob,
    UnknownFile,
    UnknownBatch,
    UnknownGroup,
    UnknownWebhook,
    UnknownAlert,
    UnknownProbe,
    UnknownRoute,
    UnknownModelRoute,
    QualityUnmet,
    Unauthorized,
    OperatorOnly,
    BudgetExceeded,
    TenantBudgetExceeded,
    IdempotencyConflict,
    IdempotencyInProgress,
    InvalidState,
    DataRemoved,
    InvalidModel,
    ModelFailed,
    WorkerCrashed,
    DispatchFailed,
    DeadlinePassed,
    Cancelled,
    RateLimited,
    ExpressUnavailable,
    DeadlineInfeasible,
    Held,
    Unavailable,
    Internal,
}

/// <summary>Whose fault a failure is.</summary>
public enum Fault
{
    Client,
    Model,
    Service,
}

/// <param name="Code">Wire name, stable.</param>
/// <param name="Fault">Whose fault it is.</param>
/// <param name="Retry">True when the same request may succeed later.</param>
/// <param name="HttpStatus">Status code of a reply that tells of it.</param>
/// <param name="Title">Short human summary (RFC 9457 <c>title</c>).</param>
/// <param name="Next">What to do next, for whoever gets it: a person or a program.</param>
public sealed record FailureInfo(string Code, Fault Fault, bool Retry, int HttpStatus, string Title, string Next);

/// <summary>One page maps every failure kind to retries, HTTP problem details and metric labels.</summary>
public static class FailureKinds
{
    /// <summary>Every kind, in the order of the enumeration.</summary>
    public static IReadOnlyList<FailureKind> All { get; } = Enum.GetValues<FailureKind>();

    /// <summary>The kind with this code; <see cref="FailureKind.Internal"/> for one that nobody knows.</summary>
    public static FailureKind OfCode(string code) => All.FirstOrDefault(kind => kind.Info().Code == code, FailureKind.Internal);

    public static FailureInfo Info(this FailureKind kind) =>
        kind switch
        {
            FailureKind.InvalidRequest => new(
                "invalid_request",
                Fault.Client,
                false,
                400,
                "The request is not valid",
                "Correct what errors and detail name, and send the request again."
            ),
            FailureKind.InvalidInput => new(
                "invalid_input",
                Fault.Client,
                false,
                400,
                "The input is not valid",
                "Correct or leave out the inputs that errors names by line and field, and send the rest again. Nothing was stored."
            ),
            FailureKind.InputTooLarge => new(
                "input_too_large",
                Fault.Client,
                false,
                413,
                "The input is too large",
                "Send less at a time: the detail says how much is taken, and which call takes more."
            ),
            FailureKind.UnknownModel => new(
                "model_not_found",
                Fault.Client,
                false,
                404,
                "No such model",
                "Ask GET /v1/models for what is registered, and name one of those."
            ),
            FailureKind.UnknownJob => new(
                "job_not_found",
                Fault.Client,
                false,
                404,
                "No such job",
                "Check the id and the API key: a job is shown to the tenant that sent it, and to nobody else."
            ),
            FailureKind.UnknownFile => new(
                "file_not_found",
                Fault.Client,
                false,
                404,
                "No such file",
                "Check the id and the API key, or upload the file again: it may have expired."
            ),
            FailureKind.UnknownBatch => new(
                "batch_not_found",
                Fault.Client,
                false,
                404,
                "No such batch",
                "Check the id and the API key: a batch is shown to the tenant that made it, and to nobody else."
            ),
            FailureKind.UnknownGroup => new(
                "group_not_found",
                Fault.Client,
                false,
                404,
                "No such group",
                "Check the name and the API key: a group is there once a task of it is accepted, and is shown to the tenant that sent it."
            ),
            FailureKind.UnknownWebhook => new(
                "webhook_not_found",
                Fault.Client,
                false,
                404,
                "No such webhook endpoint or delivery",
                "Check the id and the API key: GET /v1/webhook_endpoints and GET /v1/webhook_deliveries list what there is."
            ),
            FailureKind.UnknownAlert => new(
                "alert_not_found",
                Fault.Client,
                false,
                404,
                "No such alert, rule or silence",
                "GET /v1/alerts, /v1/alert_rules and /v1/alert_silences list what there is."
            ),
            FailureKind.UnknownProbe => new(
                "probe_not_found",
                Fault.Client,
                false,
                404,
                "No such probe",
                "GET /v1/probes lists what there is; PUT /v1/probes/{name} makes one."
            ),
            FailureKind.UnknownRoute => new(
                "route_not_found",
                Fault.Client,
                false,
                404,
                "There is nothing at this address",
                "Check method, path and Content-Type against GET /openapi.json."
            ),
            FailureKind.UnknownModelRoute => new(
                "model_route_not_found",
                Fault.Client,
                false,
                404,
                "No such route of models",
                "Name one of GET /v1/routes, or let an operator set it with PUT /v1/routes/{name}."
            ),
            FailureKind.QualityUnmet => new(
                "quality_unmet",
                Fault.Client,
                false,
                422,
                "Nothing that was measured is good enough",
                "Lower min_quality, leave it out, or measure the route anew with pipeline routes evaluate."
            ),
            FailureKind.Unauthorized => new(
                "invalid_api_key",
                Fault.Client,
                false,
                401,
                "The API key is missing or not valid",
                "Send a valid key as \"Authorization: Bearer <key>\"."
            ),
            FailureKind.OperatorOnly => new(
                "operator_only",
                Fault.Client,
                false,
                403,
                "Only operators may do this",
                "Use an operator's key; the standalone host's first key is one."
            ),
            FailureKind.BudgetExceeded => new(
                "budget_exceeded",
                Fault.Client,
                false,
                422,
                "The work is priced above its budget",
                "Raise max_cost, send less, or choose a cheaper class: POST /v1/estimates prices each."
            ),

            // Not 429: clients try that again by themselves, and nothing changes before the month does.
            FailureKind.TenantBudgetExceeded => new(
                "tenant_budget_exceeded",
                Fault.Client,
                false,
                402,
                "The month's budget does not cover this",
                "Ask an operator for a higher budget, or wait for the next month (UTC)."
            ),
            FailureKind.IdempotencyConflict => new(
                "idempotency_key_reused",
                Fault.Client,
                false,
                422,
                "The idempotency key was used for another request",
                "Use a new key for a new request, or send exactly the first request again."
            ),
            FailureKind.IdempotencyInProgress => new(
                "idempotency_in_progress",
                Fault.Client,
                true,
                409,
                "A request with this idempotency key is in progress",
                "Wait as Retry-After says, then send the same request with the same key: it gets the answer of the first."
            ),
            FailureKind.InvalidState => new(
                "invalid_state",
                Fault.Client,
                false,
                409,
                "The present state does not allow this",
                "Read the current state, and wait for one that allows this, or leave it."
            ),
            FailureKind.DataRemoved => new(
                "data_removed",
                Fault.Client,
                false,
                410,
                "The data is no longer kept",
                "Nothing brings it back: it was kept for as long as agreed, or erased on request. The job's counts and costs are still there."
            ),
            FailureKind.InvalidModel => new(
                "invalid_model",
                Fault.Client,
                false,
                400,
                "The model is not valid",
                "Correct the model, or have its owner register a corrected version."
            ),
            FailureKind.ModelFailed => new(
                "model_failed",
                Fault.Model,
                false,
                500,
                "The model failed on this input",
                "Look at the input: the model refuses it again. If many inputs fail so, tell the owner of the model."
            ),
            FailureKind.WorkerCrashed => new(
                "worker_crashed",
                Fault.Model,
                false,
                500,
                "This input ended the worker process",
                "Leave this input out: it ended a worker, alone. The other tasks are not concerned."
            ),
            FailureKind.DispatchFailed => new(
                "dispatch_failed",
                Fault.Service,
                true,
                500,
                "The work could not be handed to a worker",
                "Send the task again, or POST /v1/jobs/{id}/retry-failed for all that failed so."
            ),
            FailureKind.DeadlinePassed => new(
                "deadline_passed",
                Fault.Service,
                true,
                504,
                "The deadline passed before the task ran",
                "Send it again with a later deadline, or under a class that is served sooner."
            ),
            FailureKind.Cancelled => new(
                "cancelled",
                Fault.Client,
                false,
                409,
                "The job was cancelled",
                "Nothing, if you cancelled it; else send it as a new job."
            ),
            FailureKind.ExpressUnavailable => new(
                "express_unavailable",
                Fault.Client,
                true,
                429,
                "The express target cannot be promised now",
                "Take what offer names: another class, or the same with fallback. Or try again after Retry-After."
            ),
            FailureKind.DeadlineInfeasible => new(
                "deadline_infeasible",
                Fault.Client,
                false,
                422,
                "The deadline cannot be met",
                "Take the deadline that offer names, or a later one, or send less work."
            ),
            FailureKind.RateLimited => new(
                "rate_limited",
                Fault.Client,
                true,
                429,
                "Too many requests",
                "Wait as Retry-After says, then send the request again; send fewer at the same time."
            ),
            FailureKind.Held => new(
                "held",
                Fault.Service,
                true,
                503,
                "An operator holds this",
                "Wait until it goes on, or send it as standard or bulk: that is accepted and waits. The detail says why it is held."
            ),
            FailureKind.Unavailable => new(
                "unavailable",
                Fault.Service,
                true,
                503,
                "The service is not available now",
                "Wait as Retry-After says, then send the request again. Nothing of it was kept, unless job names what was accepted."
            ),
            _ => new(
                "internal_error",
                Fault.Service,
                true,
                500,
                "Something went wrong here",
                "Send it again once. If it happens again, report it with the x-request-id of the reply."
            ),
        };
}
