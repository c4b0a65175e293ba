using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Door;
using Pipeline.Ingest.Tasks;

namespace Pipeline.Ingest.Express;

/// <summary>
/// <c>POST /v1/infer</c>: one or a few inputs, answered while the caller waits. A caller that does not want to wait (<c>Prefer</c>), or not
/// that long, gets 202 and finds the results by the job's id; so does one whose connection broke. <c>Accept: text/event-stream</c> shows
/// each result as it lands.
/// </summary>
internal sealed partial class Infer(
    Admission admission,
    ExpressPath path,
    JobCommands commands,
    Forecasts forecasts,
    IngestMetrics metrics,
    IngestOptions options,
    TimeProvider time,
    IHostApplicationLifetime lifetime,
    ILogger<Infer> log
)
{
    /// <summary>
    /// <c>GET /v1/infer/{id}</c>: the answer of an inference that was accepted before, waited for as <c>Prefer: wait</c> says (by default not
    /// at all), or its events from <c>Last-Event-ID</c> on.
    /// </summary>
    public async Task<IResult> FindAsync(string id, HttpContext http)
    {
        var mistakes = new Mistakes(options.MistakesMax);
        var preferences = Preferences.From(http.Request, mistakes);
        if (mistakes.Any)
        {
            return Admission.Refuse(mistakes);
        }

        if (!JobId.TryParse(id, out var job) || await path.AttachAsync(http.Tenant(), job, http.RequestAborted) is not { } outcome)
        {
            return JobCommands.Unknown(id);
        }

        if (outcome.Accepted is not { } accepted)
        {
            return outcome.Refused!;
        }

        using (accepted)
        {
            return await WaitAsync(http, accepted, preferences with { Async = true }, cancels: false);
        }
    }

    public async Task<IResult> HandleAsync(HttpContext http)
    {
        var mistakes = new Mistakes(options.MistakesMax);
        var parameters = JobParameters.From(http.Request, mistakes, JobParameters.OfInference);
        http.Asks(parameters);
        var preferences = Preferences.From(http.Request, mistakes);
        var key = Idempotency.KeyOf(http.Request, mistakes);
        var (bytes, problem) = await ReadAsync(http, options, mistakes);
        if (problem is not null)
        {
            return problem;
        }

        var body = InferBody.Read(bytes.Span, parameters, options.ExpressInputsMax, mistakes);
        parameters.Default(JobParameters.Class, LatencyClass.Express.Name());
        var cancels = ReadCancels(parameters, mistakes);
        var timeout = ReadTimeout(parameters, mistakes);
        if (parameters[JobParameters.Class] == LatencyClass.Bulk.Name())
        {
            mistakes.Add(JobParameters.Class, "express or standard; bulk work is a job, POST /v1/jobs", "\"bulk\"");
        }

        // With mistakes it tells those of the parameters, too.
        var (order, refused) = await admission.AdmitAsync(http.Tenant(), parameters, mistakes, 0, http.RequestAborted);
        if (order is null)
        {
            return refused!;
        }

        if (timeout is { } patience)
        {
            order = order with { Deadline = order.CreatedAt + patience, DeadlineGiven = true };
        }

        var tasks = ReadTasks(order, body, bytes.Span, parameters[JobParameters.CustomId], mistakes);
        return mistakes.Any
            ? Admission.Refuse(mistakes)
            : await AnswerAsync(http, order, tasks, preferences, key, parameters, bytes, cancels);
    }

    private async Task<IResult> AnswerAsync(
        HttpContext http,
        JobOrder order,
        ExpressTasks tasks,
        Preferences preferences,
        string? key,
        JobParameters parameters,
        ReadOnlyMemory<byte> bytes,
        bool cancels
    )
    {
        var identity = RequestIdentity.Of(key, "POST /v1/infer", bytes.Span, parameters);
        var tellsAtOnce = preferences.WaitUpTo(options.ExpressWaitMax) <= TimeSpan.Zero || InferStream.IsAsked(http.Request);
        var outcome = await path.AcceptAsync(order, tasks, identity, tellsAtOnce, http.RequestAborted);
        if (outcome.Accepted is not { } accepted)
        {
            return outcome.Refused!;
        }

        using (accepted)
        {
            if (preferences.Applied is { } applied)
            {
                http.Response.Headers[Preferences.AppliedHeader] = applied;
            }

            accepted.TellRepeat(http.Response);
            return await WaitAsync(http, accepted, preferences, cancels);
        }
    }

    private async Task<IResult> WaitAsync(HttpContext http, ExpressAccepted accepted, Preferences preferences, bool cancels)
    {
        var began = time.GetTimestamp();
        using var either = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, lifetime.ApplicationStopping);
        try
        {
            if (InferStream.IsAsked(http.Request))
            {
                return await StreamAsync(http, accepted);
            }

            var complete = await accepted.CompleteAsync(preferences.WaitUpTo(options.ExpressWaitMax), either.Token);
            metrics.Answered(accepted, time.GetElapsedTime(began), complete ? "answered" : "accepted");
            return complete ? InferAnswer.Complete(accepted) : InferAnswer.Later(http, accepted);
        }
        catch (OperationCanceledException) when (http.RequestAborted.IsCancellationRequested)
        {
            await LeftAsync(http.Tenant(), accepted, time.GetElapsedTime(began), cancels);
            return CountedDoor.Gone();
        }
        catch (OperationCanceledException) when (either.IsCancellationRequested)
        {
            // This process is stopping: the next finds the results.
            return InferAnswer.Later(http, accepted);
        }
    }

    private async Task<IResult> StreamAsync(HttpContext http, ExpressAccepted accepted)
    {
        const string LastEventId = "Last-Event-ID";
        var last = http.Request.Headers[LastEventId].ToString();
        if (InferStream.ParseId(last, accepted.Job.Tasks) is not { } sent)
        {
            return Problems.Result(
                FailureKind.InvalidRequest,
                $"{LastEventId}: expected the id of an event of this inference, given \"{Excerpt.Of(last)}\".",
                LastEventId
            );
        }

        await new InferStream(accepted, sent, forecasts, options, lifetime.ApplicationStopping).ExecuteAsync(http);
        return Results.Empty;
    }

    /// <summary>The caller has gone. The work goes on, unless it asked otherwise: it will come back for it after a time-out.</summary>
    private async Task LeftAsync(TenantId tenant, ExpressAccepted accepted, TimeSpan waited, bool cancels)
    {
        metrics.Disconnected(waited);
        LogLeft(log, accepted.Job.Id, waited.TotalMilliseconds, cancels);
        if (cancels)
        {
            await commands.CancelAsync(tenant, accepted.Job.Id, CancellationToken.None);
        }
    }

    /// <summary>Reads the body of a request that is waited for, or gives the problem to answer with.</summary>
    public static async Task<(ReadOnlyMemory<byte> Body, IResult? Problem)> ReadAsync(
        HttpContext http,
        IngestOptions options,
        Mistakes mistakes
    )
    {
        try
        {
            if (BodyStream.Open(http, mistakes) is not { } body)
            {
                return (default, Admission.Refuse(mistakes));
            }

            return await WholeBody.ReadAsync(body, options.ExpressBodyBytesMax, http.RequestAborted) is { } bytes
                ? (bytes, null)
                : (
                    default,
                    Problems.Result(
                        FailureKind.InputTooLarge,
                        $"The body expects at most {options.ExpressBodyBytesMax} bytes; more is sent as a job, POST /v1/jobs."
                    )
                );
        }
        catch (InvalidDataException e)
        {
            return (default, Problems.Result(FailureKind.InvalidRequest, $"The packed body cannot be read: {e.Message}"));
        }
        catch (BadHttpRequestException e) when (e.StatusCode == StatusCodes.Status400BadRequest)
        {
            return (default, Problems.Result(FailureKind.InvalidRequest, "The body was cut off. Nothing was stored."));
        }
        catch (Exception e) when (e is IOException or OperationCanceledException && http.RequestAborted.IsCancellationRequested)
        {
            return (default, CountedDoor.Gone());
        }
    }

    private ExpressTasks ReadTasks(JobOrder order, InferBody body, ReadOnlySpan<byte> bytes, string? customId, Mistakes mistakes)
    {
        var tasks = new ExpressTasks(order.Model, options, mistakes, order.Reuse);
        if (customId is not null)
        {
            CheckCustomId(customId, body, mistakes);
        }

        for (var i = 0; i < body.Inputs.Count; i++)
        {
            var (start, length) = body.Inputs[i];
            var place = body.IsArray ? new TaskPlace(null, i, IsBare: true) : default;
            tasks.Add(customId ?? i.ToString(System.Globalization.CultureInfo.InvariantCulture), bytes.Slice(start, length), place);
            if (mistakes.Any && customId is not null)
            {
                break;
            }
        }

        return tasks;
    }

    private static void CheckCustomId(string customId, InferBody body, Mistakes mistakes)
    {
        if (body.IsArray)
        {
            mistakes.Add(JobParameters.CustomId, "to be absent beside inputs, which are named 0, 1, …", $"\"{Excerpt.Of(customId)}\"");
        }
        else if (customId.Length == 0 || customId.Contains('\0') || Encoding.UTF8.GetByteCount(customId) > TaskReader.CustomIdBytesMax)
        {
            mistakes.Add(JobParameters.CustomId, "a string of 1 to 512 bytes without U+0000", $"\"{Excerpt.Of(customId)}\"");
        }
    }

    private static bool ReadCancels(JobParameters parameters, Mistakes mistakes)
    {
        var text = parameters[JobParameters.CancelOnDisconnect];
        if (text is not null && !bool.TryParse(text, out _))
        {
            mistakes.Add(JobParameters.CancelOnDisconnect, "true or false", $"\"{Excerpt.Of(text)}\"");
        }

        return bool.TryParse(text, out var cancels) && cancels;
    }

    /// <summary>Seconds, or a time like <c>500ms</c>: after that the answer is of no use, and what has not run expires.</summary>
    private TimeSpan? ReadTimeout(JobParameters parameters, Mistakes mistakes)
    {
        if (parameters[JobParameters.Timeout] is not { } text)
        {
            return null;
        }

        const string Form = "more than 0 seconds, or a time like 500ms, 2s or 1m";
        var isTime = Durations.TryParse(text, out var timeout) || Durations.TryParse($"{text}s", out timeout);
        if (!isTime || timeout <= TimeSpan.Zero)
        {
            mistakes.Add(JobParameters.Timeout, Form, $"\"{Excerpt.Of(text)}\"");
        }
        else if (timeout > options.DeadlineMax)
        {
            mistakes.Add(JobParameters.Timeout, $"at most {options.DeadlineMax.TotalDays:0.##} days", $"\"{text}\"");
        }
        else if (parameters[JobParameters.Deadline] is not null)
        {
            mistakes.Add(JobParameters.Timeout, "timeout or deadline", "both");
        }

        return timeout;
    }

    [LoggerMessage(60, LogLevel.Debug, "The client of job {Job} has gone after {WaitedMs} ms; cancelled: {Cancels}")]
    private static partial void LogLeft(ILogger log, JobId job, double waitedMs, bool cancels);
}
