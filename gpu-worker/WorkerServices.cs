using MassTransit;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Npgsql;
using Pipeline.GpuWorker.Models.Sessions;
using Pipeline.GpuWorker.Nvml;
using Pipeline.Hosting;
using Pipeline.Hosting.Telemetry;

namespace Pipeline.GpuWorker;

/// <summary>The worker as a part of a process: alone in production, beside the others in the standalone host.</summary>
public static class WorkerServices
{
    /// <summary>Adds the worker to a process that has called <see cref="ServiceDefaults.AddPipelineDefaults"/>. Call it after: the worker drains before the bus stops.</summary>
    /// <exception cref="OptionsException">One or more options are out of range.</exception>
    public static IServiceCollection AddWorker(this IServiceCollection services, IConfiguration configuration)
    {
        services.AddSingleton(WorkerOptions.Read(configuration));
        services.AddModels();
        services.AddSingleton<KnownEpoch>();
        services.AddSingleton<IBusPart, WorkerBusPart>();
        services.AddSingleton<Registration>();
        services.AddSingleton<WorkerMetrics>();
        services.AddSingleton(s => new WorkerParts(
            s.GetRequiredService<WorkerOptions>(),
            s.GetRequiredService<NpgsqlDataSource>(),
            s.GetRequiredService<IModelSource>(),
            s.GetRequiredService<Registration>(),
            s.GetRequiredService<KnownEpoch>(),
            s.GetRequiredService<IReceiveEndpointConnector>(),
            s.GetRequiredService<IBus>(),
            s.GetRequiredService<WorkerMetrics>(),
            s.GetRequiredService<TelemetryOptions>(),
            s.GetRequiredService<TimeProvider>(),
            s.GetRequiredService<ILoggerFactory>()
        ));
        services.AddHostedService<DeviceSensors>();
        services.AddSingleton<WorkerHost>();
        services.AddHostedService(s => s.GetRequiredService<WorkerHost>());
        services.AddHealthChecks().Add(new("worker", s => s.GetRequiredService<WorkerHost>(), null, ["ready"]));
        return services;
    }
}
