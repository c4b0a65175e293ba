using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.OpenApi;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Standalone.OpenApi;

/// <summary>
/// Error responses. Operations that may give the same codes under the same status share one component, whose name says them:
/// <c>Error.404.job_not_found</c>.
/// </summary>
internal static class Errors
{
    /// <summary>A reference to the response that tells of these kinds, all of one status.</summary>
    public static OpenApiResponseReference Response(OpenApiDocument document, bool isOpenInference, IReadOnlyList<FailureKind> kinds)
    {
        List<FailureInfo> infos = [.. kinds.Select(kind => kind.Info())];
        var status = infos[0].HttpStatus;
        var name = string.Create(
            CultureInfo.InvariantCulture,
            $"{(isOpenInference ? "OpenInferenceError" : "Error")}.{status}.{string.Join('.', infos.Select(info => info.Code))}"
        );
        document.AddComponent<IOpenApiResponse>(name, Make(document, isOpenInference, infos));
        return new OpenApiResponseReference(name, document);
    }

    private static OpenApiResponse Make(OpenApiDocument document, bool isOpenInference, IReadOnlyList<FailureInfo> infos)
    {
        var body = new OpenApiMediaType
        {
            Schema = new OpenApiSchema
            {
                AllOf =
                [
                    new OpenApiSchemaReference(isOpenInference ? nameof(OpenInferenceError) : nameof(Problem), document),
                    new OpenApiSchema
                    {
                        Properties = new Dictionary<string, IOpenApiSchema>
                        {
                            ["code"] = new OpenApiSchema { Enum = Schemas.Words([.. infos.Select(info => info.Code)]) },
                        },
                    },
                ],
            },
        };
        foreach (var info in infos)
        {
            if (Examples.OfProblem(info.Code) is { } problem)
            {
                var key = $"{(isOpenInference ? "open_inference" : "problem")}.{info.Code}";
                var value = isOpenInference ? AsOpenInference(problem) : problem;
                document.AddComponent<IOpenApiExample>(key, new OpenApiExample { Summary = info.Title, Value = value });
                body.Examples ??= new Dictionary<string, IOpenApiExample>();
                body.Examples[info.Code] = new OpenApiExampleReference(key, document);
            }
        }

        var response = new OpenApiResponse
        {
            Description = string.Join('\n', infos.Select(Line)),
            Content = new Dictionary<string, OpenApiMediaType>
            {
                [isOpenInference ? "application/json" : "application/problem+json"] = body,
            },
        };
        Tell(response, infos);
        return response;
    }

    private static void Tell(OpenApiResponse response, IReadOnlyList<FailureInfo> infos)
    {
        response.Headers = new Dictionary<string, IOpenApiHeader>();
        if (infos.Any(info => info.HttpStatus is 429 or >= 500 || (info.HttpStatus == 409 && info.Retry)))
        {
            response.Headers["Retry-After"] = Operations.Header("Seconds after which to come back.");
        }

        if (infos.Any(info => !info.Retry))
        {
            response.Headers["x-should-retry"] = Operations.Header("`false` where sending the same again cannot help.");
        }
    }

    private static string Line(FailureInfo info) =>
        $"* `{info.Code}`: {info.Title}. {info.Next} {(info.Retry ? "A retry helps." : "A retry of the same does not help.")}";

    private static JsonNode AsOpenInference(JsonNode problem) =>
        JsonSerializer.SerializeToNode(OpenInferenceError.Of(problem.Deserialize<Problem>(ApiJson.Options)!), ApiJson.Options)!;
}
