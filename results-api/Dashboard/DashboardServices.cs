using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.DataProtection.KeyManagement;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Npgsql;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Accounts;
using Pipeline.ResultsApi.Dashboard.Alerts;
using Pipeline.ResultsApi.Dashboard.Assets;
using Pipeline.ResultsApi.Dashboard.Bulk;
using Pipeline.ResultsApi.Dashboard.Failures;
using Pipeline.ResultsApi.Dashboard.Fleet;
using Pipeline.ResultsApi.Dashboard.Jobs;
using Pipeline.ResultsApi.Dashboard.Layout;
using Pipeline.ResultsApi.Dashboard.Models;
using Pipeline.ResultsApi.Dashboard.Now;
using Pipeline.ResultsApi.Dashboard.Recurring;
using Pipeline.ResultsApi.Dashboard.Reports;
using Pipeline.ResultsApi.Dashboard.Routes;
using Pipeline.ResultsApi.Dashboard.TradeOff;

namespace Pipeline.ResultsApi.Dashboard;

/// <summary>The operators' dashboard: pages rendered on the server, under <see cref="Root"/>.</summary>
public static class DashboardServices
{
    public const string Root = "/dashboard";

    /// <exception cref="OptionsException">An option is out of range.</exception>
    public static IServiceCollection AddDashboard(this IServiceCollection services, IConfiguration configuration)
    {
        var options = DashboardOptions.Read(configuration);
        services.AddSingleton(options);
        if (!options.Enabled)
        {
            return services;
        }

        services.AddRazorComponents();
        services.AddAntiforgery(forms =>
        {
            forms.FormFieldName = PageContexts.FormField;
            forms.Cookie.Name = options.IsHttps ? "__Host-pipeline-forms" : "pipeline-forms";
            forms.Cookie.SecurePolicy = options.IsHttps ? CookieSecurePolicy.Always : CookieSecurePolicy.None;
            forms.Cookie.Path = "/";
            // The guard sets a stricter one.
            forms.SuppressXFrameOptionsHeader = true;
        });
        services.AddDataProtection().SetApplicationName("pipeline");
        services
            .AddOptions<KeyManagementOptions>()
            .Configure<NpgsqlDataSource>((keys, database) => keys.XmlRepository = new KeyRing(database));
        // It warns that the keys lie in the database as they are; the README says so.
        services.AddLogging(log => log.AddFilter("Microsoft.AspNetCore.DataProtection", LogLevel.Error));
        services.AddSingleton<AssetFiles>();
        services.AddSingleton<Passwords>();
        services.AddSingleton<Operators>();
        services.AddSingleton<OperatorLinks>();
        services.AddSingleton<Sessions>();
        services.AddOperatorAudit();
        services.AddSingleton<AuditLog>();
        services.AddSingleton<JobDetails>();
        services.AddSingleton<TaskSearch>();
        services.AddSingleton<AuditedIngest>();
        services.AddSingleton<DismissedFailures>();
        services.AddSingleton<JobActions>();
        services.AddSingleton<IngestClient>();
        services.AddSingleton<NowReader>();
        services.AddSingleton<NowFeed>();
        services.AddHostedService(provider => provider.GetRequiredService<NowFeed>());
        services.AddSingleton<BrokerQueues>();
        services.AddSingleton<BulkActions>();
        services.AddSingleton<BulkEstimates>();
        services.AddSingleton<BulkRunner>();
        services.AddHostedService(provider => provider.GetRequiredService<BulkRunner>());
        return services;
    }

    /// <summary>Maps the pages, where the dashboard is enabled.</summary>
    public static IEndpointRouteBuilder MapDashboard(this IEndpointRouteBuilder endpoints)
    {
        if (!endpoints.ServiceProvider.GetRequiredService<DashboardOptions>().Enabled)
        {
            return endpoints;
        }

        var assets = endpoints.ServiceProvider.GetRequiredService<AssetFiles>();
        endpoints.MapGet($"{Root}/assets/{{name}}", assets.Get).ExcludeFromDescription();
        var pages = endpoints.MapGroup(Root).ExcludeFromDescription();
        pages.AddEndpointFilterFactory(
            static (context, next) =>
            {
                var guard = ActivatorUtilities.CreateInstance<Guard>(context.ApplicationServices);
                return invocation => guard.InvokeAsync(invocation, next);
            }
        );
        pages.MapGet("/", () => TypedResults.LocalRedirect($"{Root}/now"));
        pages.MapGet(
            "/{**rest}",
            (HttpContext http) => http.Error(StatusCodes.Status404NotFound, "There is no such page", "Choose one from the menu.")
        );
        pages.MapSignIn();
        pages.MapOperators();
        pages.MapAudit();
        pages.MapNow();
        pages.MapJobs();
        pages.MapTasks();
        pages.MapFailures();
        pages.MapBulkActions();
        pages.MapTradeOff();
        pages.MapFleet();
        pages.MapModelPages();
        pages.MapRoutePages();
        pages.MapAlertPages();
        pages.MapReportPages();
        pages.MapRecurringPages();
        pages.MapQueues();
        pages.MapTenant();
        pages.MapPricePages();
        pages.MapWebhook();
        return endpoints;
    }

    /// <summary>The link for the first admin, to be printed for whoever starts the system; null where there is an admin, or no dashboard.</summary>
    /// <param name="listening">The address to make it with where <see cref="DashboardOptions.PublicUrl"/> is not set.</param>
    public static async Task<Uri?> FirstAdminLinkAsync(
        NpgsqlDataSource database,
        DashboardOptions options,
        Uri listening,
        CancellationToken stop
    ) =>
        options.Enabled && await OperatorLinks.ForFirstAdminAsync(database, options.LinkFor, stop) is { } path
            ? new Uri(options.PublicUrl ?? listening, path)
            : null;

    /// <summary>Prints that link, once the program listens.</summary>
    public static async Task TellFirstAdminAsync(this WebApplication app)
    {
        var address = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()?.Addresses.FirstOrDefault();
        var options = app.Services.GetRequiredService<DashboardOptions>();
        // "Any address", as a server writes it, is none that a browser could open.
        var port = BindingAddress.Parse(address ?? "http://localhost").Port;
        var database = app.Services.GetRequiredService<NpgsqlDataSource>();
        try
        {
            if (
                await FirstAdminLinkAsync(database, options, new Uri($"http://localhost:{port}"), app.Lifetime.ApplicationStopping) is
                { } link
            )
            {
                Console.WriteLine($"The dashboard has no admin yet. Open this once: {link}");
            }
        }
        catch (NpgsqlException e)
        {
            // Reads go on as soon as PostgreSQL does; the link is made at the next start.
            await Console.Error.WriteLineAsync($"results-api: it cannot be said whether the dashboard has an admin: {e.Message}");
        }
    }
}
