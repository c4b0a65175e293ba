using System.Globalization;
using System.Reflection;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Pipeline.Contracts;
using Pipeline.ResultsApi.Usage;

namespace Pipeline.ResultsApi.Sla;

/// <summary>Writes one section of a report as CSV: a column for each field, those of a time as <c>end_to_end_ms_p95</c>.</summary>
internal static class ReportCsv
{
    public static readonly IReadOnlyDictionary<string, Func<SlaReport, string>> Sections = new Dictionary<string, Func<SlaReport, string>>
    {
        ["rows"] = report => Write(report.Rows),
        ["objectives"] = report => Write(report.Objectives),
        ["periods"] = report => Write(report.Periods),
        ["stages"] = report => Write(report.Stages),
        ["bands"] = report => Write(report.Bands),
        ["outcomes"] = report => Write(report.Outcomes),
        ["acceptance"] = report => Write(report.Acceptance),
        ["acceptance_by_model"] = report => Write(report.AcceptanceByModel),
        ["breaches"] = report => Write(report.Breaches.Data),
        ["exclusions"] = report => Write(report.Exclusions),
    };

    private static string Write<T>(IReadOnlyList<T> rows)
    {
        var columns = Columns(typeof(T), "").ToList();
        var text = new StringBuilder(Csv.Line(columns.Select(c => c.Name)));
        foreach (var row in rows)
        {
            text.Append(Csv.Line(columns.Select(c => Text(c.Of(row!)))));
        }

        return text.ToString();
    }

    private static IEnumerable<(string Name, Func<object, object?> Of)> Columns(Type type, string prefix)
    {
        foreach (var property in type.GetProperties().Where(p => p.Name != "Object"))
        {
            var given = property.GetCustomAttribute<JsonPropertyNameAttribute>()?.Name;
            var name = prefix + (given ?? JsonNamingPolicy.SnakeCaseLower.ConvertName(property.Name));
            if (property.PropertyType != typeof(TimesView))
            {
                yield return (name, property.GetValue);
                continue;
            }

            foreach (var (inner, of) in Columns(typeof(TimesView), $"{name}_"))
            {
                yield return (inner, row => of(property.GetValue(row)!));
            }
        }
    }

    private static string? Text(object? value) =>
        value switch
        {
            null => null,
            LatencyClass latencyClass => latencyClass.Name(),
            DateTimeOffset at => at.ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture),
            bool flag => flag ? "true" : "false",
            IFormattable formattable => formattable.ToString(null, CultureInfo.InvariantCulture),
            _ => value.ToString(),
        };
}
