using System.Text.Json;
using Pipeline.Standalone.Client;
using Xunit;

namespace Pipeline.Tests.Unit.Standalone;

public sealed class ReportTablesTests
{
    private const string Head = """
        "method": "sla.v3", "from": "2026-11-01T00:00:00+01:00", "to": "2026-11-02T00:00:00+01:00", "time_zone": "Europe/Berlin", "complete": false
        """;

    private const string Missed = """
        {"slo": "express-end-to-end", "name": "p95 800 ms", "class": "express", "tenant": null, "model": null,
         "good": 900, "total": 1000, "attained": 0.9, "met": false, "budget_left": -1}
        """;

    private const string Row = """
        {"class": "bulk", "tenant": "acme", "model": "words@1", "succeeded": 12345, "failed": 6, "expired": 0, "tasks_within": null,
         "end_to_end_ms": {"p50": 1234.56, "p95": 2000, "p99": null}, "cost_pico_usd": 1500000000000, "price_pico_usd": 2000000000000}
        """;

    [Fact]
    public void A_missed_objective_a_row_and_what_is_missing_can_be_read()
    {
        var lines = Lines($"{{{Head}, \"objectives\": [{Missed}], \"rows\": [{Row}]}}");

        Assert.Equal("2026-11-01 00:00 +01:00 to 2026-11-02 00:00 +01:00, days of Europe/Berlin, method sla.v3", lines[0]);
        Assert.StartsWith("Not complete", lines[1], StringComparison.Ordinal);
        Assert.Equal("express-end-to-end p95 800 ms  express  900   1,000  90 %      NO   -100 %", lines[4]);
        Assert.Equal("bulk   words@1  acme    12,345     6       0        -       1,234.6  2,000.0  -       $1.50  $2.00", lines[7]);
    }

    [Fact]
    public void A_window_in_which_nothing_ended_says_so() =>
        Assert.Equal("Nothing ended in this window.", Lines($"{{{Head}, \"objectives\": [], \"rows\": []}}")[^1]);

    private static string[] Lines(string report) => ReportTables.Of(JsonElement.Parse(report)).TrimEnd().Split('\n');
}
