using System.Globalization;
using System.Text.Json;
using Pipeline.Contracts;

namespace Pipeline.Standalone.Client;

/// <summary>An SLA report for a terminal: its objectives, and a line for each of its rows.</summary>
internal static class ReportTables
{
    private static readonly string[] Kinds = ["class", "model", "tenant"];

    /// <param name="report">As <c>GET /v1/reports/sla</c> answers.</param>
    public static string Of(JsonElement report)
    {
        using var text = new StringWriter(CultureInfo.InvariantCulture);
        text.WriteLine(
            $"{Moment(report, "from")} to {Moment(report, "to")}, days of {report.GetProperty("time_zone")}, method {report.GetProperty("method")}"
        );
        if (!report.GetProperty("complete").GetBoolean())
        {
            text.WriteLine("Not complete: work of this window is still being counted, or the window has not ended.");
        }

        text.WriteLine();
        PlainTable.Write(
            text,
            ["OBJECTIVE", "OF", "GOOD", "TOTAL", "ATTAINED", "MET", "BUDGET LEFT"],
            report.GetProperty("objectives").EnumerateArray().Select(Objective)
        );
        text.WriteLine();
        var rows = report.GetProperty("rows").EnumerateArray().ToList();
        if (rows.Count == 0)
        {
            text.WriteLine("Nothing ended in this window.");
            return text.ToString();
        }

        PlainTable.Write(
            text,
            ["CLASS", "MODEL", "TENANT", "SUCCEEDED", "FAILED", "EXPIRED", "WITHIN", "P50 ms", "P95 ms", "P99 ms", "COST", "CHARGED"],
            rows.Select(Row)
        );
        return text.ToString();
    }

    private static string[] Objective(JsonElement objective) =>
        [
            $"{objective.GetProperty("slo")} {objective.GetProperty("name")}",
            Kind(objective),
            Count(objective, "good"),
            Count(objective, "total"),
            Share(objective, "attained"),
            objective.GetProperty("met").ValueKind switch
            {
                JsonValueKind.True => "yes",
                JsonValueKind.False => "NO",
                _ => "-",
            },
            Share(objective, "budget_left"),
        ];

    private static string[] Row(JsonElement row)
    {
        var took = row.GetProperty("end_to_end_ms");
        return
        [
            Listing.Text(row.GetProperty("class")),
            Listing.Text(row.GetProperty("model")),
            row.GetProperty("tenant") is { ValueKind: JsonValueKind.String } tenant ? tenant.GetString()! : "all",
            Count(row, "succeeded"),
            Count(row, "failed"),
            Count(row, "expired"),
            Share(row, "tasks_within"),
            Milliseconds(took, "p50"),
            Milliseconds(took, "p95"),
            Milliseconds(took, "p99"),
            Money(row, "cost_pico_usd"),
            Money(row, "price_pico_usd"),
        ];
    }

    /// <summary>What an objective is of: a class, a model or a tenant, or all of them.</summary>
    private static string Kind(JsonElement objective)
    {
        var of = string.Join(' ', Kinds.Select(name => objective.GetProperty(name).GetString()).Where(name => name is not null));
        return of.Length > 0 ? of : "all";
    }

    private static string Moment(JsonElement of, string name) =>
        of.GetProperty(name).GetDateTimeOffset().ToString("yyyy-MM-dd HH:mm zzz", CultureInfo.InvariantCulture);

    private static string Count(JsonElement of, string name) =>
        of.GetProperty(name).GetInt64().ToString("N0", CultureInfo.InvariantCulture);

    private static string Share(JsonElement of, string name) =>
        of.GetProperty(name) is { ValueKind: JsonValueKind.Number } share
            ? string.Create(CultureInfo.InvariantCulture, $"{share.GetDouble() * 100:0.##} %")
            : "-";

    private static string Milliseconds(JsonElement of, string name) =>
        of.ValueKind == JsonValueKind.Object && of.GetProperty(name) is { ValueKind: JsonValueKind.Number } ms
            ? ms.GetDouble().ToString("N1", CultureInfo.InvariantCulture)
            : "-";

    private static string Money(JsonElement of, string name) =>
        of.TryGetProperty(name, out var pico) && pico.ValueKind == JsonValueKind.Number ? Cost.Format((Int128)pico.GetDecimal()) : "-";
}
