using System.Text;
using System.Text.Json;
using Pipeline.Hosting;
using Pipeline.ResultsApi.Usage;

namespace Pipeline.ResultsApi.Dashboard;

/// <summary>Lists as files: CSV, or JSON with <c>format=json</c>.</summary>
internal static class Export
{
    public static IResult Answer(HttpContext http, string name, string[] columns, IEnumerable<string?[]> rows)
    {
        if (http.Request.Query["format"] == "json")
        {
            var items = rows.Select(row => columns.Zip(row).ToDictionary(pair => pair.First, pair => pair.Second));
            return TypedResults.File(JsonSerializer.SerializeToUtf8Bytes(items, ApiJson.Options), "application/json", $"{name}.json");
        }

        var text = new StringBuilder(Csv.Line(columns));
        foreach (var row in rows)
        {
            text.Append(Csv.Line(row.Select(Harmless)));
        }

        return TypedResults.File(Encoding.UTF8.GetBytes(text.ToString()), "text/csv; charset=utf-8", $"{name}.csv");
    }

    /// <summary>A spreadsheet takes a field that begins so for a formula, and runs it; with a quote before it, it is text.</summary>
    private static string? Harmless(string? field) => field is ['=' or '+' or '-' or '@' or '\t' or '\r', ..] ? $"'{field}" : field;
}
