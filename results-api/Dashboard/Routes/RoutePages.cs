using Npgsql;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard.Routes;

/// <summary>Routes: which models a task is tried on, when an answer stands, and what was measured of that; and their earlier versions.</summary>
internal static class RoutePages
{
    public static void MapRoutePages(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/routes", ListAsync);
        pages.MapGet("/routes/{**name}", ShowAsync);
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
                    Versions = versions,
                    Answering = await AnsweringAsync(database, stop),
                }
            );
    }

    /// <summary>The version that answers for each model's name.</summary>
    private static async Task<Dictionary<string, string>> AnsweringAsync(NpgsqlDataSource database, CancellationToken stop) =>
        (await ModelRegistry.ReadAllAsync(database, stop))
            .Where(m => m.Current)
            .ToDictionary(m => m.Manifest.Name, m => m.Manifest.Version);
}
