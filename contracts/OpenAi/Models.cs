using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Migrations;

namespace Pipeline.OpenAi;

/// <summary>
/// <c>GET /v1/models</c> and <c>/v1/models/{model}</c>: what can be asked, as OpenAI's clients read it and with the manifest.
/// </summary>
internal static class Models
{
    public static void MapModels(this IEndpointRouteBuilder v1)
    {
        v1.MapGet("/models", List).Describe(ReadOperations.ListModels);
        v1.MapGet("/models/{**model}", Get).Describe(ReadOperations.GetModel);
    }

    private static async Task<Results<JsonHttpResult<ListView<ModelView>>, ProblemResult>> List(HttpContext http, NpgsqlDataSource database)
    {
        if (new QueryParameters(http.Request.Query).Refusal() is { } refusal)
        {
            return refusal;
        }

        var models = await ModelRegistry.ReadAllAsync(database, http.RequestAborted);
        var views = models.Select(ModelView.Of).ToList();
        return TypedResults.Json(ListView.Of(views, views.Count, view => view.Id), ApiJson.Options);
    }

    /// <param name="model">A name, for the version that answers to it, or <c>name@version</c>.</param>
    private static async Task<Results<JsonHttpResult<ModelView>, ProblemResult>> Get(
        string model,
        HttpContext http,
        NpgsqlDataSource database
    )
    {
        if (new QueryParameters(http.Request.Query).Refusal() is { } refusal)
        {
            return refusal;
        }

        // The server decodes a path but for its slashes, since those would make another path.
        var asked = model.Replace("%2F", "/", StringComparison.OrdinalIgnoreCase);
        var models = await ModelRegistry.ReadAllAsync(database, http.RequestAborted);
        var found = models.FirstOrDefault(m => m.Manifest.Ref.ToString() == asked || (m.Current && m.Manifest.Name == asked));
        return found is null
            ? Problems.Result(
                FailureKind.UnknownModel,
                $"No model \"{asked}\" is registered; GET /v1/models lists those that are.",
                "model"
            )
            : TypedResults.Json(ModelView.Of(found), ApiJson.Options);
    }
}

/// <summary>A registered model version; the first four fields are OpenAI's.</summary>
internal sealed record ModelView
{
    /// <summary><c>name@version</c>.</summary>
    public required string Id { get; init; }
    public string Object { get; } = "model";

    /// <summary>Unix seconds.</summary>
    public required long Created { get; init; }
    public string OwnedBy { get; } = "pipeline";
    public required string Name { get; init; }
    public required string Version { get; init; }

    /// <summary>True for the version that answers when a job names none.</summary>
    public required bool Current { get; init; }
    public required ModelKind Kind { get; init; }
    public required string Sha256 { get; init; }
    public required long FileBytes { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
    public required JsonElement Manifest { get; init; }

    /// <summary>What registration measured.</summary>
    public required JsonElement? Profile { get; init; }

    public static ModelView Of(RegisteredModel model) =>
        new()
        {
            Id = model.Manifest.Ref.ToString(),
            Created = model.CreatedAt.ToUnixTimeSeconds(),
            Name = model.Manifest.Name,
            Version = model.Manifest.Version,
            Current = model.Current,
            Kind = model.Manifest.Kind,
            Sha256 = model.Sha256,
            FileBytes = model.FileBytes,
            CreatedAt = model.CreatedAt,
            Manifest = JsonSerializer.SerializeToElement(model.Manifest, ModelManifest.Json),
            Profile = model.Profile is null ? null : JsonSerializer.SerializeToElement(model.Profile, ModelManifest.Json),
        };
}
