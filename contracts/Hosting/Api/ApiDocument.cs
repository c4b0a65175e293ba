using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Pipeline.Hosting.Api;

/// <summary>
/// <c>GET /openapi.json</c>: the whole API's document, whichever part of it the process serves. It is the checked-in file, made by
/// <c>./pipeline openapi</c> and held true by a test, so that serving it costs nothing at start.
/// </summary>
public static class ApiDocument
{
    public const string Path = "/openapi.json";

    private static readonly ApiOperation Operation = new(
        "getOpenApiDocument",
        ApiTags.Service,
        "This document.",
        "The OpenAPI 3.1 document of the whole API, without a key. Every HTTP service gives the same one."
    )
    {
        IsPublic = true,
        Answers = [new(StatusCodes.Status200OK, "application/json", null, "The document.")],
    };

    public static void MapApiDocument(this IEndpointRouteBuilder endpoints) =>
        endpoints
            .MapGet(Path, () => Results.Stream(typeof(ApiDocument).Assembly.GetManifestResourceStream("openapi.json")!, "application/json"))
            .Describe(Operation);
}
