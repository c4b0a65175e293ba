using Pipeline.Hosting;

namespace Pipeline.Scheduler.Service;

/// <summary>The scheduler as a part of a host: alone in its process, or beside the other services in the standalone one.</summary>
public static class SchedulerServices
{
    /// <summary>Registers the scheduler; <c>AddPipelineDefaults</c> must have been called. Options come from section <c>Scheduler</c>.</summary>
    /// <exception cref="OptionsException">One or more options are out of range.</exception>
    public static IServiceCollection AddScheduler(this IServiceCollection services, IConfiguration configuration)
    {
        services.AddSingleton(SchedulerOptions.Read(configuration));
        services.AddSingleton(new SchedulerInstance(Guid.NewGuid()));
        services.AddSingleton<Inbox>();
        services.AddSingleton<SliceNotes>();
        services.AddSingleton<IBusPart, FactConsumers>();
        services.AddSingleton<Recovery>();
        services.AddSingleton<WorkerBooks>();
        services.AddSingleton<TaskFailures>();
        services.AddSingleton<DecisionExecutor>();
        services.AddSingleton<SchedulerMetrics>();
        services.AddSingleton<Journal>();
        services.AddSingleton<SchedulerLoop>();
        services.AddHostedService(s => s.GetRequiredService<SchedulerLoop>());
        services.AddHostedService<Ticks>();
        services.AddHostedService<Sweep>();
        return services;
    }
}
