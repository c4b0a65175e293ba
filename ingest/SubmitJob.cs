using System.Security.Cryptography;
using System.Text.Json;
using MassTransit;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Storage;
using Pipeline.Ingest.Tasks;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Ingest;

/// <summary>
/// <c>POST /v1/jobs</c>: reads the body as it comes, stores the job as a whole or not at all, answers with it, and has its chunks
/// announced. The answer does not wait for the announcement: what is committed is announced, if need be by the sweep.
/// </summary>
internal sealed partial class SubmitJob(
    Admission admission,
    JobStore store,
    UploadLeases leases,
    Idempotency keys,
    Forecasts forecasts,
    ChunkPublisher publisher,
    BrokerGate broker,
    IngestOptions options,
    TimeProvider time,
    ILogger<SubmitJob> log
)
{
    private const int BufferBytesMin = 4 * 1024;
    private const int BufferBytesMax = 64 * 1024;
    private int _uploads;

    public async Task<IResult> HandleAsync(HttpContext http)
    {
        if (broker.Refusal() is { } away)
        {
            return away;
        }

        try
        {
            return Interlocked.Increment(ref _uploads) <= options.UploadsMax
                ? await SubmitAsync(http)
                : Problems.Result(FailureKind.RateLimited, $"{options.UploadsMax} bodies are coming in already. Send this one again soon.");
        }
        finally
        {
            Interlocked.Decrement(ref _uploads);
        }
    }

    private async Task<IResult> SubmitAsync(HttpContext http)
    {
        var mistakes = new Mistakes(options.MistakesMax);
        var parameters = JobParameters.From(http.Request, mistakes);
        var key = Idempotency.KeyOf(http.Request, mistakes);
        var isInline = IsInline(http.Request, mistakes);
        var body = BodyStream.Open(http, mistakes);
        if (body is null || mistakes.Any)
        {
            return await admission.RefuseAsync(http.Tenant(), parameters, mistakes, http.RequestAborted);
        }

        await using var claim = key is null ? null : await keys.ClaimAsync(http.Tenant(), key, http.RequestAborted);
        if (claim is { IsInProgress: true })
        {
            return Problems.Result(
                FailureKind.IdempotencyInProgress,
                "The first request with this key has not ended yet.",
                Idempotency.Header
            );
        }

        using var hash = claim is null ? null : IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        if (hash is not null)
        {
            parameters.AddTo(hash);
        }

        if (claim?.Answer is { } answer)
        {
            return await ReplayAsync(body, hash!, answer, http.RequestAborted);
        }

        await using var upload = new Upload(
            http.Tenant(),
            parameters,
            mistakes,
            admission,
            order => new JobWriter(order, store, leases, options),
            options,
            hash
        );
        return await ReceiveAsync(http, upload, body, isInline, claim, hash);
    }

    private async Task<IResult> ReceiveAsync(
        HttpContext http,
        Upload upload,
        Stream body,
        bool isInline,
        KeyClaim? claim,
        IncrementalHash? hash
    )
    {
        var stop = http.RequestAborted;
        try
        {
            var bufferBytes = (int)Math.Clamp((http.Request.ContentLength ?? BufferBytesMax) + 1, BufferBytesMin, BufferBytesMax);
            var problem = isInline ? await upload.ReadInlineAsync(body, stop) : await upload.ReadLinesAsync(body, bufferBytes, stop);
            return problem ?? await AcceptAsync(upload.Order!, upload.Writer!, claim, hash?.GetHashAndReset(), stop);
        }
        catch (JobGoneException)
        {
            return Problems.Result(FailureKind.InvalidState, "The job was cancelled while its body came in. Nothing was stored.");
        }
        catch (InvalidDataException e)
        {
            return CutOff(upload, $"The packed body cannot be read: {e.Message}");
        }
        catch (BadHttpRequestException e) when (e.StatusCode == StatusCodes.Status400BadRequest)
        {
            LogCutOff(log, upload.Line, e.Message);
            return CutOff(upload, "The body was cut off");
        }
        catch (Exception e) when (e is IOException or OperationCanceledException && stop.IsCancellationRequested)
        {
            LogCutOff(log, upload.Line, e.Message);
            return Results.Empty;
        }
    }

    /// <summary>Queues the job that the writer holds, and answers with it.</summary>
    public async Task<IResult> AcceptAsync(JobOrder order, JobWriter writer, KeyClaim? claim, byte[]? fingerprint, CancellationToken stop)
    {
        var now = Moments.Now(time);
        if (order.Deadline <= now)
        {
            var mistakes = new Mistakes(1);
            mistakes.Add(JobParameters.Deadline, "a moment after the body has ended", order.Deadline.ToString("O"));
            return Admission.Refuse(mistakes);
        }

        var ruling = AdmissionRule.Decide(forecasts.Fresh, Ask(order, writer), LatencyClasses.Defaults, now);
        if (ruling.Verdict != AdmissionVerdict.Accepted && (options.RefuseLateExpress || ruling.Verdict != AdmissionVerdict.ExpressRefused))
        {
            LogRefused(log, order.Id, writer.Tasks, order.Model.Ref, order.Class, ruling.Verdict);
            return Refusal(order, ruling);
        }

        var asked = order.Class;
        order = Under(ruling.Class, order, now);
        writer.Reclass(order);
        var predictedAt = ruling.Predicted?.Completion;
        var view = View(order, writer, now, predictedAt) with { RequestedClass = asked == order.Class ? null : asked };
        var answer = JsonSerializer.SerializeToUtf8Bytes(view, ApiJson.Options);
        var kept = claim is null ? null : new KeptAnswer(claim.Key, fingerprint!, StatusCodes.Status200OK, answer);
        await writer.QueueAsync(now, predictedAt, kept, stop);
        publisher.Announce(new AnnouncedJob(order, now, writer.Chunks));
        LogAccepted(log, order.Id, writer.Tasks, order.Model.Ref, order.Class);
        return Results.Bytes(answer, "application/json");
    }

    private static AdmissionAsk Ask(JobOrder order, JobWriter writer) =>
        new(order.Model.Ref, order.Class, order.Fallback, writer.Units, writer.Tasks, order.DeadlineGiven ? order.Deadline : null);

    /// <summary>The order under the class it is accepted in; a window nobody chose becomes that of the class.</summary>
    private static JobOrder Under(LatencyClass accepted, JobOrder order, DateTimeOffset now) =>
        accepted == order.Class
            ? order
            : order with
            {
                Class = accepted,
                Deadline = order.DeadlineGiven ? order.Deadline : now + LatencyClasses.Defaults[accepted].CompletionWindow,
            };

    /// <summary>Says why the job is not let in, when it would be done, and what would be accepted instead.</summary>
    private static ProblemResult Refusal(JobOrder order, Admitted ruling)
    {
        var hopeless = ruling.Verdict == AdmissionVerdict.Hopeless;
        var done = ruling.Predicted is { } at ? $"It would be done at {at.Completion:O}, in 19 of 20 cases by {at.Late:O}." : null;
        var detail =
            hopeless
                ? $"All workers together cannot be done by {order.Deadline:O}. {done} A deadline of {ruling.OfferedDeadline:O} would do."
            : done is null
                ? "Express is promised only while the scheduler tells when devices are free, and nobody tells it of this model now."
            : $"Express is done within {LatencyClasses.Defaults[LatencyClass.Express].Target.TotalMilliseconds:0} ms. {done}";
        var offer = hopeless
            ? new Offer(null, ruling.OfferedDeadline, ruling.OfferedAt)
            : new Offer(ruling.OfferedClass, null, ruling.OfferedAt);
        var soft = hopeless
            ? ""
            : $" Class {ruling.OfferedClass?.Name()} takes it now; with fallback={ruling.OfferedClass?.Name()} that happens by itself.";
        var kind = hopeless ? FailureKind.DeadlineInfeasible : FailureKind.ExpressUnavailable;
        var problem = Problems.From(kind, $"{detail}{soft} Nothing was stored.", hopeless ? JobParameters.Deadline : JobParameters.Class);
        return new ProblemResult(
            problem with
            {
                PredictedAt = ruling.Predicted?.Completion,
                Offer = offer,
                RetryAfter = ruling.RetryAfter,
            }
        );
    }

    /// <summary>The same request gets the same answer; to tell that it is the same its body is read and hashed too.</summary>
    private static async Task<IResult> ReplayAsync(Stream body, IncrementalHash hash, KeptAnswer answer, CancellationToken stop)
    {
        var buffer = new byte[BufferBytesMax];
        while (await body.ReadAsync(buffer, stop) is var read and > 0)
        {
            hash.AppendData(buffer.AsSpan(0, read));
        }

        return Replay(hash.GetHashAndReset(), answer);
    }

    public static IResult Replay(byte[] fingerprint, KeptAnswer answer) =>
        fingerprint.AsSpan().SequenceEqual(answer.Fingerprint)
            ? new ReplayedAnswer(answer)
            : Problems.Result(
                FailureKind.IdempotencyConflict,
                "This key came before with other parameters or another body. Use a new key for a new request.",
                Idempotency.Header
            );

    private static bool IsInline(HttpRequest request, Mistakes mistakes)
    {
        var type = (request.ContentType ?? "").Split(';')[0].Trim().ToLowerInvariant();
        if (type.StartsWith("multipart/", StringComparison.Ordinal))
        {
            mistakes.Add("Content-Type", "application/x-ndjson with a task a line, or application/json", $"\"{Excerpt.Of(type)}\"");
        }

        return type == "application/json";
    }

    private static ProblemResult CutOff(Upload upload, string what) =>
        Problems.Result(
            FailureKind.InvalidRequest,
            $"{what}, in line {upload.Line}. Nothing was stored.",
            null,
            [
                new Mistake
                {
                    Line = upload.Line,
                    Expected = "a body to its end",
                    Given = what,
                },
            ],
            1
        );

    private static JobView View(JobOrder order, JobWriter writer, DateTimeOffset queuedAt, DateTimeOffset? predictedAt) =>
        new()
        {
            Id = order.Id,
            Model = order.Model.Ref,
            Class = order.Class,
            State = JobState.Queued,
            Paused = false,
            Tasks = writer.Tasks,
            Counts = new JobCounts(0, 0, 0, 0, writer.Tasks),
            CreatedAt = order.CreatedAt,
            QueuedAt = queuedAt,
            StartedAt = null,
            FinishedAt = null,
            Deadline = order.Deadline,
            PredictedAt = predictedAt,
            CostPicoUsd = 0,
            MaxCostPicoUsd = order.MaxCostPico,
            Metadata = JsonSerializer.SerializeToElement(order.Metadata),
            Webhook = order.Webhook,
            RetryOf = order.RetryOf,
            Error = null,
            UnitsLeft = writer.Units,
        };

    [LoggerMessage(30, LogLevel.Debug, "Accepted job {Job}: {Tasks} tasks for {Model}, {Class}")]
    private static partial void LogAccepted(ILogger log, JobId job, int tasks, ModelRef model, LatencyClass @class);

    [LoggerMessage(32, LogLevel.Information, "Refused job {Job}: {Tasks} tasks for {Model}, {Class}: {Verdict}")]
    private static partial void LogRefused(
        ILogger log,
        JobId job,
        int tasks,
        ModelRef model,
        LatencyClass @class,
        AdmissionVerdict verdict
    );

    [LoggerMessage(31, LogLevel.Information, "A body was cut off in line {Line} and nothing was stored: {Reason}")]
    private static partial void LogCutOff(ILogger log, long line, string reason);
}

/// <summary>The answer an earlier request with the same key got.</summary>
internal sealed class ReplayedAnswer(KeptAnswer answer) : IResult
{
    public Task ExecuteAsync(HttpContext httpContext)
    {
        httpContext.Response.StatusCode = answer.Status;
        httpContext.Response.ContentType = "application/json";
        httpContext.Response.ContentLength = answer.Body.Length;
        httpContext.Response.Headers["Idempotency-Replayed"] = "true";
        return httpContext.Response.Body.WriteAsync(answer.Body, httpContext.RequestAborted).AsTask();
    }
}
