// The door for writes. Configuration: PIPELINE__DATABASE, PIPELINE__BROKER, …, INGEST__… (see the options), and --urls for its address.

using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Ingest;
using Pipeline.OpenAi;

if (HealthProbe.IsAsked(args))
{
    return await HealthProbe.RunAsync();
}

try
{
    var builder = WebApplication.CreateBuilder(args);
    builder.Services.AddPipelineDefaults(PipelineOptions.Read(builder.Configuration));
    builder.Services.AddIngest(builder.Configuration);

    await using var app = builder.Build();
    app.UseProblems();
    app.MapHealth();
    app.MapApiDocument();
    app.MapIngest();
    app.MapOpenAiReads();

    await app.Services.WaitForServersAsync(app.Lifetime.ApplicationStopping);
    await app.RunAsync();
    return 0;
}
catch (Exception e) when (e is OptionsException or ServerUnavailableException)
{
    await Console.Error.WriteLineAsync($"ingest: {e.Message}");
    return 1;
}
