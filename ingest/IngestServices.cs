using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Ingest.Door;
using Pipeline.Ingest.Express;
using Pipeline.Ingest.OpenAi;
using Pipeline.Ingest.OpenInference;
using Pipeline.Ingest.Routes;
using Pipeline.Ingest.Storage;
using Pipeline.Migrations;
using Pipeline.OpenAi;

namespace Pipeline.Ingest;

/// <summary>The door for writes: jobs come in, and commands about them.</summary>
public static class IngestServices
{
    /// <summary>Registers the door. Call after <c>AddPipelineDefaults</c>, which brings storage, bus and clock.</summary>
    /// <exception cref="OptionsException">An option of section <c>Ingest</c> is out of range.</exception>
    public static IServiceCollection AddIngest(this IServiceCollection services, IConfiguration configuration)
    {
        services.AddSingleton(IngestOptions.Read(configuration));
        services.TryAddSingleton(WebhookAddresses.Read(configuration));
        services.AddSingleton<ModelCatalog>();
        services.AddSingleton<CachingTenants>();
        services.AddSingleton<RouteCatalog>();
        services.AddSingleton<SetRoutes>();
        services.AddSingleton<Admission>();
        services.AddSingleton<Calibrator>();
        services.AddHostedService(static s => s.GetRequiredService<Calibrator>());
        services.AddSingleton<JobGate>();
        services.AddSingleton<PriceList>();
        services.AddSingleton<SetPrices>();
        services.AddSingleton<ReportOutcome>();
        services.AddSingleton<JobStore>();
        services.AddSingleton<GroupCommit>();
        services.AddHostedService(static s => s.GetRequiredService<GroupCommit>());
        services.AddSingleton<UploadLeases>();
        services.AddSingleton<Idempotency>();
        services.AddSingleton<BrokerGate>();
        services.AddSingleton<SubmitJob>();
        services.AddSingleton<RetryFailed>();
        services.AddSingleton<Estimates>();
        services.AddSingleton<JobCommands>();
        services.AddSingleton<ChangeJob>();
        services.AddSingleton<HeldWork>();
        services.AddSingleton<SetHolds>();
        services.AddSingleton<UploadSweep>();
        services.AddSingleton<Forecasts>();
        services.AddSingleton<IBusPart>(static s => s.GetRequiredService<Forecasts>());
        services.AddSingleton<ChunkPublisher>();
        services.AddHostedService(static s => s.GetRequiredService<ChunkPublisher>());
        services.AddSingleton<IngestMetrics>();
        services.AddSingleton<DoorModels>();
        services.AddSingleton<DoorCounts>();
        services.AddSingleton<DoorCountsWriter>();
        services.AddHostedService(static s => s.GetRequiredService<DoorCountsWriter>());
        services.AddSingleton<Waiters>();
        services.AddSingleton<IBusPart>(static s => s.GetRequiredService<Waiters>());
        services.AddSingleton<LostAnswers>();
        services.AddHostedService(static s => s.GetRequiredService<LostAnswers>());
        services.AddSingleton<ExpressPath>();
        services.AddSingleton<KeyLimits>();
        services.AddSingleton<SetKeyLimits>();
        services.AddOperatorAudit();
        services.AddSingleton<Infer>();
        services.AddOpenAiReads();
        services.AddSingleton<UploadFile>();
        services.AddSingleton<BatchIntake>();
        services.AddHostedService(static s => s.GetRequiredService<BatchIntake>());
        services.AddSingleton<CreateBatch>();
        services.AddSingleton<RetryFailedBatch>();
        services.AddSingleton<AnswerInputs>();
        services.AddSingleton<InferenceProtocol>();
        services.AddLoops();
        services.AddSingleton<IngestSweeper>();
        services.AddHostedService(static s => s.GetRequiredService<IngestSweeper>());
        services.AddSingleton<Rehearsal>();
        services.AddHostedService(static s => s.GetRequiredService<Rehearsal>());
        return services;
    }

    /// <summary>Maps <c>POST /v1/jobs</c>, the commands on a job, <c>POST /v1/infer</c>, OpenAI's writes and the Open Inference Protocol.</summary>
    public static IEndpointRouteBuilder MapIngest(this IEndpointRouteBuilder endpoints)
    {
        endpoints
            .MapGroup("/v1/jobs")
            .CountAnswers(latencyClass: null)
            .RequireApiKey()
            .MapPost("", (HttpContext http, SubmitJob submit) => submit.HandleAsync(http))
            .Describe(JobOperations.Submit);
        var jobs = endpoints.MapGroup("/v1/jobs").RequireApiKey();
        jobs.MapPost("/{id}/cancel", (string id, HttpContext http, JobCommands commands) => commands.CancelAsync(id, http))
            .Describe(JobOperations.Cancel);
        jobs.MapPost("/{id}/pause", (string id, HttpContext http, JobCommands commands) => commands.PauseAsync(id, http))
            .Describe(JobOperations.Pause);
        jobs.MapPost("/{id}/resume", (string id, HttpContext http, JobCommands commands) => commands.ResumeAsync(id, http))
            .Describe(JobOperations.Resume);
        jobs.MapPatch("/{id}", (string id, HttpContext http, ChangeJob change) => change.HandleAsync(id, http))
            .Describe(JobOperations.Change);
        jobs.MapPost("/{id}/estimate", (string id, HttpContext http, ChangeJob change) => change.EstimateAsync(id, http))
            .Describe(JobOperations.EstimateRest);
        jobs.MapPost("/{id}/retry-failed", (string id, HttpContext http, RetryFailed retry) => retry.HandleAsync(id, http))
            .Describe(JobOperations.RetryFailed);
        endpoints
            .MapGroup("/v1")
            .RequireApiKey()
            .MapPost("/estimates", (HttpContext http, Estimates estimates) => estimates.HandleAsync(http))
            .Describe(JobOperations.Estimate);
        endpoints
            .MapGroup("/v1")
            .RequireApiKey()
            .MapPost("/groups/{id}/outcome", (string id, HttpContext http, ReportOutcome report) => report.HandleAsync(id, http))
            .Describe(ReportOutcome.Operation);
        endpoints
            .MapGroup("/v1")
            .RequireApiKey()
            .LimitByKey()
            .MapGet("/infer/{id}", (string id, HttpContext http, Infer infer) => infer.FindAsync(id, http))
            .Describe(InferOperations.Find);
        var express = endpoints.MapGroup("/v1").CountAnswers(LatencyClass.Express).RequireApiKey().LimitByKey();
        express.MapPost("/infer", (HttpContext http, Infer infer) => infer.HandleAsync(http)).Describe(InferOperations.Submit);
        express
            .MapPost("/embeddings", (HttpContext http, AnswerInputs answer) => answer.HandleAsync(http, Endpoints.Embeddings))
            .Describe(WriteOperations.Embeddings);
        express
            .MapPost("/moderations", (HttpContext http, AnswerInputs answer) => answer.HandleAsync(http, Endpoints.Moderations))
            .Describe(WriteOperations.Moderations);
        var openAi = endpoints.MapGroup("/v1").RequireApiKey();
        openAi.MapPost("/files", (HttpContext http, UploadFile upload) => upload.HandleAsync(http)).Describe(WriteOperations.Upload);
        openAi
            .MapDelete("/files/{id}", (string id, HttpContext http, UploadFile upload) => upload.DeleteAsync(id, http))
            .Describe(WriteOperations.DeleteFile);
        endpoints
            .MapGroup("/v1")
            .CountAnswers(LatencyClass.Bulk)
            .RequireApiKey()
            .MapPost("/batches", (HttpContext http, CreateBatch create) => create.HandleAsync(http))
            .Describe(WriteOperations.CreateBatch);
        openAi
            .MapPost("/batches/{id}/cancel", (string id, HttpContext http, CreateBatch create) => create.CancelAsync(id, http))
            .Describe(WriteOperations.CancelBatch);
        openAi
            .MapPost("/batches/{id}/retry-failed", (string id, HttpContext http, RetryFailedBatch retry) => retry.HandleAsync(id, http))
            .Describe(WriteOperations.RetryFailedBatch);
        var operators = endpoints.MapGroup("/v1").RequireApiKey().RequireOperator();
        operators
            .MapPut("/pools/{pool}/price", (string pool, HttpContext http, SetPrices set) => set.SetPoolPriceAsync(pool, http))
            .Describe(PriceOperations.SetPoolPrice);
        operators.MapPut("/prices", (HttpContext http, SetPrices set) => set.SetPriceAsync(http)).Describe(PriceOperations.SetPrice);
        operators
            .MapPut("/tenants/{tenant}/budget", (string tenant, HttpContext http, SetPrices set) => set.SetBudgetAsync(tenant, http))
            .Describe(PriceOperations.SetBudget);
        operators
            .MapPut("/tenants/{tenant}/cache", (string tenant, HttpContext http, SetPrices set) => set.SetCacheAsync(tenant, http))
            .Describe(PriceOperations.SetCache);
        operators
            .MapDelete("/tenants/{tenant}/cache", (string tenant, HttpContext http, SetPrices set) => set.RemoveCacheAsync(tenant, http))
            .Describe(PriceOperations.RemoveCache);
        operators
            .MapPut(
                "/tenants/{tenant}/keys/{key}/limits",
                (string tenant, string key, HttpContext http, SetKeyLimits set) => set.SetAsync(tenant, key, http)
            )
            .Describe(SetKeyLimits.Operation);
        operators
            .MapPut("/routes/{name}", (string name, HttpContext http, SetRoutes set) => set.SetAsync(name, http))
            .Describe(RouteOperations.Set);
        operators
            .MapPut("/routes/{name}/quality", (string name, HttpContext http, SetRoutes set) => set.SetQualityAsync(name, http))
            .Describe(RouteOperations.SetQuality);
        operators
            .MapPut("/holds/{kind}/{name}", (string kind, string name, HttpContext http, SetHolds set) => set.SetAsync(kind, name, http))
            .Describe(SetHolds.Set);
        operators
            .MapDelete(
                "/holds/{kind}/{name}",
                (string kind, string name, HttpContext http, SetHolds set) => set.RemoveAsync(kind, name, http)
            )
            .Describe(SetHolds.Remove);
        endpoints.MapOpenInference();
        return endpoints;
    }
}
