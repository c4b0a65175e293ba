using System.Globalization;
using System.Text;
using System.Text.Json;
using Pipeline.Hosting;
using Pipeline.ResultsApi.Dashboard.Layout;
using Pipeline.ResultsApi.Usage;

namespace Pipeline.ResultsApi.Dashboard;

/// <summary>Lists as files: CSV, or JSON with <c>format=json</c>.</summary>
internal static class Export
{
    /// <param name="name">Of the file, without its ending.</param>
    public static IResult Answer<T>(HttpContext http, string name, IEnumerable<T> rows, params (string Name, Func<T, object?> Of)[] columns)
    {
        if (http.Request.Query["format"] == "json")
        {
            var items = rows.Select(row => columns.ToDictionary(column => column.Name, column => Text(column.Of(row))));
            return TypedResults.File(JsonSerializer.SerializeToUtf8Bytes(items, ApiJson.Options), "application/json", $"{name}.json");
        }

        var text = new StringBuilder(Csv.Line(columns.Select(column => column.Name)));
        foreach (var row in rows)
        {
            text.Append(Csv.Line(columns.Select(column => Harmless(Text(column.Of(row))))));
        }

        return TypedResults.File(Encoding.UTF8.GetBytes(text.ToString()), "text/csv; charset=utf-8", $"{name}.csv");
    }

    private static string? Text(object? value) =>
        value switch
        {
            DateTimeOffset at => Show.Iso(at),
            bool yes => yes ? "true" : "false",
            _ => Convert.ToString(value, CultureInfo.InvariantCulture) is { Length: > 0 } text ? text : null,
        };

    /// <summary>A spreadsheet takes a field that begins so for a formula, and runs it; with a quote before it, it is text.</summary>
    private static string? Harmless(string? field) => field is ['=' or '+' or '-' or '@' or '\t' or '\r', ..] ? $"'{field}" : field;
}
