using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Http;
using Pipeline.Contracts;
using Pipeline.Hosting.Api;
using Pipeline.Ingest.Express;

namespace Pipeline.Ingest.OpenInference;

/// <summary>What the Open Inference Protocol's endpoints promise, for the API's document.</summary>
internal static class ProtocolOperations
{
    private const string Binary = "application/octet-stream";
    private static readonly IngestOptions Defaults = new();

    private static readonly ApiParameter Model = ApiParameter.Path("m", ApiType.Text(), "The model's name.");
    private static readonly ApiParameter ModelVersion = ApiParameter.Path("v", ApiType.Text(), "Its version.");

    private static readonly IReadOnlyDictionary<string, string> JsonLength = new Dictionary<string, string>
    {
        [InferenceAnswer.JsonLengthHeader] = "With binary data: how many bytes of the body are JSON; the raw tensors follow.",
    };

    public static readonly ApiOperation Live = new("getServerLive", ApiTags.OpenInference, "Whether the server lives.", "Needs no key.")
    {
        IsPublic = true,
        Answers = [ApiAnswer.Json<ServerLive>("It lives.")],
    };

    public static readonly ApiOperation Ready = new(
        "getServerReady",
        ApiTags.OpenInference,
        "Whether work is accepted.",
        "Needs no key. PostgreSQL and the broker answer."
    )
    {
        IsPublic = true,
        Answers =
        [
            ApiAnswer.Json<ServerReady>("Work is accepted."),
            ApiAnswer.Json<ServerReady>("It is not, now.", StatusCodes.Status503ServiceUnavailable),
        ],
    };

    public static readonly ApiOperation Server = new(
        "getServerMetadata",
        ApiTags.OpenInference,
        "Name, version and extensions of the server.",
        "The extensions are Triton's."
    )
    {
        Answers = [ApiAnswer.Json<ServerMetadata>("What the server is.")],
    };

    /// <param name="ofVersion">For the path that names a version, too.</param>
    public static ApiOperation Metadata(bool ofVersion) =>
        OfModel("getModelMetadata", "A model's versions and tensors.", "−1 stands where any size will do.", ofVersion) with
        {
            Answers = [ApiAnswer.Json<ModelMetadata>("Versions and tensors.")],
        };

    public static ApiOperation ModelReady(bool ofVersion) =>
        OfModel(
            "getModelReady",
            "Whether a model is ready.",
            "Ready means that the scheduler knows of a living worker that may run it.",
            ofVersion
        ) with
        {
            Answers =
            [
                ApiAnswer.Json<ModelReadiness>("It is ready."),
                ApiAnswer.Json<ModelReadiness>(
                    "No worker is known that may run it (`ready` is false).",
                    StatusCodes.Status503ServiceUnavailable
                ),
            ],
        };

    public static ApiOperation Infer(bool ofVersion) =>
        OfModel(
            "inferTensors",
            "Runs a batch of rows while the caller waits.",
            $"""
            A batch of n rows is n tasks, at most {Defaults.ExpressInputsMax}, on the express path; one row that failed is the whole answer. `parameters.priority` 1 is express, 2 standard, 0
            or none express where it can be promised now, else standard. `parameters.timeout` is in microseconds: what has not run by then expires (504), after
            {Defaults.ExpressWaitMax.TotalSeconds:0} s at most. `parameters.group` names the group the rows belong to. `parameters` of the answer names the `job`, its class and its cost.
            """,
            ofVersion
        ) with
        {
            Parameters =
            [
                .. Names(ofVersion),
                ApiParameters.IdempotencyKey,
                ApiParameter.Header(
                    InferenceAnswer.JsonLengthHeader,
                    ApiType.Whole(0, Defaults.ExpressBodyBytesMax),
                    "How many bytes of the body are JSON; raw tensors follow, of as many bytes as each input's `binary_data_size`. 0: the body is one raw row of the only input."
                ),
            ],
            Bodies =
            [
                new(
                    "application/json",
                    typeof(InferenceBody),
                    $"At most {Defaults.ExpressBodyBytesMax:N0} bytes; packed as `Content-Encoding` says.",
                    """{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [2], "data": ["Guten Morgen", "good morning"]}]}"""
                ),
                new(Binary, null, "The same JSON with raw tensors behind it, or one raw row.", "Guten Morgen"),
            ],
            Answers =
            [
                ApiAnswer.Json<InferenceResult>("The outputs.") with
                {
                    Headers = InferOperations.LimitsAndReplay,
                },
                new(StatusCodes.Status200OK, Binary, null, "Where binary data was asked for: the JSON, and raw tensors behind it.")
                {
                    Headers = JsonLength,
                },
            ],
            Errors =
            [
                .. InferOperations.Refusals,
                .. InferOperations.Endings,
                FailureKind.UnknownJob,
                FailureKind.IdempotencyInProgress,
                FailureKind.IdempotencyConflict,
            ],
        };

    private static ApiOperation OfModel(string id, string summary, string promise, bool ofVersion) =>
        new(ofVersion ? $"{id}OfVersion" : id, ApiTags.OpenInference, summary, ofVersion ? promise : $"{promise} Of the current version.")
        {
            Parameters = Names(ofVersion),
            Answers = [],
            Errors = [FailureKind.UnknownModel],
        };

    private static IReadOnlyList<ApiParameter> Names(bool ofVersion) => ofVersion ? [Model, ModelVersion] : [Model];
}

/// <summary>The answer of <c>health/live</c>.</summary>
internal sealed record ServerLive(bool Live);

/// <summary>The answer of <c>health/ready</c>.</summary>
internal sealed record ServerReady(bool Live, bool Ready);

/// <summary>The answer of <c>/v2</c>.</summary>
internal sealed record ServerMetadata(string Name, string Version, IReadOnlyList<string> Extensions);

/// <summary>A model, as the protocol tells of it.</summary>
internal sealed record ModelMetadata(
    string Name,
    IReadOnlyList<string> Versions,
    string Platform,
    IReadOnlyList<TensorMetadata> Inputs,
    IReadOnlyList<TensorMetadata> Outputs
);

/// <summary>A tensor of a model; −1 in its shape where any size will do.</summary>
internal sealed record TensorMetadata(string Name, string Datatype, IReadOnlyList<long> Shape);

/// <summary>Whether a model is ready.</summary>
internal sealed record ModelReadiness(string Name, bool Ready);

/// <summary>The shape of the JSON that <see cref="InferenceRequest"/> reads.</summary>
internal sealed record InferenceBody
{
    public string? Id { get; init; }
    public JsonElement? Parameters { get; init; }
    public required IReadOnlyList<InferenceBodyInput> Inputs { get; init; }
    public IReadOnlyList<InferenceBodyOutput>? Outputs { get; init; }
}

/// <summary>A tensor of a request.</summary>
internal sealed record InferenceBodyInput
{
    public required string Name { get; init; }
    public required string Datatype { get; init; }
    public required IReadOnlyList<long> Shape { get; init; }

    /// <summary>Its elements, flat or nested; or <c>binary_data_size</c> among the parameters.</summary>
    public JsonElement? Data { get; init; }
    public JsonElement? Parameters { get; init; }
}

/// <summary>An output that is asked for; <c>binary_data</c> among its parameters.</summary>
internal sealed record InferenceBodyOutput
{
    public required string Name { get; init; }
    public JsonElement? Parameters { get; init; }
}

/// <summary>The shape of the JSON that <see cref="InferenceAnswer"/> writes.</summary>
internal sealed record InferenceResult
{
    public required string ModelName { get; init; }
    public required string ModelVersion { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Id { get; init; }
    public required InferenceResultParameters Parameters { get; init; }
    public required IReadOnlyList<InferenceResultOutput> Outputs { get; init; }
}

/// <summary>The job behind an answer.</summary>
internal sealed record InferenceResultParameters(JobId Job, LatencyClass Class, decimal CostPicoUsd);

/// <summary>A tensor of an answer.</summary>
internal sealed record InferenceResultOutput
{
    public required string Name { get; init; }
    public required string Datatype { get; init; }
    public required IReadOnlyList<long> Shape { get; init; }

    /// <summary>Its elements; or <c>binary_data_size</c> among the parameters.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public JsonElement? Data { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public JsonElement? Parameters { get; init; }
}
