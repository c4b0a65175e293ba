using Microsoft.AspNetCore.Http;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Routes;
using Pipeline.Ingest.Tasks;

namespace Pipeline.Ingest.Door;

/// <summary>
/// The model an answer is counted under, of a route that of its first variant. It is looked up among the models this process knows, without
/// a query: so it is found while PostgreSQL is away, whose refusals count, and a name that nobody registered is never counted under.
/// </summary>
internal sealed class DoorModels(ModelCatalog models, RouteCatalog routes)
{
    /// <summary>Where a request named no model, or was answered before it was read which.</summary>
    public const string None = "";

    /// <summary><c>name@version</c>, or <see cref="None"/>.</summary>
    public string Of(HttpContext http)
    {
        var (model, route) = http.Asked();
        var name = model ?? (route is null ? null : routes.Remembered(route)?.Route.Variants[0].Model);
        return name is null ? None : models.Remembered(name)?.Ref.ToString() ?? None;
    }
}

/// <summary>What a request asks for, as far as it is read.</summary>
internal static class AskedModel
{
    private static readonly object Item = new();

    /// <summary>Tells the door of a request's parameters, which may still be filled from its body.</summary>
    public static void Asks(this HttpContext http, JobParameters parameters) => http.Items[Item] = parameters;

    /// <summary>Tells the door of the model that a request's address names. An error's answer no longer knows the address's parts.</summary>
    public static void AsksByAddress(this HttpContext http)
    {
        if (http.Request.RouteValues["m"] is string name)
        {
            http.Items[Item] = http.Request.RouteValues["v"] is string version ? $"{name}@{version}" : name;
        }
    }

    public static (string? Model, string? Route) Asked(this HttpContext http)
    {
        if (http.Items.TryGetValue(Item, out var item) && item is string name)
        {
            return (name, null);
        }

        // What was refused before anybody looked at it may name a model in its query or headers.
        var parameters = item as JobParameters ?? JobParameters.From(http.Request, new Mistakes(1));
        return (parameters[JobParameters.Model], parameters[JobParameters.Route]);
    }
}
