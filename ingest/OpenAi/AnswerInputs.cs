using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Hosting;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Door;
using Pipeline.Ingest.Express;
using Pipeline.Ingest.Tasks;
using Pipeline.OpenAi;
using Pipeline.OpenAi.Batches;

namespace Pipeline.Ingest.OpenAi;

/// <summary>
/// <c>POST /v1/embeddings</c> and <c>POST /v1/moderations</c>: answered while the caller waits, by the same way as <c>POST /v1/infer</c>.
/// <c>service_tier</c> is the class; the answer says which one served. Without one, or with <c>auto</c>, it is express where that can be
/// promised, else standard; a tier that was named is kept or refused.
/// </summary>
internal sealed class AnswerInputs(
    Admission admission,
    ExpressPath path,
    IngestMetrics metrics,
    IngestOptions options,
    TimeProvider time,
    IHostApplicationLifetime lifetime
)
{
    public async Task<IResult> HandleAsync(HttpContext http, string endpoint)
    {
        var (stop, mistakes) = (http.RequestAborted, new Mistakes(options.MistakesMax));
        var key = Idempotency.KeyOf(http.Request, mistakes);
        if (BodyStream.Open(http, mistakes) is not { } body || mistakes.Any)
        {
            return Admission.Refuse(mistakes);
        }

        if (await WholeBody.ReadAsync(body, options.ExpressBodyBytesMax, stop) is not { } bytes)
        {
            return Problems.Result(
                FailureKind.InputTooLarge,
                $"The body expects at most {options.ExpressBodyBytesMax} bytes; more is sent as a batch, POST /v1/batches."
            );
        }

        using var document = Parse(bytes, out var notJson);
        ProblemResult? refused = notJson;
        TellMistake tell = (_, param, message) => refused ??= Problems.Result(FailureKind.InvalidInput, message, param);
        var request = document is null ? null : RequestBody.Read(document.RootElement, endpoint, tell);
        return request is null
            ? refused!
            : await AnswerAsync(http, endpoint, request, RequestIdentity.Of(key, $"POST {endpoint}", bytes.Span));
    }

    private async Task<IResult> AnswerAsync(HttpContext http, string endpoint, RequestBody request, RequestIdentity? identity)
    {
        if (request.Inputs.Count > options.ExpressInputsMax)
        {
            return Problems.Result(
                FailureKind.InvalidInput,
                $"input: expected at most {options.ExpressInputsMax} inputs, given {request.Inputs.Count}; more is sent as a batch, POST /v1/batches.",
                "input"
            );
        }

        var (order, refused) = await AdmitAsync(http, request);
        if (order is null)
        {
            return refused!;
        }

        if (TaskInputs.Unsuited(order.Model, endpoint) is { } unsuited)
        {
            return Problems.Result(FailureKind.InvalidRequest, unsuited, "model");
        }

        var inputs = new TaskInputs(order.Model, options);
        if (inputs.DimensionsMistake(request.Dimensions) is { } dimensions)
        {
            return Problems.Result(FailureKind.InvalidRequest, dimensions, "dimensions");
        }

        var tasks = new ExpressTasks(order.Model, options, new Mistakes(1));
        for (var i = 0; i < request.Inputs.Count; i++)
        {
            if (Add(tasks, inputs, request, i) is { } mistake)
            {
                return mistake;
            }
        }

        var units = tasks.Units;
        var outcome = await path.AcceptAsync(order, tasks, identity, tellsAtOnce: false, http.RequestAborted);
        if (outcome.Accepted is not { } accepted)
        {
            return outcome.Refused!;
        }

        using (accepted)
        {
            accepted.TellRepeat(http.Response);
            return await WaitAsync(http, endpoint, request, order.Model, accepted, units);
        }
    }

    private ProblemResult? Add(ExpressTasks tasks, TaskInputs inputs, RequestBody request, int index)
    {
        var param = request.IsList ? $"input[{index}]" : "input";
        ProblemResult? refused = null;
        TellMistake tell = (_, where, message) => refused ??= Problems.Result(FailureKind.InvalidInput, message, where);
        if (!inputs.TryRead(request.Inputs[index], param, tell, out var stored, out var units))
        {
            return refused;
        }

        return tasks.TryAddStored(index.ToString(System.Globalization.CultureInfo.InvariantCulture), stored, units)
            ? null
            : Problems.Result(FailureKind.InvalidInput, $"{param}: expected {ExpressTasks.TogetherMax(options)}, given more.", param);
    }

    private async ValueTask<(JobOrder? Order, ProblemResult? Refused)> AdmitAsync(HttpContext http, RequestBody request)
    {
        ServiceTiers.TryParse(request.ServiceTier, LatencyClass.Express, out var latency);
        var parameters = new JobParameters(JobParameters.OfJobs);
        parameters.Default(JobParameters.Model, request.Model);
        http.Asks(parameters);
        parameters.Default(JobParameters.Class, latency.Name());
        parameters.Default(JobParameters.Group, request.Group);
        if (request.ServiceTier is null or "auto")
        {
            parameters.Default(JobParameters.Fallback, LatencyClass.Standard.Name());
        }

        return await admission.AdmitAsync(http.Tenant(), parameters, new Mistakes(1), 0, http.RequestAborted);
    }

    private async Task<IResult> WaitAsync(
        HttpContext http,
        string endpoint,
        RequestBody request,
        ModelManifest model,
        ExpressAccepted accepted,
        long units
    )
    {
        var began = time.GetTimestamp();
        using var either = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, lifetime.ApplicationStopping);
        try
        {
            var complete = await accepted.CompleteAsync(options.OpenAiWaitMax, either.Token);
            metrics.Answered(accepted, time.GetElapsedTime(began), complete ? "answered" : "late");
            if (!complete)
            {
                return Late(accepted);
            }
        }
        catch (OperationCanceledException) when (http.RequestAborted.IsCancellationRequested)
        {
            metrics.Disconnected(time.GetElapsedTime(began));
            return CountedDoor.Gone();
        }
        catch (OperationCanceledException) when (either.IsCancellationRequested)
        {
            return Late(accepted);
        }

        var answers = accepted.Results();
        var failed = answers.FirstOrDefault(answer => answer.Output is null);
        if (failed is not null || answers.Count < request.Inputs.Count)
        {
            var kind = Enum.GetValues<FailureKind>().FirstOrDefault(k => k.Info().Code == failed?.ErrorCode, FailureKind.Internal);
            var param = request.IsList && failed is not null ? $"input[{failed.Seq}]" : "input";
            return new ProblemResult(
                Problems.From(kind, failed?.ErrorMessage ?? "The work ended without a result.", param) with
                {
                    Job = accepted.Job.Id,
                }
            );
        }

        using var reply = new MemoryStream();
        await using (var json = new Utf8JsonWriter(reply))
        {
            StoredOutput[] outputs = [.. answers.Select(answer => new StoredOutput(answer.Output!, answer.ContentType!))];
            ResponseBody.Write(json, endpoint, request, model, outputs, units, accepted.Job.Class, $"modr-{accepted.Job.Id.Value:N}");
        }

        return Results.Bytes(reply.ToArray(), "application/json");
    }

    /// <summary>The caller's patience is over; a second try would be a second job, so it is told where the first one is.</summary>
    private ProblemResult Late(ExpressAccepted accepted) =>
        new(
            Problems.From(
                FailureKind.DeadlinePassed,
                $"No answer within {options.OpenAiWaitMax.TotalSeconds:0} s. The work goes on: GET /v1/infer/{accepted.Job.Id} has its results."
            ) with
            {
                Job = accepted.Job.Id,
                Retry = false,
                Next = $"Ask GET /v1/infer/{accepted.Job.Id} for the results; sending the request again makes a second job.",
            }
        );

    private static JsonDocument? Parse(ReadOnlyMemory<byte> bytes, out ProblemResult? problem)
    {
        problem = null;
        try
        {
            var body = JsonDocument.Parse(bytes);
            if (!SurrogatePairs.HasHalfPair(bytes.Span))
            {
                return body;
            }

            body.Dispose();
            problem = Problems.Result(
                FailureKind.InvalidRequest,
                $"The body expects {SurrogatePairs.Paired}, given {SurrogatePairs.HalfPair}."
            );
            return null;
        }
        catch (JsonException e)
        {
            problem = Problems.Result(FailureKind.InvalidRequest, $"The body expects a JSON object, given what is not JSON: {e.Message}");
            return null;
        }
    }
}
