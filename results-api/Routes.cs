using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi;

/// <summary><c>GET /v1/routes</c> and <c>GET /v1/routes/{name}</c>: the newest versions, and what was measured of them.</summary>
internal static class Routes
{
    public static void MapRoutes(this IEndpointRouteBuilder v1)
    {
        v1.MapGet("/routes", List).Describe(ReadOperations.ListRoutes);
        v1.MapGet("/routes/{name}", Find).Describe(ReadOperations.GetRoute);
    }

    private static async Task<Results<JsonHttpResult<ListView<RouteView>>, ProblemResult>> List(
        HttpContext http,
        NpgsqlDataSource database,
        ResultsApiOptions options
    )
    {
        var query = new QueryParameters(http.Request.Query);
        var limit = query.Whole("limit", 1, options.ListLimitMax) ?? options.ListLimitDefault;
        var after = query.Text("after");
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        var routes = (await ModelRoutes.ReadAllAsync(database, http.RequestAborted))
            .Where(r => after is null || string.CompareOrdinal(r.Route.Name, after) > 0)
            .OrderBy(r => r.Route.Name, StringComparer.Ordinal)
            .Take(limit + 1)
            .Select(View)
            .ToList();
        return TypedResults.Json(ListView.Of(routes, limit, route => route.Name), ApiJson.Options);
    }

    private static async Task<Results<JsonHttpResult<RouteView>, ProblemResult>> Find(
        string name,
        HttpContext http,
        NpgsqlDataSource database
    )
    {
        var routes = await ModelRoutes.ReadAllAsync(database, http.RequestAborted);
        return routes.FirstOrDefault(r => r.Route.Name == name) is { } found
            ? TypedResults.Json(View(found), ApiJson.Options)
            : Problems.Result(FailureKind.UnknownModelRoute, $"There is no route \"{name}\".", "name");
    }

    private static RouteView View(StoredRoute stored) => RouteView.Of(stored.Route, stored.CreatedAt, stored.Quality);
}
