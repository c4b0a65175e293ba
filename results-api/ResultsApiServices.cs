using Microsoft.Extensions.DependencyInjection.Extensions;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.OpenAi;
using Pipeline.ResultsApi.Alerts;
using Pipeline.ResultsApi.Alerts.Probes;
using Pipeline.ResultsApi.Calibration;
using Pipeline.ResultsApi.Dashboard;
using Pipeline.ResultsApi.Events;
using Pipeline.ResultsApi.Fleet;
using Pipeline.ResultsApi.Jobs;
using Pipeline.ResultsApi.Outcomes;
using Pipeline.ResultsApi.OutputFiles;
using Pipeline.ResultsApi.Prices;
using Pipeline.ResultsApi.Recurring;
using Pipeline.ResultsApi.Recurring.Works;
using Pipeline.ResultsApi.Results;
using Pipeline.ResultsApi.Sla;
using Pipeline.ResultsApi.Sla.Objectives;
using Pipeline.ResultsApi.Usage;
using Pipeline.ResultsApi.Webhooks;

namespace Pipeline.ResultsApi;

/// <summary>The part as its hosts take it: its own process, or the standalone host beside the others.</summary>
public static class ResultsApiServices
{
    /// <summary>Registers what the endpoints need, beside <see cref="ServiceDefaults.AddPipelineDefaults"/>.</summary>
    /// <exception cref="OptionsException">An option is out of range.</exception>
    public static IServiceCollection AddResultsApi(this IServiceCollection services, IConfiguration configuration)
    {
        services.AddSingleton(ResultsApiOptions.Read(configuration));
        services.AddSingleton<Forecasts>();
        services.AddSingleton<IBusPart>(provider => provider.GetRequiredService<Forecasts>());
        services.AddOpenAiReads();
        services.AddSingleton<ResultsMetrics>();
        services.AddHostedService<StoredFiguresReader>();
        services.AddSingleton<JobWatch>();
        services.AddHostedService(provider => provider.GetRequiredService<JobWatch>());
        services.AddLoops();
        services.AddHostedService<OutputFilesMaker>();
        services.AddHostedService<UsageRollup>();
        services.AddSla(configuration);
        services.AddWebhooks(configuration);
        services.AddAlerts(configuration);
        services.AddRecurring(RecurringOptions.Read(configuration));
        services.AddSingleton(RetentionOptions.Read(configuration));
        services.AddRecurringWork<ResultPartitions>();
        services.AddRecurringWork<Retention>();
        services.AddRecurringWork<ErasureWork>();
        services.AddRecurringWork<IdempotencyKeyExpiry>();
        services.AddRecurringWork<FileExpiry>();
        services.AddRecurringWork<CacheEviction>();
        services.AddRecurringWork<WebhookLeftovers>();
        services.AddRecurringWork<PeriodReports>();
        services.AddRecurringWork<SlaRetention>();
        services.AddRecurringWork<AlertLeftovers>();
        services.AddDashboard(configuration);
        return services;
    }

    private static void AddSla(this IServiceCollection services, IConfiguration configuration)
    {
        var options = SlaOptions.Read(configuration);
        services.AddSingleton(options);
        services.AddSingleton(ObjectiveSet.Read(options.ObjectivesFolder));
        services.AddSingleton<ReportReader>();
        services.AddSingleton<SlaReports>();
    }

    private static void AddWebhooks(this IServiceCollection services, IConfiguration configuration)
    {
        services.AddSingleton(WebhookOptions.Read(configuration));
        services.TryAddSingleton(WebhookAddresses.Read(configuration));
        services.AddSingleton<EndpointStore>();
        services.AddSingleton<DeliveryStore>();
        services.AddSingleton<DeliveryQueue>();
        services.AddSingleton<WebhookHttp>();
        services.AddSingleton<WebhookSender>();
        services.AddHostedService(provider => provider.GetRequiredService<WebhookSender>());
        services.AddHostedService<FanOut>();
        services.AddHostedService<JobProgress>();
        services.AddHostedService<WebhookSweep>();
    }

    private static void AddAlerts(this IServiceCollection services, IConfiguration configuration)
    {
        services.AddSingleton(ProbeOptions.Read(configuration));
        services.AddSingleton(AlertOptions.Read(configuration));
        services.AddSingleton<AlertStore>();
        services.AddSingleton<AlertReader>();
        services.AddHostedService<Alerter>();
        services.AddSingleton<ProbeStore>();
        services.AddHostedService<Prober>();
    }

    /// <summary>Maps the reads of <c>/v1</c>, and the webhooks; every one needs an API key.</summary>
    public static IEndpointRouteBuilder MapResultsApi(this IEndpointRouteBuilder endpoints)
    {
        var v1 = endpoints.MapGroup("/v1").RequireApiKey();
        v1.MapGetJob();
        v1.MapListJobs();
        v1.MapDecisions();
        v1.MapResults();
        v1.MapEvents();
        v1.MapWorkers();
        v1.MapUsage();
        v1.MapCache();
        v1.MapPrices();
        v1.MapBudget();
        v1.MapKeys();
        v1.MapGetGroup();
        v1.MapOutcomes();
        v1.MapErasures();
        v1.MapRetention();
        v1.MapReports();
        v1.MapExclusions();
        var operators = endpoints.MapGroup("/v1").RequireApiKey().RequireOperator();
        operators.MapCalibration();
        operators.MapHolds();
        operators.MapRecurring();
        operators.MapExclusionCommands();
        operators.MapAlerts();
        operators.MapProbes();
        v1.MapRoutes();
        v1.MapWebhookEndpoints();
        v1.MapWebhookDeliveries();
        endpoints.MapOpenAiReads();
        endpoints.MapDashboard();
        return endpoints;
    }
}
