using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Logging;
using Npgsql;
using Pipeline.Hosting.Api;
using Pipeline.Hosting.Telemetry;

namespace Pipeline.Hosting;

/// <summary>What the programs share when they start: storage, bus, clock, health.</summary>
public static class ServiceDefaults
{
    /// <summary>Registers options, the clock, one PostgreSQL data source, API keys and the bus. Call once a process.</summary>
    public static IServiceCollection AddPipelineDefaults(this IServiceCollection services, PipelineOptions options)
    {
        services.AddSingleton(options);
        services.AddSingleton(TimeProvider.System);
        // Four lines a request otherwise, and the log costs more than the request. A setting for the same category still wins.
        services.AddLogging(log => log.AddFilter("Microsoft.AspNetCore", LogLevel.Warning));
        services.AddSingleton(_ =>
        {
            var connection = new NpgsqlConnectionStringBuilder(options.Database)
            {
                MaxPoolSize = options.DatabaseConnectionsMax,
                ApplicationName = "pipeline",
                // Statements that repeat are prepared by themselves.
                MaxAutoPrepare = 64,
                AutoPrepareMinUsages = 2,
                // Nothing here leaves settings behind in a session (SET LOCAL, transactions' own locks; who keeps a lock keeps its
                // connection), so none is reset when it goes back to the pool: 0.1 ms of the server for each use, a tenth of what an
                // express answer takes of it.
                NoResetOnClose = true,
            };
            return Storage.Create(connection.ConnectionString, Storage.Service);
        });
        services.TryAddSingleton(new TelemetryOptions());
        services.AddSingleton<ModelLabels>();
        services.AddSingleton<ProblemMetrics>();
        services.AddSingleton<ApiKeys>();
        services.AddPipelineBus(options);
        if (options.ParentProcess is not null)
        {
            services.AddHostedService<StopWithParent>();
        }

        RehearsedServer.Add(services);
        services.AddHealthChecks().AddCheck<DatabaseHealth>("database", tags: ["ready"]);
        return services;
    }

    /// <summary>Waits for PostgreSQL and the broker before anything else starts.</summary>
    /// <exception cref="ServerUnavailableException">One was not reachable in time.</exception>
    public static async Task WaitForServersAsync(this IServiceProvider services, CancellationToken stop)
    {
        var options = services.GetRequiredService<PipelineOptions>();
        var time = services.GetRequiredService<TimeProvider>();
        var log = services.GetRequiredService<ILoggerFactory>().CreateLogger("Pipeline.Start");
        await ServerWait.ForPostgresAsync(options.Database, options.ServerWaitMax, log, time, stop);
        await ServerWait.ForBrokerAsync(options, log, time, stop);
    }

    internal const string LivePath = "/healthz/live";

    private static readonly ApiOperation Live = new(
        "getLiveness",
        ApiTags.Service,
        "Whether the process runs.",
        "Needs no key and looks at nothing else: for whoever restarts processes that hang."
    )
    {
        IsPublic = true,
        Answers = [new(StatusCodes.Status200OK, "text/plain", null, "It runs.")],
    };

    private static readonly ApiOperation Ready = new(
        "getReadiness",
        ApiTags.Service,
        "Whether requests can be served.",
        "Needs no key. Asks PostgreSQL and the bus: for whoever sends requests only to processes that can serve them."
    )
    {
        IsPublic = true,
        Answers =
        [
            new(StatusCodes.Status200OK, "text/plain", null, "PostgreSQL and the bus answer: `Healthy`, or `Degraded`."),
            new(StatusCodes.Status503ServiceUnavailable, "text/plain", null, "One of them does not: `Unhealthy`."),
        ],
    };

    /// <summary><c>/healthz/live</c>: the process runs. <c>/healthz/ready</c>: PostgreSQL and the bus answer.</summary>
    public static void MapHealth(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapGet(LivePath, () => Results.Text("alive")).Describe(Live).DisableHttpMetrics();
        endpoints
            .MapHealthChecks(HealthProbe.Path, new() { Predicate = check => check.Tags.Contains("ready") })
            .Describe(Ready)
            .DisableHttpMetrics();
    }

    private sealed class DatabaseHealth(NpgsqlDataSource database) : IHealthCheck
    {
        public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken)
        {
            try
            {
                await using var command = database.CreateCommand("SELECT 1");
                command.CommandTimeout = 5;
                await command.ExecuteScalarAsync(cancellationToken);
                return HealthCheckResult.Healthy();
            }
            catch (Exception e) when (e is NpgsqlException or TimeoutException)
            {
                return HealthCheckResult.Unhealthy(e.Message);
            }
        }
    }
}
