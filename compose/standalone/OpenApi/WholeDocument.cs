using Microsoft.AspNetCore.OpenApi;
using Microsoft.AspNetCore.Routing;
using Microsoft.OpenApi;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.Standalone.OpenApi;

/// <summary>What the document says as a whole: the service, the key, the codes; and its order.</summary>
internal static class WholeDocument
{
    private const string Key = "apiKey";

    private const string Meaning = """
        AI inference as asynchronous work: one fleet serves cheap bulk and fast express.

        Work carries a **latency class**. `express` is answered in half a second or refused at the door, `standard` in half a minute, `bulk` in its
        window, at a quarter of the price of express. A job's tasks end exactly once: `succeeded`, `failed`, `expired` or `cancelled`.

        **Addresses.** One process, or a gateway, serves all paths. Where none stands before the services, ingest serves the writes, inference,
        `/v2` and all of the OpenAI-compatible paths, results-api the other reads.

        **Errors** are RFC 9457 problem bodies: `code` is stable, `retry` says whether the same request may succeed later, `next` what to do, `errors`
        every mistake with its place (line, field), what was expected and what was given. OpenAI's clients find `error`. Each operation names the
        codes it may give; the schema `FailureCode` explains them all. A path or method that does not exist gives `route_not_found` (404, 405, 415).

        Every reply has an `x-request-id`. A query parameter that nobody knows is refused, since a misspelt filter would otherwise be none.
        Amounts are in pico-USD (10⁻¹² $). Sizes and counts that are bounded here are options of the services; the document has their defaults.
        """;

    public static async Task TransformAsync(OpenApiDocument document, OpenApiDocumentTransformerContext context, CancellationToken stop)
    {
        document.Info = new OpenApiInfo
        {
            Title = "Pipeline",
            Version = typeof(WholeDocument).Assembly.GetName().Version!.ToString(3),
            Description = Meaning,
        };
        document.Servers = [new OpenApiServer { Url = "/" }];
        document.Tags = ApiTags.All.Select(tag => new OpenApiTag { Name = tag.Tag, Description = tag.Meaning }).ToHashSet();
        AddKey(document);
        await AddUndescribedAsync(document, context, stop);
        await AddErrorsAsync(document, context, stop);
        Order(document);
    }

    private static void AddKey(OpenApiDocument document)
    {
        document.AddComponent<IOpenApiSecurityScheme>(
            Key,
            new OpenApiSecurityScheme
            {
                Type = SecuritySchemeType.Http,
                Scheme = "bearer",
                Description =
                    "An API key. It belongs to a tenant, who sees its own jobs, files and batches and nobody else's. An operator's key acts for the tenant whose id the header `Act-For-Tenant` names; what it changes is kept in the audit, with the reason that the header `Audit-Reason` tells.",
            }
        );
        document.Security = [new() { [new OpenApiSecuritySchemeReference(Key, document)] = [] }];
    }

    /// <summary>Health checks are mapped for any method, which the framework leaves out.</summary>
    private static async Task AddUndescribedAsync(
        OpenApiDocument document,
        OpenApiDocumentTransformerContext context,
        CancellationToken stop
    )
    {
        foreach (var endpoint in OpenApiMaker.Endpoints(context.ApplicationServices))
        {
            if (
                endpoint.Metadata.GetMetadata<ApiOperation>() is { } described
                && endpoint.Metadata.GetMetadata<HttpMethodMetadata>() is null
            )
            {
                var operation = new OpenApiOperation();
                var path = endpoint.RoutePattern.RawText!;
                await Operations.FillAsync(
                    operation,
                    described,
                    document,
                    path,
                    async type => Schemas.Put(await context.GetOrCreateSchemaAsync(type, null, stop), document)
                );
                document.Paths[path] = new OpenApiPathItem { Operations = new() { [HttpMethod.Get] = operation } };
            }
        }
    }

    private static async Task AddErrorsAsync(OpenApiDocument document, OpenApiDocumentTransformerContext context, CancellationToken stop)
    {
        document.AddComponent(Schemas.FailureCode, Schemas.FailureCodes());
        foreach (var type in new[] { typeof(Problem), typeof(OpenInferenceError) })
        {
            var schema = await context.GetOrCreateSchemaAsync(type, null, stop);
            schema.Properties!["code"] = new OpenApiSchemaReference(Schemas.FailureCode, document);
            Schemas.Put(schema, document);
        }
    }

    private static void Order(OpenApiDocument document)
    {
        var paths = new OpenApiPaths();
        foreach (var (path, item) in document.Paths.OrderBy(path => path.Key, StringComparer.Ordinal))
        {
            paths[path] = item;
        }

        document.Paths = paths;
        var components = document.Components!;
        components.Schemas = Sorted(components.Schemas);
        components.Responses = Sorted(components.Responses);
        components.Examples = Sorted(components.Examples);
    }

    private static Dictionary<string, T>? Sorted<T>(IDictionary<string, T>? items) =>
        items?.OrderBy(item => item.Key, StringComparer.Ordinal).ToDictionary(item => item.Key, item => item.Value, StringComparer.Ordinal);
}
