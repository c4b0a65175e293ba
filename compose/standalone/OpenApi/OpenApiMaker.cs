using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.OpenApi;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Hosting.Telemetry;
using Pipeline.Ingest;
using Pipeline.ResultsApi;
using Pipeline.Standalone.Host;

namespace Pipeline.Standalone.OpenApi;

/// <summary>
/// Makes the OpenAPI document of the whole API from the endpoints as the standalone host maps them; nothing is started. Paths and schemas
/// come from ASP.NET Core, what each operation promises from its <see cref="ApiOperation"/>, errors from <c>FailureKinds</c>.
/// </summary>
internal static class OpenApiMaker
{
    private const string Name = "openapi";

    /// <summary>The document as it is checked in: JSON, in an order that does not change, with line breaks as Unix has them.</summary>
    public static async Task<string> MakeAsync(CancellationToken stop = default)
    {
        await using var app = Build();
        var document = await app.Services.GetRequiredKeyedService<IOpenApiDocumentProvider>(Name).GetOpenApiDocumentAsync(stop);
        return $"{(await document.SerializeAsJsonAsync(OpenApiSpecVersion.OpenApi3_1, stop)).ReplaceLineEndings("\n").TrimEnd()}\n";
    }

    /// <summary>Every endpoint of the standalone host.</summary>
    public static IReadOnlyList<RouteEndpoint> Endpoints(IServiceProvider services) =>
        [.. services.GetRequiredService<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>()];

    /// <summary>The host's endpoints without its servers.</summary>
    public static WebApplication Build()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Services.AddPipelineDefaults(
            new PipelineOptions
            {
                Database = "Host=unused",
                Broker = PipelineOptions.InMemoryBroker,
                ModelsFolder = "unused",
            }
        );
        builder.Services.AddIngest(builder.Configuration);
        builder.Services.AddResultsApi(builder.Configuration);
        builder.Services.AddPipelineTelemetry(builder.Configuration, "openapi");
        // Schemas in the form in which answers are written.
        builder.Services.ConfigureHttpJsonOptions(json =>
        {
            json.SerializerOptions.PropertyNamingPolicy = ApiJson.Options.PropertyNamingPolicy;
            json.SerializerOptions.DictionaryKeyPolicy = ApiJson.Options.DictionaryKeyPolicy;
            json.SerializerOptions.NumberHandling = ApiJson.Options.NumberHandling;
        });
        builder.Services.AddOpenApi(
            Name,
            options =>
            {
                options.OpenApiVersion = OpenApiSpecVersion.OpenApi3_1;
                options.AddSchemaTransformer(Schemas.TransformAsync);
                options.AddOperationTransformer(Operations.TransformAsync);
                options.AddDocumentTransformer(WholeDocument.TransformAsync);
            }
        );
        var app = builder.Build();
        HostRun.MapApi(app);
        // Routes are known to the document once the pipeline that uses them is built, which else happens at the start.
        app.UseRouting();
        app.UseEndpoints(static _ => { });
        return app;
    }
}
