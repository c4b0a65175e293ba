using System.Text.Json;
using Npgsql;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Jobs;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard.Routes;

/// <summary>Routes: which models a task is tried on, when an answer stands, and what was measured of that; and their earlier versions.</summary>
internal static class RoutePages
{
    public const string Home = $"{DashboardServices.Root}/routes";

    public static void MapRoutePages(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/routes", ListAsync);
        pages.MapGet("/routes/{**name}", ShowAsync);
        pages.MapPost("/routes", SetAsync);
    }

    private static async Task<IResult> ListAsync(HttpContext http, NpgsqlDataSource database)
    {
        var stop = http.RequestAborted;
        return http.Page<RoutesPage>(
            new { Routes = await ModelRoutes.ReadAllAsync(database, stop), Answering = await AnsweringAsync(database, stop) }
        );
    }

    private static async Task<IResult> ShowAsync(string name, HttpContext http, NpgsqlDataSource database)
    {
        var stop = http.RequestAborted;
        var versions = await ModelRoutes.ReadVersionsAsync(database, name, stop);
        return versions.Count == 0
            ? http.Error(StatusCodes.Status404NotFound, "There is no such route", $"None is called \"{name}\".")
            : http.Page<RoutePage>(
                new
                {
                    Name = name,
                    From = versions.FirstOrDefault(v => $"{v.Route.Version}" == http.Request.Query["from"].ToString()) ?? versions[0],
                    Versions = versions,
                    Answering = await AnsweringAsync(database, stop),
                }
            );
    }

    /// <summary>Sets a route's variants through ingest, which has the rules for them.</summary>
    private static async Task<IResult> SetAsync(HttpContext http, NpgsqlDataSource database, AuditedIngest ingest, DashboardOptions options)
    {
        var (actor, form, refused) = await Actors.ReadAsync(http, options, Home);
        if (actor is null)
        {
            return refused!;
        }

        var (name, stop) = (form["name"].ToString().Trim(), http.RequestAborted);
        var versions = name.Length > 0 ? await ModelRoutes.ReadVersionsAsync(database, name, stop) : [];
        var before = versions.Count > 0 ? versions[0] : null;
        var here = before is null ? Home : Links.Route(name);
        if (name.Length == 0 || Parse(form["variants"].ToString()) is not { } variants)
        {
            return http.Back(here, good: false, "A route needs a name, and a list of variants as JSON.");
        }

        var outcome = await ingest.AskAsync(
            actor,
            new Deed("route.set", "route", name) { Before = before is null ? null : RouteView.Of(before.Route, before.CreatedAt, null) },
            new IngestRequest(HttpMethod.Put, $"v1/routes/{Uri.EscapeDataString(name)}") { Body = new { variants } },
            body => Task.FromResult<(string?, object?)>((null, body)),
            stop
        );
        return http.Back(
            outcome.Done ? Links.Route(name) : here,
            outcome.Done,
            outcome.Done ? "New jobs go along it from now on." : $"Not set: {outcome.Detail}"
        );
    }

    private static JsonElement? Parse(string text)
    {
        try
        {
            return JsonElement.Parse(text);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>The version that answers for each model's name.</summary>
    private static async Task<Dictionary<string, string>> AnsweringAsync(NpgsqlDataSource database, CancellationToken stop) =>
        (await ModelRegistry.ReadAllAsync(database, stop))
            .Where(m => m.Current)
            .ToDictionary(m => m.Manifest.Name, m => m.Manifest.Version);
}
