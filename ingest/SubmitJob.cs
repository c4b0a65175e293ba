using System.Security.Cryptography;
using System.Text.Json;
using MassTransit;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Door;
using Pipeline.Ingest.Storage;
using Pipeline.Ingest.Tasks;
using Pipeline.Migrations;

namespace Pipeline.Ingest;

/// <summary>
/// <c>POST /v1/jobs</c>: reads the body as it comes, stores the job as a whole or not at all, answers with it, and has its chunks
/// announced. The answer does not wait for the announcement: what is committed is announced, if need be by the sweep.
/// </summary>
internal sealed partial class SubmitJob(
    Admission admission,
    JobStore store,
    GroupCommit commit,
    UploadLeases leases,
    Idempotency keys,
    JobGate gate,
    PriceList prices,
    ChunkPublisher publisher,
    BrokerGate broker,
    IngestMetrics metrics,
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
        http.Asks(parameters);
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
            return Idempotency.InProgress();
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

        JobWriter? writer = null;
        await using var upload = new Upload(
            http.Tenant(),
            parameters,
            mistakes,
            admission,
            order => writer = new JobWriter(order, store, commit, leases, options),
            options,
            hash
        );
        return await ReceiveAsync(http, upload, () => writer!, body, isInline, claim, hash);
    }

    private async Task<IResult> ReceiveAsync(
        HttpContext http,
        Upload upload,
        Func<JobWriter> writer,
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
            return problem ?? await AcceptAsync(upload.Order!, writer(), claim, hash?.GetHashAndReset(), stop);
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
            return CountedDoor.Gone();
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

        var asked = order.Class;
        var ruling = gate.Rule(order, writer.Size, now);
        if (ruling.Refused is { } refused)
        {
            return refused;
        }

        (order, var tooDear) = await prices.PriceAsync(ruling.Order, writer.Units, now, stop);
        if (tooDear is not null)
        {
            return tooDear;
        }

        writer.Reclass(order);
        var view = View(order, writer.Tasks, writer.Size.Units, now) with { RequestedClass = asked == order.Class ? null : asked };
        var answer = JsonSerializer.SerializeToUtf8Bytes(view, ApiJson.Options);
        var kept = claim is null ? null : new KeptAnswer(claim.Key, fingerprint!, StatusCodes.Status200OK, answer);
        try
        {
            await writer.QueueAsync(now, kept, stop);
        }
        catch (PostgresException e) when (e.SqlState == TenantBudgets.ExceededSqlState)
        {
            return PriceList.Refuse(order, e);
        }

        publisher.Announce(new AnnouncedJob(order, now, writer.Chunks));
        metrics.Accepted(order, writer.Tasks);
        LogAccepted(log, order.Id, writer.Tasks, order.Model.Ref, order.Class);
        return Results.Bytes(answer, "application/json");
    }

    /// <summary>The same request gets the same answer; to tell that it is the same its body is read and hashed too.</summary>
    private static async Task<IResult> ReplayAsync(Stream body, IncrementalHash hash, KeptAnswer answer, CancellationToken stop)
    {
        var buffer = new byte[BufferBytesMax];
        try
        {
            while (await body.ReadAsync(buffer, stop) is var read and > 0)
            {
                hash.AppendData(buffer.AsSpan(0, read));
            }
        }
        catch (InvalidDataException e)
        {
            return Problems.Result(FailureKind.InvalidRequest, $"The packed body cannot be read: {e.Message}");
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

    /// <summary>True for a body that is one JSON object, false for one of lines.</summary>
    public static bool IsInline(HttpRequest request, Mistakes mistakes)
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

    /// <summary>A job that was just queued, as answers show it.</summary>
    public static JobView View(JobOrder order, int tasks, long units, DateTimeOffset queuedAt) =>
        new()
        {
            Id = order.Id,
            Model = order.Model.Ref,
            Route = order.Route?.ToString(),
            Class = order.Class,
            State = JobState.Queued,
            Paused = false,
            Tasks = tasks,
            Counts = new JobCounts(0, 0, 0, 0, tasks),
            CreatedAt = order.CreatedAt,
            QueuedAt = queuedAt,
            StartedAt = null,
            FinishedAt = null,
            Deadline = order.Deadline,
            PredictedAt = order.Predicted?.At,
            CostPicoUsd = 0,
            PricePicoUsd = order.PerMillionUnitsPico is null ? null : 0,
            EstimatedPricePicoUsd = order.EstimatePico,
            PricePerMillionUnitsPicoUsd = order.PerMillionUnitsPico,
            MaxCostPicoUsd = order.MaxCostPico,
            Metadata = JsonSerializer.SerializeToElement(order.Metadata),
            Webhook = order.Webhook,
            RetryOf = order.RetryOf,
            Group = order.Group,
            Error = null,
            UnitsLeft = units,
        };

    [LoggerMessage(30, LogLevel.Debug, "Accepted job {Job}: {Tasks} tasks for {Model}, {Class}")]
    private static partial void LogAccepted(ILogger log, JobId job, int tasks, ModelRef model, LatencyClass @class);

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
        httpContext.Response.Headers[Idempotency.ReplayedHeader] = "true";
        return httpContext.Response.Body.WriteAsync(answer.Body, httpContext.RequestAborted).AsTask();
    }
}
