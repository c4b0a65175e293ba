using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Jobs;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard.Fleet;

/// <summary>The price list, for admins to add to.</summary>
internal static class PricePages
{
    public const string Here = $"{DashboardServices.Root}/prices";

    public static void MapPricePages(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/prices", ShowAsync);
        pages.MapPost("/prices", SetAsync).ForAdmins();
    }

    private static async Task<IResult> ShowAsync(HttpContext http, NpgsqlDataSource database) =>
        http.Page<PricesPage>(
            new
            {
                Prices = (await Migrations.Prices.ReadAllAsync(database, http.RequestAborted)).OrderByDescending(p => p.ValidFrom).ToList(),
            }
        );

    private static async Task<IResult> SetAsync(HttpContext http, AuditedIngest ingest, DashboardOptions options)
    {
        var (actor, form, refused) = await Actors.ReadAsync(http, options, Here);
        if (actor is null)
        {
            return refused!;
        }

        var (latencyClass, model) = (form["class"].ToString(), form["model"].ToString().Trim());
        var outcome = await ingest.AskAsync(
            actor,
            new Deed("price.set", "class", latencyClass),
            new IngestRequest(HttpMethod.Put, "v1/prices")
            {
                Body = new PriceAsk(
                    latencyClass,
                    model.Length > 0 ? model : null,
                    form["usd"].ToString().Trim(),
                    form["valid_from"].ToString().Trim() is { Length: > 0 } from ? from : null
                ),
            },
            body => Task.FromResult<(string?, object?)>((null, body)),
            http.RequestAborted
        );
        return http.Back(Here, outcome.Done, outcome.Done ? "The price is set." : $"Not set: {outcome.Detail}");
    }

    private sealed record PriceAsk(string Class, string? Model, string PricePerMillionUnitsUsd, string? ValidFrom);
}
