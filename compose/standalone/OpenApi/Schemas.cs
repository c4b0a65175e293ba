using System.Text.Json.Nodes;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.Standalone.OpenApi;

/// <summary>Schemas of what the serializer writes by converters of ours, of parameters, and of failure codes.</summary>
internal static class Schemas
{
    public const string FailureCode = "FailureCode";

    /// <summary>Types that are written as one string.</summary>
    public static Task TransformAsync(OpenApiSchema schema, OpenApiSchemaTransformerContext context, CancellationToken stop)
    {
        var type = Nullable.GetUnderlyingType(context.JsonTypeInfo.Type) ?? context.JsonTypeInfo.Type;
        if (type == typeof(ModelRef))
        {
            schema.Type = JsonSchemaType.String;
            schema.Pattern = "^[^@]+@.+$";
        }
        else if (type.GetInterfaces().Any(i => i.IsGenericType && i.GetGenericTypeDefinition() == typeof(IEntityId<>)))
        {
            schema.Type = JsonSchemaType.String;
            schema.Format = "uuid";
        }
        else if (type.IsEnum)
        {
            schema.Type = JsonSchemaType.String;
        }
        else if (type == typeof(decimal))
        {
            // Amounts of pico-dollars: whole numbers of any size.
            schema.Type = (schema.Type & JsonSchemaType.Null) | JsonSchemaType.Integer;
            schema.Format = null;
        }

        if (Nullable.GetUnderlyingType(context.JsonTypeInfo.Type) is not null && type != typeof(decimal))
        {
            schema.Type |= JsonSchemaType.Null;
        }

        return Task.CompletedTask;
    }

    /// <summary>A parameter's schema.</summary>
    public static OpenApiSchema Of(ApiType type)
    {
        var schema = new OpenApiSchema
        {
            Type = Enum.Parse<JsonSchemaType>(type.Type, ignoreCase: true),
            Format = type.Format,
            Pattern = type.Pattern,
            Minimum = type.Min?.ToString(System.Globalization.CultureInfo.InvariantCulture),
            Maximum = type.Max?.ToString(System.Globalization.CultureInfo.InvariantCulture),
            MinLength = type.LengthMin,
            MaxLength = type.LengthMax,
            Default = type.Default?.DeepClone(),
        };
        var words = type.Words is { } allowed ? Words(allowed) : null;
        if (type.IsList)
        {
            schema.Items = new OpenApiSchema { Type = JsonSchemaType.String, Enum = words };
        }
        else if (type.IsPairs)
        {
            schema.AdditionalProperties = new OpenApiSchema { Type = JsonSchemaType.String };
        }
        else
        {
            schema.Enum = words;
        }

        return schema;
    }

    /// <summary>The codes, with what each means, what to do next and whether a retry helps: for people as a table, for programs as <c>x-codes</c>.</summary>
    public static OpenApiSchema FailureCodes()
    {
        var rows = FailureKinds.All.Select(kind => kind.Info()).ToList();
        var table = rows.Select(info =>
            $"| `{info.Code}` | {info.HttpStatus} | {info.Title} | {(info.Retry ? "yes" : "no")} | {info.Next} |"
        );
        var codes = new JsonObject();
        foreach (var info in rows)
        {
            codes[info.Code] = new JsonObject
            {
                ["status"] = info.HttpStatus,
                ["fault"] = info.Fault.ToString().ToLowerInvariant(),
                ["retry"] = info.Retry,
                ["meaning"] = info.Title,
                ["next"] = info.Next,
            };
        }

        return new OpenApiSchema
        {
            Type = JsonSchemaType.String,
            Description =
                "Stable code of a failure.\n\n| code | status | meaning | does a retry help | what to do next |\n|---|---|---|---|---|\n"
                + string.Join('\n', table),
            Enum = Words([.. rows.Select(info => info.Code)]),
            Extensions = new Dictionary<string, IOpenApiExtension> { ["x-codes"] = new JsonNodeExtension(codes) },
        };
    }

    public static List<JsonNode> Words(IReadOnlyList<string> words) => [.. words.Select(word => JsonValue.Create(word))];
}
