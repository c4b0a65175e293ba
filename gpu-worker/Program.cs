// gpu-worker: runs the models. Takes dispatches from its two lanes, writes results and what they cost.

using Pipeline.GpuWorker;
using Pipeline.GpuWorker.OnnxRuntime;
using Pipeline.Hosting;

if (HealthProbe.IsAsked(args))
{
    return await HealthProbe.RunAsync();
}

var builder = WebApplication.CreateBuilder(args);
try
{
    builder.Services.AddPipelineDefaults(PipelineOptions.Read(builder.Configuration));
    builder.Services.AddWorker(builder.Configuration);

    await using var app = builder.Build();
    app.UseProblems();
    app.MapHealth();

    await app.Services.WaitForServersAsync(CancellationToken.None);
    await app.RunAsync();
    return 0;
}
catch (Exception e) when (e is ServerUnavailableException or OptionsException or OnnxRuntimeException)
{
    await Console.Error.WriteLineAsync($"gpu-worker: {e.Message}");
    return 1;
}
