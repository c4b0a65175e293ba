using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Pipeline.Contracts;

namespace Pipeline.Hosting.Api;

/// <summary>
/// What an endpoint promises. It hangs on the endpoint as metadata (<see cref="ApiOperations.Describe"/>); the standalone host makes the
/// OpenAPI document of it, with the schemas of the types that are named here.
/// </summary>
/// <param name="Id">OpenAPI's <c>operationId</c>; also the endpoint's name.</param>
/// <param name="Tag">One of <see cref="ApiTags"/>.</param>
/// <param name="Summary">One line.</param>
/// <param name="Promise">What it promises, in Markdown.</param>
public sealed record ApiOperation(string Id, string Tag, string Summary, string Promise)
{
    /// <summary>Path parameters, query parameters and headers.</summary>
    public IReadOnlyList<ApiParameter> Parameters { get; init; } = [];

    /// <summary>The forms in which a body is taken; none for a request without one.</summary>
    public IReadOnlyList<ApiBody> Bodies { get; init; } = [];

    /// <summary>The good answers, and those of the same form that say no.</summary>
    public required IReadOnlyList<ApiAnswer> Answers { get; init; }

    /// <summary>Every kind of failure it may answer with, besides <see cref="ApiOperations.Everywhere"/>.</summary>
    public IReadOnlyList<FailureKind> Errors { get; init; } = [];

    /// <summary>True where no API key is asked for; such an endpoint gives no problem bodies of its own.</summary>
    public bool IsPublic { get; init; }
}

/// <summary>Where a parameter stands.</summary>
public enum ApiPlace
{
    Path,
    Query,
    Header,
}

/// <summary>A parameter, with its bounds.</summary>
public sealed record ApiParameter(ApiPlace Place, string Name, ApiType Type, string Meaning)
{
    public bool Required { get; init; }

    public static ApiParameter Path(string name, ApiType type, string meaning) =>
        new(ApiPlace.Path, name, type, meaning) { Required = true };

    public static ApiParameter Query(string name, ApiType type, string meaning) => new(ApiPlace.Query, name, type, meaning);

    public static ApiParameter Header(string name, ApiType type, string meaning) => new(ApiPlace.Header, name, type, meaning);
}

/// <summary>A parameter's type, in the words of JSON Schema.</summary>
public sealed record ApiType(string Type)
{
    public string? Format { get; init; }
    public string? Pattern { get; init; }
    public long? Min { get; init; }
    public long? Max { get; init; }
    public int? LengthMin { get; init; }
    public int? LengthMax { get; init; }
    public IReadOnlyList<string>? Words { get; init; }

    /// <summary>Several words, separated by commas.</summary>
    public bool IsList { get; init; }

    /// <summary><c>name[key]=value</c> pairs.</summary>
    public bool IsPairs { get; init; }
    public JsonNode? Default { get; init; }

    public static readonly ApiType Id = new("string") { Format = "uuid" };
    public static readonly ApiType Time = new("string") { Format = "date-time" };
    public static readonly ApiType Flag = new("boolean") { Default = false };
    public static readonly ApiType Pairs = new("object") { IsPairs = true };

    public static ApiType Text(int? max = null, string? pattern = null) => new("string") { LengthMax = max, Pattern = pattern };

    public static ApiType Whole(long min, long max, long? byDefault = null) =>
        new("integer")
        {
            Min = min,
            Max = max,
            Default = byDefault is { } value ? JsonValue.Create(value) : null,
        };

    public static ApiType Word(IReadOnlyList<string> words, string? byDefault = null) =>
        new("string") { Words = words, Default = byDefault };

    public static ApiType List(IReadOnlyList<string> words) => new("array") { Words = words, IsList = true };
}

/// <summary>A form in which a body is taken.</summary>
/// <param name="Shape">A type with that shape; null for bytes or text that no JSON schema describes.</param>
/// <param name="Example">As it is sent: text, or JSON where the media type is JSON.</param>
public sealed record ApiBody(string MediaType, Type? Shape, string Meaning, string Example);

/// <summary>A good answer. Its example is a file of the standalone host, taken from a real answer.</summary>
/// <param name="MediaType">Null for an answer without a body.</param>
/// <param name="Shape">A type with that shape; null for bytes, lines or events.</param>
public sealed record ApiAnswer(int Status, string? MediaType, Type? Shape, string Meaning)
{
    /// <summary>Headers worth reading, with what they tell.</summary>
    public IReadOnlyDictionary<string, string> Headers { get; init; } = new Dictionary<string, string>();

    public static ApiAnswer Json<T>(string meaning, int status = StatusCodes.Status200OK) =>
        new(status, "application/json", typeof(T), meaning);
}

/// <summary>The chapters of the document.</summary>
public static class ApiTags
{
    public const string Jobs = "jobs";
    public const string Results = "results";
    public const string Inference = "inference";
    public const string OpenAi = "openai";
    public const string OpenInference = "open-inference-protocol";
    public const string Routes = "routes";
    public const string Webhooks = "webhooks";
    public const string Alerts = "alerts";
    public const string Prices = "prices";
    public const string Reports = "reports";
    public const string Fleet = "fleet";
    public const string Operations = "operations";
    public const string Service = "service";

    public static readonly IReadOnlyList<(string Tag, string Meaning)> All =
    [
        (Jobs, "Work that nobody waits for on the line: submit, follow, command."),
        (Results, "What became of a job: its results, its events, why it was planned as it was."),
        (Inference, "One or a few inputs, answered while the caller waits."),
        (OpenAi, "The part of OpenAI's API that its clients need: files, batches, embeddings, moderations, models."),
        (OpenInference, "The Open Inference Protocol, version 2, for clients of Triton and KServe. Errors have the protocol's form."),
        (Routes, "Ordered lists of models: a task goes on to the next where an answer is not accepted."),
        (
            Webhooks,
            "Calls to your addresses when something happens, signed as Standard Webhooks says: endpoints, and the log of deliveries."
        ),
        (Alerts, "What is wrong, for operators: alerts, their rules and silences, and probes with known answers."),
        (Prices, "What work costs and is charged, set by operators."),
        (Reports, "What was promised and what was kept: service levels of any window."),
        (Fleet, "The workers."),
        (Operations, "What keeps the service in order: recurring work, how long data is kept, and erasing it."),
        (Service, "Health, and this document."),
    ];
}

/// <summary>Hangs operations on endpoints.</summary>
public static class ApiOperations
{
    /// <summary>What any endpoint that needs a key may answer with.</summary>
    public static readonly IReadOnlyList<FailureKind> Everywhere =
    [
        FailureKind.Unauthorized,
        FailureKind.Unavailable,
        FailureKind.Internal,
    ];

    /// <summary>Says what an endpoint promises.</summary>
    public static TBuilder Describe<TBuilder>(this TBuilder endpoint, ApiOperation operation)
        where TBuilder : IEndpointConventionBuilder =>
        endpoint
            .WithName(operation.Id)
            .WithTags(operation.Tag)
            .WithSummary(operation.Summary)
            .WithDescription(operation.Promise)
            .WithMetadata(operation);

    /// <summary>Every kind of failure the operation may answer with.</summary>
    public static IReadOnlyList<FailureKind> AllErrors(this ApiOperation operation) =>
        operation.IsPublic ? operation.Errors : [.. Everywhere.Concat(operation.Errors).Distinct().Order()];
}
