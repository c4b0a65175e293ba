using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Pipeline.GpuWorker.OnnxRuntime;
using Pipeline.Hosting;
using SessionOptions = Pipeline.GpuWorker.OnnxRuntime.SessionOptions;

namespace Pipeline.GpuWorker.Models.Sessions;

/// <summary>The worker's models: the registered ones, on the device that the worker's options choose.</summary>
internal static class ModelServices
{
    public static IServiceCollection AddModels(this IServiceCollection services)
    {
        services.AddSingleton<TensorBufferPool>();
        services.AddSingleton<IModelSource>(s =>
        {
            var worker = s.GetRequiredService<WorkerOptions>();
            var options = SessionOptionsOf(worker);
            return new SessionCache(
                DeviceProbe.Find(options),
                new FolderModelLoader(
                    s.GetRequiredService<PipelineOptions>().ModelsFolder,
                    options,
                    s.GetRequiredService<TensorBufferPool>()
                ),
                worker.MemoryBudgetBytes,
                s.GetRequiredService<TimeProvider>(),
                s.GetRequiredService<ILogger<SessionCache>>()
            );
        });
        return services;
    }

    public static SessionOptions SessionOptionsOf(WorkerOptions worker) =>
        new()
        {
            Providers = worker.ProviderOrder,
            DeviceId = worker.DeviceId,
            IntraOpThreads = worker.IntraOpThreadsChosen,
            AllowSpinning = worker.AllowSpinning,
        };
}
