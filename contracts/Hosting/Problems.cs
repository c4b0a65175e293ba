using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting.Telemetry;

namespace Pipeline.Hosting;

/// <summary>
/// What is wrong, where: a line of a body (counted from 1) or a field, what was expected, what was given.
/// </summary>
public sealed record Mistake
{
    public long? Line { get; init; }
    public string? Field { get; init; }
    public required string Expected { get; init; }
    public string? Given { get; init; }
    public string? CustomId { get; init; }
}

/// <summary>The body of every error: RFC 9457 problem details that also carry the <c>error</c> member OpenAI's clients read.</summary>
public sealed record Problem
{
    public required string Type { get; init; }
    public required string Title { get; init; }
    public required int Status { get; init; }
    public required string Detail { get; init; }

    /// <summary>The stable code; <see cref="FailureKinds"/> has them all. OpenAI's clients read the same in <c>error.code</c>.</summary>
    public string Code => Error.Code;

    /// <summary>False where sending the same again cannot help; OpenAI's clients hear it by <c>x-should-retry</c> and spare themselves the tries.</summary>
    public required bool Retry { get; init; }

    /// <summary>What to do next.</summary>
    public required string Next { get; init; }
    public required OpenAiError Error { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<Mistake>? Errors { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? ErrorsTotal { get; init; }

    /// <summary>When the work would be done as it was asked for.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public DateTimeOffset? PredictedAt { get; init; }

    /// <summary>What would be accepted instead.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public Offer? Offer { get; init; }

    /// <summary>When each slower class would have it done, soonest first.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<Offer>? Offers { get; init; }

    /// <summary>The job it is about, where there is one.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public JobId? Job { get; init; }

    /// <summary>When to come back, where that is known; told in the header.</summary>
    [JsonIgnore]
    public TimeSpan? RetryAfter { get; init; }
}

/// <summary>The same work under other terms: a slower class, a later deadline, or both.</summary>
/// <param name="PredictedAt">When it would be done.</param>
public sealed record Offer(
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] LatencyClass? Class,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] DateTimeOffset? Deadline,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] DateTimeOffset? PredictedAt
);

/// <summary>OpenAI's error member; all four fields are always present.</summary>
public sealed record OpenAiError(string Message, string Type, string? Param, string Code);

/// <summary>A problem as the Open Inference Protocol tells it: <c>error</c> is the message. The other members are ours.</summary>
public sealed record OpenInferenceError(string Error, string Code, bool Retry, string Next)
{
    /// <summary>Where errors have this form.</summary>
    public const string Paths = "/v2";

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<Mistake>? Errors { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? ErrorsTotal { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<Offer>? Offers { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public JobId? Job { get; init; }

    public static OpenInferenceError Of(Problem problem) =>
        new(problem.Detail, problem.Code, problem.Retry, problem.Next)
        {
            Errors = problem.Errors,
            ErrorsTotal = problem.ErrorsTotal,
            Offers = problem.Offers,
            Job = problem.Job,
        };
}

/// <summary>Makes problem bodies from failure kinds, and turns lost servers into 503 with <c>Retry-After</c>.</summary>
public static partial class Problems
{
    private const int RetryAfterSeconds = 2;

    public static Problem From(
        FailureKind kind,
        string detail,
        string? param = null,
        IReadOnlyList<Mistake>? mistakes = null,
        long? total = null
    )
    {
        var info = kind.Info();
        return new Problem
        {
            Type = $"urn:pipeline:problem:{info.Code}",
            Title = info.Title,
            Status = info.HttpStatus,
            Detail = detail,
            Retry = info.Retry,
            Next = info.Next,
            Error = new OpenAiError(detail, info.Fault == Fault.Client ? "invalid_request_error" : "server_error", param, info.Code),
            Errors = mistakes,
            ErrorsTotal = total,
        };
    }

    public static ProblemResult Result(
        FailureKind kind,
        string detail,
        string? param = null,
        IReadOnlyList<Mistake>? mistakes = null,
        long? total = null
    ) => new(From(kind, detail, param, mistakes, total));

    /// <summary>Writes a problem as the whole reply. What may succeed later always says when to come back.</summary>
    public static Task WriteAsync(HttpContext http, Problem problem)
    {
        http.RequestServices.GetService<ProblemMetrics>()?.Answered(problem.Code);
        http.Response.StatusCode = problem.Status;
        if (!problem.Retry)
        {
            http.Response.Headers["x-should-retry"] = "false";
        }

        if (problem.Status is 429 or >= 500 || (problem.Status == 409 && problem.Retry))
        {
            var seconds = problem.RetryAfter is { } after ? Math.Max(1, (long)Math.Ceiling(after.TotalSeconds)) : RetryAfterSeconds;
            http.Response.Headers.RetryAfter = seconds.ToString(System.Globalization.CultureInfo.InvariantCulture);
        }

        return http.Request.Path.StartsWithSegments(OpenInferenceError.Paths)
            ? http.Response.WriteAsJsonAsync(OpenInferenceError.Of(problem), ApiJson.Options, "application/json", http.RequestAborted)
            : http.Response.WriteAsJsonAsync(problem, ApiJson.Options, "application/problem+json", http.RequestAborted);
    }

    /// <summary>
    /// The last net under every endpoint: a lost server answers 503, anything else 500, what no endpoint took 404 or 405, all as problem
    /// bodies. Every reply, good or bad, has an <c>x-request-id</c>.
    /// </summary>
    public static IApplicationBuilder UseProblems(this IApplicationBuilder app)
    {
        app.Use(
            static (http, next) =>
            {
                var id = $"req_{Guid.CreateVersion7():N}";
                http.TraceIdentifier = id;
                http.Response.OnStarting(
                    static state =>
                    {
                        var reply = (HttpContext)state;
                        reply.Response.Headers["x-request-id"] = reply.TraceIdentifier;
                        return Task.CompletedTask;
                    },
                    http
                );
                return next(http);
            }
        );
        app.UseStatusCodePages(static context =>
            context.HttpContext.Response.StatusCode is 404 or 405 or 415
                ? WriteAsync(context.HttpContext, NoEndpoint(context.HttpContext))
                : Task.CompletedTask
        );
        return app.UseExceptionHandler(
            new ExceptionHandlerOptions
            {
                SuppressDiagnosticsCallback = static context => context.Exception is NpgsqlException or MassTransit.MassTransitException,
                ExceptionHandler = static http =>
                {
                    var error = http.Features.Get<IExceptionHandlerFeature>()?.Error;
                    var log = http.RequestServices.GetRequiredService<ILoggerFactory>().CreateLogger("Pipeline.Problems");
                    if (error is BadHttpRequestException bad)
                    {
                        var kind = bad.StatusCode == 413 ? FailureKind.InputTooLarge : FailureKind.InvalidRequest;
                        return WriteAsync(http, From(kind, bad.Message));
                    }

                    if (IsLostServer(error))
                    {
                        LogLostServer(log, http.Request.Path, error!.Message);
                        return WriteAsync(
                            http,
                            From(
                                FailureKind.Unavailable,
                                "A server this service needs is not reachable now. Nothing was lost; send the request again."
                            )
                        );
                    }

                    if (
                        error is PostgresException
                        {
                            SqlState: PostgresErrorCodes.CharacterNotInRepertoire or PostgresErrorCodes.UntranslatableCharacter
                        }
                    )
                    {
                        return WriteAsync(
                            http,
                            From(FailureKind.InvalidRequest, "A text of the request has U+0000, which cannot be kept. Nothing was stored.")
                        );
                    }

                    LogUnhandled(log, error, http.Request.Path);
                    return WriteAsync(http, From(FailureKind.Internal, "The request failed here; the log has the reason."));
                },
            }
        );
    }

    private static Problem NoEndpoint(HttpContext http)
    {
        var status = http.Response.StatusCode;
        var what = $"There is no {http.Request.Method} {http.Request.Path}";
        return From(FailureKind.UnknownRoute, status == 404 ? $"{what}." : $"{what} of that kind; see Allow and Content-Type.") with
        {
            Status = status,
        };
    }

    /// <summary>True when PostgreSQL or the broker is away, and the same call may succeed later.</summary>
    public static bool IsLostServer(Exception? error) =>
        error switch
        {
            PostgresException e => e.SqlState
                is PostgresErrorCodes.AdminShutdown
                    or PostgresErrorCodes.CrashShutdown
                    or PostgresErrorCodes.CannotConnectNow
                    or PostgresErrorCodes.TooManyConnections,
            NpgsqlException => true,
            MassTransit.MassTransitException => true,
            RabbitMQ.Client.Exceptions.RabbitMQClientException => true,
            NotConfirmedException => true,
            // RabbitMQ's client, of a channel that closes under a call: the lock that the call holds is disposed of before it is given back.
            ObjectDisposedException e => e.StackTrace?.Contains("RabbitMQ.Client", StringComparison.Ordinal) is true,
            _ => error?.InnerException is { } inner && IsLostServer(inner),
        };

    [LoggerMessage(10, LogLevel.Warning, "{Path} answered 503: {Reason}")]
    private static partial void LogLostServer(ILogger log, string path, string reason);

    [LoggerMessage(11, LogLevel.Error, "{Path} failed")]
    private static partial void LogUnhandled(ILogger log, Exception? error, string path);
}

/// <summary>A problem as an endpoint's result.</summary>
public sealed class ProblemResult(Problem problem) : IResult, IStatusCodeHttpResult, IValueHttpResult<Problem>
{
    public int? StatusCode => problem.Status;

    public Problem Value => problem;

    public Task ExecuteAsync(HttpContext httpContext) => Problems.WriteAsync(httpContext, problem);
}
