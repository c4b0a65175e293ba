using System.Buffers.Binary;
using System.Globalization;
using System.Reflection;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Door;
using Pipeline.Ingest.Express;
using Pipeline.Ingest.Tasks;

namespace Pipeline.Ingest.OpenInference;

/// <summary>
/// The Open Inference Protocol, version 2, over HTTP (github.com/kserve/open-inference-protocol, inference_rest.md), with Triton's binary tensor
/// data and schedule policy extensions. A batch of n rows is n tasks, which go the express way and come back as one answer.
/// </summary>
internal sealed class InferenceProtocol(
    ModelCatalog models,
    Admission admission,
    ExpressPath path,
    Forecasts forecasts,
    BrokerGate broker,
    HealthCheckService health,
    IngestMetrics metrics,
    IngestOptions options,
    TimeProvider time,
    IHostApplicationLifetime lifetime
)
{
    /// <summary>The name the protocol's registry of platforms has for ONNX.</summary>
    private const string Platform = "onnx_onnxv1";

    /// <summary>What is on a device when its time is over may still end; the answer to what did not is told, too.</summary>
    private static readonly TimeSpan Slack = TimeSpan.FromSeconds(5);

    private static readonly string Version =
        typeof(InferenceProtocol).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0]
        ?? "";

    private static readonly string[] Extensions = ["binary_tensor_data", "schedule_policy"];

    public static IResult Server() =>
        Json(
            new
            {
                name = "pipeline",
                version = Version,
                extensions = Extensions,
            }
        );

    public static IResult Live() => Json(new { live = true });

    /// <summary>
    /// Ready means that work is accepted: PostgreSQL and the broker answer. The specification calls the member "live"; clients look for "ready".
    /// </summary>
    public async Task<IResult> ReadyAsync(HttpContext http)
    {
        var report = await health.CheckHealthAsync(check => check.Tags.Contains("ready"), http.RequestAborted);
        var ready = report.Status != HealthStatus.Unhealthy && broker.Refusal() is null;
        return Json(new { live = true, ready }, ready ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable);
    }

    public async Task<IResult> ModelAsync(HttpContext http, string name, string? version)
    {
        if (await FindAsync(name, version, http.RequestAborted) is not { } model)
        {
            return Unknown(name, version);
        }

        var tensors = ModelTensors.Of(model);
        var versions = await models.NamesAsync(http.RequestAborted);
        return Json(
            new
            {
                name = model.Name,
                versions = versions
                    .Where(v => v.StartsWith($"{model.Name}@", StringComparison.Ordinal))
                    .Select(v => v[(model.Name.Length + 1)..]),
                platform = Platform,
                inputs = tensors.Inputs.Select(Metadata),
                outputs = tensors.Outputs.Select(Metadata),
            }
        );
    }

    /// <summary>A model is ready when the scheduler knows of a living worker that may run it.</summary>
    public async Task<IResult> ModelReadyAsync(HttpContext http, string name, string? version)
    {
        if (await FindAsync(name, version, http.RequestAborted) is not { } model)
        {
            return Unknown(name, version);
        }

        var ready = forecasts.Fresh?.Pools.Any(pool => pool.Model == model.Ref && pool.Workers > 0) ?? false;
        return Json(new { name = model.Name, ready }, ready ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable);
    }

    public async Task<IResult> InferAsync(HttpContext http, string name, string? version)
    {
        if (await FindAsync(name, version, http.RequestAborted) is not { } model)
        {
            return Unknown(name, version);
        }

        var mistakes = new Mistakes(options.MistakesMax);
        var key = Idempotency.KeyOf(http.Request, mistakes);
        var (body, problem) = await Infer.ReadAsync(http, options, mistakes);
        if (problem is not null)
        {
            return problem;
        }

        var identity = RequestIdentity.Of(
            key,
            $"POST {model.Ref}/infer {http.Request.Headers[InferenceAnswer.JsonLengthHeader]}",
            body.Span
        );

        var tensors = ModelTensors.Of(model);
        if (ReadRequest(http.Request, ref body, tensors, mistakes) is not { } request)
        {
            return Admission.Refuse(mistakes);
        }

        CheckOutputs(request, tensors, mistakes);
        var (order, refused) = await admission.AdmitAsync(http.Tenant(), Parameters(model, request), mistakes, 0, http.RequestAborted);
        if (order is null)
        {
            return refused!;
        }

        var tasks = new InferenceInputs(model, tensors, options, mistakes).Read(request, body.Span);
        if (mistakes.Any)
        {
            return Admission.Refuse(mistakes);
        }

        var wait = Wait(request);
        order = order with { Deadline = order.CreatedAt + wait, DeadlineGiven = true };
        var outcome = await path.AcceptAsync(order, tasks, identity, tellsAtOnce: false, http.RequestAborted);
        if (outcome.Accepted is not { } accepted)
        {
            return outcome.Refused!;
        }

        using (accepted)
        {
            accepted.TellRepeat(http.Response);
            return await AnswerAsync(http, accepted, tensors, request, wait + Slack);
        }
    }

    private async Task<IResult> AnswerAsync(
        HttpContext http,
        ExpressAccepted accepted,
        ModelTensors tensors,
        InferenceRequest request,
        TimeSpan wait
    )
    {
        var began = time.GetTimestamp();
        using var either = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, lifetime.ApplicationStopping);
        try
        {
            var complete = await accepted.CompleteAsync(wait, either.Token);
            metrics.Answered(accepted, time.GetElapsedTime(began), complete ? "answered" : "late");
            return complete
                ? InferenceAnswer.Of(http, accepted, tensors, request)
                : NotYet(accepted, FailureKind.DeadlinePassed, "The time for an answer is over.");
        }
        catch (OperationCanceledException) when (http.RequestAborted.IsCancellationRequested)
        {
            metrics.Disconnected(time.GetElapsedTime(began));
            return CountedDoor.Gone();
        }
        catch (OperationCanceledException) when (either.IsCancellationRequested)
        {
            return NotYet(accepted, FailureKind.Unavailable, "This process is stopping.");
        }
    }

    private static ProblemResult NotYet(ExpressAccepted accepted, FailureKind kind, string why) =>
        new(Problems.From(kind, $"{why} What became of the work will be at {accepted.Job.Links.Results}.") with { Job = accepted.Job.Id });

    /// <summary>
    /// Priority 1 is express, 2 is standard. The default, 0, is express where it can be promised now and else standard: who did not ask for a
    /// class need not be refused one. The answer tells which it was.
    /// </summary>
    private static JobParameters Parameters(ModelManifest model, InferenceRequest request)
    {
        var parameters = new JobParameters(JobParameters.OfInference);
        parameters.Default(JobParameters.Model, model.Ref.ToString());
        parameters.Default(JobParameters.Class, (request.Priority == 2 ? LatencyClass.Standard : LatencyClass.Express).Name());
        parameters.Default(JobParameters.Fallback, request.Priority == 0 ? LatencyClass.Standard.Name() : null);
        parameters.Default(JobParameters.Group, request.Group);
        return parameters;
    }

    /// <summary>
    /// How long the answer is of use. The protocol has no way to come back for one, so nobody waits longer than
    /// <see cref="IngestOptions.ExpressWaitMax"/>, and what has not run by then expires.
    /// </summary>
    private TimeSpan Wait(InferenceRequest request)
    {
        var most = options.ExpressWaitMax;
        return request.TimeoutUs > 0 && request.TimeoutUs < most.TotalMicroseconds ? TimeSpan.FromMicroseconds(request.TimeoutUs) : most;
    }

    private static void CheckOutputs(InferenceRequest request, ModelTensors tensors, Mistakes mistakes)
    {
        for (var i = 0; i < request.Outputs.Count; i++)
        {
            var name = request.Outputs[i].Name;
            if (tensors.Outputs.All(output => output.Name != name))
            {
                var names = string.Join(", ", tensors.Outputs.Select(output => $"\"{output.Name}\""));
                mistakes.Add($"outputs[{i}].name", $"an output of the model: {names}", $"\"{Excerpt.Of(name)}\"");
            }
        }
    }

    /// <summary>The body is JSON, unless the header says that only a part of it is, or nothing.</summary>
    private static InferenceRequest? ReadRequest(HttpRequest http, ref ReadOnlyMemory<byte> body, ModelTensors tensors, Mistakes mistakes)
    {
        var header = http.Headers[InferenceAnswer.JsonLengthHeader].ToString();
        if (header.Length == 0)
        {
            return InferenceRequest.Read(body.Span, body.Length, mistakes);
        }

        if (!int.TryParse(header, NumberStyles.None, CultureInfo.InvariantCulture, out var length) || length > body.Length)
        {
            mistakes.Add(InferenceAnswer.JsonLengthHeader, $"0 to {body.Length}, the bytes of the body", $"\"{Excerpt.Of(header)}\"");
            return null;
        }

        if (length > 0)
        {
            return InferenceRequest.Read(body.Span, length, mistakes);
        }

        if (tensors.Inputs is [{ Type: TensorElementType.String }])
        {
            var text = new byte[sizeof(int) + body.Length];
            BinaryPrimitives.WriteInt32LittleEndian(text, body.Length);
            body.CopyTo(text.AsMemory(sizeof(int)));
            body = text;
        }

        return InferenceRequest.Raw(body.Length, tensors, mistakes);
    }

    private ValueTask<ModelManifest?> FindAsync(string name, string? version, CancellationToken stop) =>
        models.FindAsync(version is null ? name : $"{name}@{version}", stop);

    private static ProblemResult Unknown(string name, string? version) =>
        Problems.Result(
            FailureKind.UnknownModel,
            $"No model \"{Excerpt.Of(name)}\"{(version is null ? "" : $" of version \"{Excerpt.Of(version)}\"")} is registered.",
            JobParameters.Model
        );

    private static object Metadata(ModelTensor tensor) =>
        new
        {
            name = tensor.Name,
            datatype = tensor.Type.Datatype(),
            shape = tensor.Shape,
        };

    private static IResult Json(object value, int status = StatusCodes.Status200OK) =>
        Results.Json(value, ApiJson.Options, "application/json", status);
}

/// <summary>The protocol's addresses.</summary>
internal static class OpenInferenceRoutes
{
    /// <summary>Maps <c>/v2</c>. All but the health of the server needs an API key; inference counts against its limits.</summary>
    public static void MapOpenInference(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapGet("/v2/health/live", InferenceProtocol.Live).Describe(ProtocolOperations.Live);
        endpoints
            .MapGet("/v2/health/ready", (HttpContext http, InferenceProtocol protocol) => protocol.ReadyAsync(http))
            .Describe(ProtocolOperations.Ready);
        var v2 = endpoints.MapGroup("/v2").RequireApiKey();
        var inference = endpoints.MapGroup("/v2").CountAnswers(LatencyClass.Express).RequireApiKey().LimitByKey();
        v2.MapGet("", InferenceProtocol.Server).Describe(ProtocolOperations.Server);
        foreach (var ofVersion in new[] { false, true })
        {
            var model = ofVersion ? "/models/{m}/versions/{v}" : "/models/{m}";
            v2.MapGet(model, (HttpContext http, InferenceProtocol protocol, string m) => protocol.ModelAsync(http, m, Version(http)))
                .Describe(ProtocolOperations.Metadata(ofVersion));
            v2.MapGet(
                    $"{model}/ready",
                    (HttpContext http, InferenceProtocol protocol, string m) => protocol.ModelReadyAsync(http, m, Version(http))
                )
                .Describe(ProtocolOperations.ModelReady(ofVersion));
            inference
                .MapPost(
                    $"{model}/infer",
                    (HttpContext http, InferenceProtocol protocol, string m) => protocol.InferAsync(http, m, Version(http))
                )
                .Describe(ProtocolOperations.Infer(ofVersion));
        }
    }

    private static string? Version(HttpContext http) => http.Request.RouteValues["v"] as string;
}
