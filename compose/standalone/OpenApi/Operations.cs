using System.Text.Json.Nodes;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.Standalone.OpenApi;

/// <summary>Turns an endpoint's <see cref="ApiOperation"/> into its operation of the document.</summary>
internal static class Operations
{
    /// <summary>Gives the schema of a type, and puts it among the document's components.</summary>
    public delegate Task<IOpenApiSchema> SchemaOf(Type type);

    public static async Task TransformAsync(OpenApiOperation operation, OpenApiOperationTransformerContext context, CancellationToken stop)
    {
        var described =
            context.Description.ActionDescriptor.EndpointMetadata.OfType<ApiOperation>().LastOrDefault()
            ?? throw new InvalidOperationException($"{context.Description.RelativePath} says nothing of itself: give it a Describe(…).");
        await FillAsync(
            operation,
            described,
            context.Document!,
            $"/{context.Description.RelativePath}",
            async type => Schemas.Put(await context.GetOrCreateSchemaAsync(type, null, stop), context.Document!)
        );
    }

    public static async Task FillAsync(
        OpenApiOperation operation,
        ApiOperation described,
        OpenApiDocument document,
        string path,
        SchemaOf schemaOf
    )
    {
        operation.OperationId = described.Id;
        operation.Summary = described.Summary;
        operation.Description = described.Promise;
        operation.Tags = new HashSet<OpenApiTagReference> { new(described.Tag, document) };
        operation.Parameters = described.Parameters.Count > 0 ? [.. described.Parameters.Select(Parameter)] : null;
        operation.RequestBody = described.Bodies.Count > 0 ? await BodyAsync(described, schemaOf) : null;
        operation.Security = described.IsPublic ? [] : null;
        operation.Responses = [];
        foreach (var answers in described.Answers.GroupBy(answer => answer.Status))
        {
            operation.Responses[Text(answers.Key)] = await ResponseAsync(described, [.. answers], schemaOf);
        }

        var isOpenInference = path.StartsWith(OpenInferenceError.Paths, StringComparison.Ordinal);
        foreach (var kinds in described.AllErrors().GroupBy(kind => kind.Info().HttpStatus).OrderBy(kinds => kinds.Key))
        {
            // Where a good answer has the same status its description says which is which.
            var key = Text(kinds.Key);
            var error = Errors.Response(document, isOpenInference, [.. kinds]);
            if (operation.Responses.TryGetValue(key, out var good))
            {
                Join((OpenApiResponse)good, error.Target!);
            }
            else
            {
                operation.Responses[key] = error;
            }
        }

        Sort(operation.Responses);
    }

    private static void Sort(OpenApiResponses responses)
    {
        var sorted = responses.OrderBy(response => response.Key, StringComparer.Ordinal).ToList();
        responses.Clear();
        foreach (var (status, response) in sorted)
        {
            responses[status] = response;
        }
    }

    private static OpenApiParameter Parameter(ApiParameter parameter)
    {
        var made = new OpenApiParameter
        {
            Name = parameter.Name,
            In = Enum.Parse<ParameterLocation>(parameter.Place.ToString()),
            Required = parameter.Required,
            Description = parameter.Meaning,
            Schema = Schemas.Of(parameter.Type),
        };
        if (parameter.Type.IsList)
        {
            // Words separated by commas.
            made.Explode = false;
        }
        else if (parameter.Type.IsPairs)
        {
            made.Style = ParameterStyle.DeepObject;
            made.Explode = true;
        }

        return made;
    }

    private static async Task<OpenApiRequestBody> BodyAsync(ApiOperation described, SchemaOf schemaOf)
    {
        var body = new OpenApiRequestBody
        {
            Required = true,
            Description = string.Join("\n\n", described.Bodies.Select(form => $"`{form.MediaType}`: {form.Meaning}")),
            Content = new Dictionary<string, OpenApiMediaType>(),
        };
        foreach (var form in described.Bodies)
        {
            body.Content[form.MediaType] = new OpenApiMediaType
            {
                Schema = await SchemaAsync(form.Shape, form.MediaType, schemaOf),
                Example = Example(form.Example, form.MediaType),
            };
        }

        return body;
    }

    private static async Task<OpenApiResponse> ResponseAsync(ApiOperation described, IReadOnlyList<ApiAnswer> answers, SchemaOf schemaOf)
    {
        var response = new OpenApiResponse { Description = string.Join("\n\n", answers.Select(answer => answer.Meaning).Distinct()) };
        foreach (var answer in answers.Where(answer => answer.MediaType is not null))
        {
            response.Content ??= new Dictionary<string, OpenApiMediaType>();
            response.Content[answer.MediaType!] = new OpenApiMediaType
            {
                Schema = await SchemaAsync(answer.Shape, answer.MediaType!, schemaOf),
                Example = Examples.Find(described.Id, answer.Status, answer.MediaType!) is { } text
                    ? Example(text, answer.MediaType!)
                    : null,
            };
        }

        foreach (var (name, meaning) in answers.SelectMany(answer => answer.Headers))
        {
            response.Headers ??= new Dictionary<string, IOpenApiHeader>();
            response.Headers[name] = Header(meaning);
        }

        return response;
    }

    public static OpenApiHeader Header(string meaning) =>
        new()
        {
            Description = meaning,
            Schema = new OpenApiSchema { Type = JsonSchemaType.String },
        };

    private static async Task<IOpenApiSchema?> SchemaAsync(Type? shape, string mediaType, SchemaOf schemaOf) =>
        shape is not null ? await schemaOf(shape)
        : mediaType == "application/json" ? new OpenApiSchema { Type = JsonSchemaType.Object }
        : mediaType == "application/octet-stream" ? new OpenApiSchema { Type = JsonSchemaType.String, Format = "binary" }
        : new OpenApiSchema { Type = JsonSchemaType.String };

    private static JsonNode Example(string text, string mediaType) =>
        mediaType.EndsWith("json", StringComparison.Ordinal) && !mediaType.EndsWith("ndjson", StringComparison.Ordinal)
            ? JsonNode.Parse(text)!
            : JsonValue.Create(text);

    private static void Join(OpenApiResponse good, IOpenApiResponse error)
    {
        good.Description = $"{good.Description}\n\n{error.Description}";
        good.Headers ??= new Dictionary<string, IOpenApiHeader>();
        foreach (var (name, header) in error.Headers ?? new Dictionary<string, IOpenApiHeader>())
        {
            good.Headers.TryAdd(name, header);
        }

        foreach (var (mediaType, content) in error.Content!)
        {
            if (good.Content!.TryGetValue(mediaType, out var other))
            {
                good.Content[mediaType] = new OpenApiMediaType
                {
                    Schema = new OpenApiSchema { AnyOf = [other.Schema!, content.Schema!] },
                    Examples = Named(other, content),
                };
            }
            else
            {
                good.Content[mediaType] = content;
            }
        }
    }

    private static Dictionary<string, IOpenApiExample> Named(OpenApiMediaType good, OpenApiMediaType error)
    {
        var examples = new Dictionary<string, IOpenApiExample>(error.Examples ?? new Dictionary<string, IOpenApiExample>());
        if (good.Example is { } example)
        {
            examples["answer"] = new OpenApiExample { Value = example };
        }

        return examples;
    }

    private static string Text(int status) => status.ToString(System.Globalization.CultureInfo.InvariantCulture);
}
