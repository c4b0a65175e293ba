namespace Pipeline.Contracts;

/// <summary>
/// What failed, in a small closed vocabulary. <see cref="FailureKinds"/> says whose fault each is, whether trying again can help,
/// and which HTTP status tells of it; the wire name is the <c>code</c> of every error body and failed task.
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
    UnknownRoute,
    Unauthorized,
    OperatorOnly,
    BudgetExceeded,
    TenantBudgetExceeded,
    IdempotencyConflict,
    IdempotencyInProgress,
    InvalidState,
    InvalidModel,
    ModelFailed,
    WorkerCrashed,
    DispatchFailed,
    DeadlinePassed,
    Cancelled,
    RateLimited,
    ExpressUnavailable,
    DeadlineInfeasible,
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
public sealed record FailureInfo(string Code, Fault Fault, bool Retry, int HttpStatus, string Title);

/// <summary>One page maps every failure kind to retries, HTTP problem details and metric labels.</summary>
public static class FailureKinds
{
    public static FailureInfo Info(this FailureKind kind) =>
        kind switch
        {
            FailureKind.InvalidRequest => new("invalid_request", Fault.Client, false, 400, "The request is not valid"),
            FailureKind.InvalidInput => new("invalid_input", Fault.Client, false, 400, "The input is not valid"),
            FailureKind.InputTooLarge => new("input_too_large", Fault.Client, false, 413, "The input is too large"),
            FailureKind.UnknownModel => new("model_not_found", Fault.Client, false, 404, "No such model"),
            FailureKind.UnknownJob => new("job_not_found", Fault.Client, false, 404, "No such job"),
            FailureKind.UnknownFile => new("file_not_found", Fault.Client, false, 404, "No such file"),
            FailureKind.UnknownBatch => new("batch_not_found", Fault.Client, false, 404, "No such batch"),
            FailureKind.UnknownRoute => new("route_not_found", Fault.Client, false, 404, "There is nothing at this address"),
            FailureKind.Unauthorized => new("invalid_api_key", Fault.Client, false, 401, "The API key is missing or not valid"),
            FailureKind.OperatorOnly => new("operator_only", Fault.Client, false, 403, "Only operators may do this"),
            FailureKind.BudgetExceeded => new("budget_exceeded", Fault.Client, false, 422, "The work is priced above its budget"),

            // Not 429: clients try that again by themselves, and nothing changes before the month does.
            FailureKind.TenantBudgetExceeded => new(
                "tenant_budget_exceeded",
                Fault.Client,
                false,
                402,
                "The month's budget does not cover this"
            ),
            FailureKind.IdempotencyConflict => new(
                "idempotency_key_reused",
                Fault.Client,
                false,
                422,
                "The idempotency key was used for another request"
            ),
            FailureKind.IdempotencyInProgress => new(
                "idempotency_in_progress",
                Fault.Client,
                true,
                409,
                "A request with this idempotency key is in progress"
            ),
            FailureKind.InvalidState => new("invalid_state", Fault.Client, false, 409, "The job's state does not allow this"),
            FailureKind.InvalidModel => new("invalid_model", Fault.Client, false, 400, "The model is not valid"),
            FailureKind.ModelFailed => new("model_failed", Fault.Model, false, 500, "The model failed on this input"),
            FailureKind.WorkerCrashed => new("worker_crashed", Fault.Model, false, 500, "This input ended the worker process"),
            FailureKind.DispatchFailed => new("dispatch_failed", Fault.Service, true, 500, "The work could not be handed to a worker"),
            FailureKind.DeadlinePassed => new("deadline_passed", Fault.Service, true, 504, "The deadline passed before the task ran"),
            FailureKind.Cancelled => new("cancelled", Fault.Client, false, 409, "The job was cancelled"),
            FailureKind.ExpressUnavailable => new(
                "express_unavailable",
                Fault.Client,
                true,
                429,
                "The express target cannot be promised now"
            ),
            FailureKind.DeadlineInfeasible => new("deadline_infeasible", Fault.Client, false, 422, "The deadline cannot be met"),
            FailureKind.RateLimited => new("rate_limited", Fault.Client, true, 429, "Too many requests"),
            FailureKind.Unavailable => new("unavailable", Fault.Service, true, 503, "The service is not available now"),
            _ => new("internal_error", Fault.Service, true, 500, "Something went wrong here"),
        };
}
