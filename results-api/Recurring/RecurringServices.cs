using Npgsql;
using Quartz;

namespace Pipeline.ResultsApi.Recurring;

/// <summary>Recurring work over Quartz and its PostgreSQL store, which all instances share.</summary>
internal static class RecurringServices
{
    /// <summary>All instances on a database are one scheduler of this name.</summary>
    private const string Name = "pipeline";

    /// <summary>Adds a work; see <see cref="IRecurringWork"/> for what it has to hold.</summary>
    public static IServiceCollection AddRecurringWork<T>(this IServiceCollection services)
        where T : class, IRecurringWork => services.AddSingleton<IRecurringWork, T>();

    /// <summary>Adds what runs the works.</summary>
    public static IServiceCollection AddRecurring(this IServiceCollection services, RecurringOptions options)
    {
        services.AddSingleton(options);
        services.AddSingleton<RunHistory>();
        services.AddSingleton<LoopStore>();
        services.AddSingleton<RecurringScheduler>();
        services.AddHostedService(provider => provider.GetRequiredService<RecurringScheduler>());
        services.AddQuartz(quartz =>
        {
            quartz.ConfigureScheduler(scheduler =>
            {
                scheduler.InstanceName = Name;
                scheduler.GenerateInstanceId = true;
                scheduler.IdleWaitTime = options.LookEvery;
                scheduler.ShutdownJobInterruption = ShutdownJobInterruption.Always;
            });
            quartz.UseDefaultThreadPool(options.RunsMax);
            quartz.UsePersistentStore(store =>
            {
                store.UsePostgres(source => source.DataSourceFactory = provider => provider.GetRequiredService<NpgsqlDataSource>());
                store.UseClustering(cluster =>
                {
                    cluster.CheckinInterval = options.CheckInEvery;
                    cluster.CheckinMisfireThreshold = options.DeadAfter;
                });
                store.ConfigureStore(ado =>
                {
                    ado.TablePrefix = "quartz.qrtz_";
                    ado.MisfireThreshold = options.MisfireAfter;
                    ado.RecoverFiringsCancelledByShutdown = true;
                });
            });
        });
        return services;
    }
}
