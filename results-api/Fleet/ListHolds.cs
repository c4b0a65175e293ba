using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Fleet;

/// <summary><c>GET /v1/holds</c>: what operators hold, by kind and name.</summary>
internal static class ListHolds
{
    public static void MapHolds(this IEndpointRouteBuilder operators) =>
        operators.MapGet("/holds", Handle).Describe(ReadOperations.ListHolds);

    private static async Task<JsonHttpResult<ListView<HeldView>>> Handle(HttpContext http, NpgsqlDataSource database)
    {
        var holds = (await HoldStore.ReadAsync(database, http.RequestAborted)).Select(h => HeldView.Of(h.Hold)).ToList();
        return TypedResults.Json(ListView.Of(holds, holds.Count, hold => $"{hold.Kind}/{hold.Name}"), ApiJson.Options);
    }
}

/// <summary>What is held, by whom, and why.</summary>
internal sealed record HeldView(string Kind, string Name, string Reason, string By, DateTimeOffset At)
{
    public string Object { get; } = "hold";

    public static HeldView Of(HoldRow hold) => new(hold.Kind.Name(), hold.Name, hold.Reason, hold.By, hold.At);
}
