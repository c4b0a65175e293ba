using System.Reflection;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
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

    /// <summary>Of a schema's metadata: the name under which it becomes a component, and whether null stands where it is used.</summary>
    private const string Name = "name";
    private const string Nullable = "nullable";

    /// <summary>Corrects what the framework cannot know: converters of ours, what is always written, doc comments.</summary>
    public static Task TransformAsync(OpenApiSchema schema, OpenApiSchemaTransformerContext context, CancellationToken stop)
    {
        var underlying = System.Nullable.GetUnderlyingType(context.JsonTypeInfo.Type);
        var type = underlying ?? context.JsonTypeInfo.Type;
        var isNullable = underlying is not null || context.JsonPropertyInfo?.IsGetNullable == true;
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
            schema.Type = JsonSchemaType.Integer;
            schema.Format = null;
        }

        if (schema.Type is { } said && context.JsonTypeInfo.Kind != JsonTypeInfoKind.Object)
        {
            schema.Type = isNullable ? said | JsonSchemaType.Null : said & ~JsonSchemaType.Null;
        }

        if (context.JsonPropertyInfo?.AttributeProvider is PropertyInfo property)
        {
            schema.Description = Docs.Of(property);
        }

        if (context.JsonTypeInfo.Kind == JsonTypeInfoKind.Object && schema.Properties is { Count: > 0 })
        {
            schema.Metadata ??= new Dictionary<string, object>();
            schema.Metadata[Name] = NameOf(type);
            schema.Metadata[Nullable] = isNullable;
            RequireWhatIsAlwaysWritten(schema, context.JsonTypeInfo);
        }

        return Task.CompletedTask;
    }

    /// <summary>Moves objects among the document's components, each once, and refers to them there.</summary>
    public static IOpenApiSchema Put(IOpenApiSchema found, OpenApiDocument document)
    {
        if (found is not OpenApiSchema schema)
        {
            return found;
        }

        schema.Items = schema.Items is { } items ? Put(items, document) : null;
        schema.AdditionalProperties = schema.AdditionalProperties is { } values ? Put(values, document) : null;
        foreach (var (name, property) in schema.Properties?.ToArray() ?? [])
        {
            schema.Properties![name] = Put(property, document);
        }

        if (schema.Metadata?.TryGetValue(Name, out var component) is not true)
        {
            return schema;
        }

        var isNullable = schema.Metadata[Nullable] is true;
        var meaning = schema.Description;
        schema.Description = null;
        var id = (string)component;
        document.AddComponent(id, schema);
        var reference = new OpenApiSchemaReference(id, document);
        return isNullable
            ? new OpenApiSchema { Description = meaning, OneOf = [reference, new OpenApiSchema { Type = JsonSchemaType.Null }] }
            : new OpenApiSchemaReference(id, document) { Description = meaning };
    }

    /// <summary>A member that has no setter is computed, and always there; one that is left out when null need not be.</summary>
    private static void RequireWhatIsAlwaysWritten(OpenApiSchema schema, JsonTypeInfo type)
    {
        schema.Required ??= new HashSet<string>();
        foreach (var property in type.Properties.Where(property => schema.Properties!.ContainsKey(property.Name)))
        {
            if (property.AttributeProvider?.IsDefined(typeof(JsonIgnoreAttribute), false) == true)
            {
                schema.Required.Remove(property.Name);
            }
            else if (property is { Set: null, AssociatedParameter: null })
            {
                schema.Required.Add(property.Name);
            }
        }
    }

    private static string NameOf(Type type) =>
        type.IsGenericType ? $"{type.Name.Split('`')[0]}Of{string.Concat(type.GetGenericArguments().Select(NameOf))}" : type.Name;

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
