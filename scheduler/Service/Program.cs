// scheduler: decides what runs where and when. One instance is active, the others are spares.

using Pipeline.Hosting;
using Pipeline.Scheduler.Service;

if (HealthProbe.IsAsked(args))
{
    return await HealthProbe.RunAsync();
}

var builder = WebApplication.CreateBuilder(args);
try
{
    builder.Services.AddPipelineDefaults(PipelineOptions.Read(builder.Configuration));
    builder.Services.AddScheduler(builder.Configuration);

    await using var app = builder.Build();
    app.MapHealth();

    await app.Services.WaitForServersAsync(CancellationToken.None);
    await app.RunAsync();
    return 0;
}
catch (Exception e) when (e is ServerUnavailableException or OptionsException)
{
    await Console.Error.WriteLineAsync($"scheduler: {e.Message}");
    return 1;
}
