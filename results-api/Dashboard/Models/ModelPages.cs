using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard.Models;

/// <summary>Models with their versions and profiles, and which version answers for a name: switched here, and back.</summary>
internal static class ModelPages
{
    private const int AuditRows = 10;

    public static void MapModelPages(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/models", ListAsync);
        pages.MapGet("/models/{**name}", ShowAsync);
        pages.MapPost("/models/use", UseAsync);
    }

    private static async Task<IResult> ListAsync(HttpContext http, NpgsqlDataSource database) =>
        http.Page<ModelsPage>(new { Models = await ModelRegistry.ReadAllAsync(database, http.RequestAborted) });

    private static async Task<IResult> ShowAsync(string name, HttpContext http, NpgsqlDataSource database, AuditLog audit)
    {
        var stop = http.RequestAborted;
        var versions = await VersionsAsync(database, name, stop);
        return versions.Count == 0
            ? http.Error(StatusCodes.Status404NotFound, "There is no such model", $"None is registered as \"{name}\".")
            : http.Page<ModelPage>(
                new
                {
                    Name = name,
                    Versions = versions,
                    Deeds = await audit.ListAsync(name, null, "model.use", null, AuditRows, stop),
                }
            );
    }

    private static async Task<IResult> UseAsync(HttpContext http, NpgsqlDataSource database, AuditLog audit)
    {
        var form = await http.Request.ReadFormAsync(http.RequestAborted);
        var (name, version) = (form["model"].ToString(), form["version"].ToString());
        var versions = await VersionsAsync(database, name, http.RequestAborted);
        return await http.DoAsync(
            audit,
            new Deed("model.use", "model", name) { Before = new { version = Current(versions) } },
            Links.Model(name),
            $"{name} is version {version} from now on.",
            async (_, stop) =>
                await ModelRegistry.SetCurrentAsync(database, new ModelRef(name, version), stop)
                    ? DeedOutcome.Done(new { version })
                    : DeedOutcome.Refused("There is no such version of it.")
        );
    }

    /// <summary>The versions of a name, newest first.</summary>
    private static async Task<List<RegisteredModel>> VersionsAsync(NpgsqlDataSource database, string name, CancellationToken stop) =>
        [.. (await ModelRegistry.ReadAllAsync(database, stop)).Where(m => m.Manifest.Name == name).Reverse()];

    private static string? Current(IEnumerable<RegisteredModel> versions) => versions.FirstOrDefault(v => v.Current)?.Manifest.Version;
}
