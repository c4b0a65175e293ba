// results-api: the HTTP door for reads. Status, results, events, models, workers.

using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Hosting.Telemetry;
using Pipeline.ResultsApi;
using Pipeline.ResultsApi.Dashboard;

if (HealthProbe.IsAsked(args))
{
    return await HealthProbe.RunAsync();
}

var builder = WebApplication.CreateBuilder(args);
try
{
    builder.Services.AddPipelineDefaults(PipelineOptions.Read(builder.Configuration));
    builder.Services.AddResultsApi(builder.Configuration);
    builder.Services.AddPipelineTelemetry(builder.Configuration, "results-api");

    await using var app = builder.Build();
    app.UseProblems();
    app.MapHealth();
    app.MapMetrics();
    app.MapApiDocument();
    app.MapResultsApi();

    await app.Services.WaitForServersAsync(CancellationToken.None);
    await app.StartAsync();
    await app.TellFirstAdminAsync();
    await app.WaitForShutdownAsync();
    return 0;
}
catch (Exception e) when (e is ServerUnavailableException or OptionsException)
{
    await Console.Error.WriteLineAsync($"results-api: {e.Message}");
    return 1;
}
