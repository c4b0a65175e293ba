using System.Globalization;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Prices;

/// <summary><c>GET /v1/prices</c>: the price list, which is the same for every tenant, the last one set first.</summary>
internal static class ListPrices
{
    private static readonly string[] Classes = [.. Enum.GetValues<LatencyClass>().Select(value => value.Name())];

    public static void MapPrices(this IEndpointRouteBuilder v1) => v1.MapGet("/prices", Handle).Describe(ReadOperations.ListPrices);

    private static async Task<Results<JsonHttpResult<ListView<PriceView>>, ProblemResult>> Handle(
        HttpContext http,
        NpgsqlDataSource database,
        ResultsApiOptions options
    )
    {
        var query = new QueryParameters(http.Request.Query);
        var limit = query.Whole("limit", 1, options.ListLimitMax) ?? options.ListLimitDefault;
        var after = query.Value<long>(
            "after",
            "the id of a price",
            text => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var id) ? id : null
        );
        var classes = query.Words("class", Classes);
        var model = query.Text("model");
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        await using var command = database.CreateCommand(
            """
            SELECT id, class, model, per_million_units_pico, valid_from, created_at FROM prices
            WHERE id < $2 AND ($3 IS NULL OR class = ANY ($3)) AND ($4 IS NULL OR model = $4)
            ORDER BY id DESC LIMIT $1
            """
        );
        command.Parameters.Add(new() { Value = limit + 1 });
        command.Parameters.Add(new() { Value = after ?? long.MaxValue });
        command.Parameters.Add(new() { Value = (object?)classes ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Text });
        command.Parameters.Add(new() { Value = (object?)model ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text });
        await using var reader = await command.ExecuteReaderAsync(http.RequestAborted);
        var prices = new List<PriceView>();
        while (await reader.ReadAsync(http.RequestAborted))
        {
            prices.Add(
                new PriceView
                {
                    Id = reader.GetInt64(0).ToString(CultureInfo.InvariantCulture),
                    Class = reader.GetString(1),
                    Model = reader.IsDBNull(2) ? null : reader.GetString(2),
                    PricePerMillionUnitsPicoUsd = reader.GetInt64(3),
                    ValidFrom = reader.GetFieldValue<DateTimeOffset>(4),
                    CreatedAt = reader.GetFieldValue<DateTimeOffset>(5),
                }
            );
        }

        return TypedResults.Json(ListView.Of(prices, limit, price => price.Id), ApiJson.Options);
    }
}

/// <summary>What a million units are charged from a moment on, until the next price of the same class and model.</summary>
internal sealed record PriceView
{
    public required string Id { get; init; }
    public string Object { get; } = "price";
    public required string Class { get; init; }

    /// <summary>Null for every model that has no price of its own.</summary>
    public required string? Model { get; init; }
    public required long PricePerMillionUnitsPicoUsd { get; init; }
    public required DateTimeOffset ValidFrom { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
}
