using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Pipeline.Hosting;
using Pipeline.OpenAi.Batches;
using Pipeline.OpenAi.Files;
using Pipeline.OpenAi.OutputFiles;

namespace Pipeline.OpenAi;

/// <summary>
/// The reads of OpenAI's API, for whoever serves them: results-api, as all reads; and ingest, so that its address alone is a base URL for
/// OpenAI's clients where no gateway stands before the two.
/// </summary>
public static class OpenAiReads
{
    /// <summary>Registers what the reads need. May be called by several parts of one host.</summary>
    public static IServiceCollection AddOpenAiReads(this IServiceCollection services)
    {
        services.TryAddSingleton<FileStore>();
        services.TryAddSingleton<BatchStore>();
        services.TryAddSingleton<PartialOutput>();
        return services;
    }

    /// <summary>Maps the GETs of files, batches and models; every one needs an API key. Once a host.</summary>
    public static IEndpointRouteBuilder MapOpenAiReads(this IEndpointRouteBuilder endpoints)
    {
        var v1 = endpoints.MapGroup("/v1").RequireApiKey();
        v1.MapReadFiles();
        v1.MapReadBatches();
        v1.MapModels();
        return endpoints;
    }
}
