using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Tasks;
using Pipeline.Migrations;

namespace Pipeline.Ingest.Routes;

/// <summary>
/// What operators set of routes: the list of variants (<c>PUT /v1/routes/{name}</c>), and what was measured of it
/// (<c>PUT /v1/routes/{name}/quality</c>). The same list again changes nothing; another is a new version.
/// </summary>
internal sealed class SetRoutes(NpgsqlDataSource database, ModelCatalog models, RouteCatalog routes, IngestOptions options)
{
    public async Task<IResult> SetAsync(string name, HttpContext http)
    {
        var stop = http.RequestAborted;
        var mistakes = new Mistakes(options.MistakesMax);
        RouteRules.CheckName(name, mistakes);
        var (body, problem) = await ObjectBody.ReadAsync(http, mistakes);
        if (body is null)
        {
            return problem!;
        }

        var variants = RouteRules.Read(body.Value, options.RouteVariantsMax, mistakes);
        await CheckAsync(variants, mistakes, stop);
        if (mistakes.Any)
        {
            return Admission.Refuse(mistakes);
        }

        if (await routes.FindAsync(name, stop) is null && (await routes.NamesAsync(stop)).Count >= options.RoutesMax)
        {
            return Problems.Result(FailureKind.InvalidState, $"There are {options.RoutesMax} routes already, as many as may be.", "name");
        }

        var versions = await ModelRoutes.ReadVersionsAsync(database, name, stop);
        http.WasBefore(versions is [var newest, ..] ? RouteView.Of(newest.Route, newest.CreatedAt, newest.Quality) : null);
        var stored = await ModelRoutes.PutAsync(database, name, variants, stop);
        routes.Forget();
        return Results.Json(RouteView.Of(stored.Route, stored.CreatedAt, stored.Quality), ApiJson.Options);
    }

    public async Task<IResult> SetQualityAsync(string name, HttpContext http)
    {
        var stop = http.RequestAborted;
        var mistakes = new Mistakes(options.MistakesMax);
        var (body, problem) = await ObjectBody.ReadAsync(http, mistakes);
        if (body is null)
        {
            return problem!;
        }

        QualityBody? given = null;
        try
        {
            given = JsonSerializer.Deserialize<QualityBody>(body.Value, ApiJson.Options);
        }
        catch (JsonException e)
        {
            mistakes.Add(e.Path?.TrimStart('$', '.'), "what GET /v1/routes shows as quality, with version", "something else");
        }

        if (given is not null)
        {
            Check(given, mistakes);
        }

        if (mistakes.Any)
        {
            return Admission.Refuse(mistakes);
        }

        var versions = await ModelRoutes.ReadVersionsAsync(database, name, stop);
        http.WasBefore(versions.FirstOrDefault(v => v.Route.Version == given!.Version)?.Quality);
        var quality = new RouteQuality(given!.MeasuredAt.ToUniversalTime(), given.Tasks, given.Choices);
        if (!await ModelRoutes.SetQualityAsync(database, name, given.Version, quality, stop))
        {
            return Problems.Result(
                FailureKind.UnknownModelRoute,
                $"There is no route \"{Excerpt.Of(name)}\" of version {given.Version}.",
                "name"
            );
        }

        routes.Forget();
        return Results.Json(quality, ApiJson.Options);
    }

    private async Task CheckAsync(IReadOnlyList<RouteVariant> variants, Mistakes mistakes, CancellationToken stop)
    {
        var manifests = new List<ModelManifest?>();
        foreach (var variant in variants)
        {
            manifests.Add(await models.FindAsync(variant.Model, stop));
        }

        var names = await routes.NamesAsync(stop);
        RouteRules.Check(variants, manifests, names.Contains, await models.ListAsync(stop), mistakes);
    }

    private void Check(QualityBody given, Mistakes mistakes)
    {
        if (given.Tasks < 1)
        {
            mistakes.Add("tasks", "1 or more", $"{given.Tasks}");
        }

        if (given.Choices is null || given.Choices.Count < 1 || given.Choices.Count > options.RouteVariantsMax + 1)
        {
            mistakes.Add("choices", $"1 to {options.RouteVariantsMax + 1} choices", $"{given.Choices?.Count ?? 0}");
            return;
        }

        foreach (var choice in given.Choices)
        {
            if (string.IsNullOrEmpty(choice.Choice) || !(choice.Accuracy is >= 0 and <= 1) || !(choice.CostPerTaskPicoUsd >= 0))
            {
                mistakes.Add("choices", "a choice, an accuracy of 0 to 1, a cost of 0 or more", Excerpt.Of(choice.ToString()));
            }
        }
    }
}
