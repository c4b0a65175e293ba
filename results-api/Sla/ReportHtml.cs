using System.Globalization;
using System.Net;
using System.Text;
using Pipeline.Contracts;

namespace Pipeline.ResultsApi.Sla;

/// <summary>
/// Shows a report as one page that needs nothing beside it: charts are inline, and a print style makes a clean PDF of it in any browser; or its
/// sections alone, for a page that has a frame of its own. Made of the report alone, so a stored report shows the same ever after.
/// </summary>
internal static class ReportHtml
{
    public static string Render(SlaReport report)
    {
        var zone = ReportCalendar.Zone(report.TimeZone) ?? TimeZoneInfo.Utc;
        var page = new StringBuilder();
        page.Append("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")
            .Append("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")
            .Append(
                $"<title>SLA report {Local(report.From, zone)} to {Local(report.To, zone)}</title><style>{Style}</style></head><body>\n"
            );
        page.Append("<h1>SLA report</h1>").Append(Sections(report, job => $"<code>{job}</code>"));
        return page.Append("</body></html>\n").ToString();
    }

    /// <param name="job">How a job is written.</param>
    public static string Sections(SlaReport report, Func<JobId, string> job)
    {
        var zone = ReportCalendar.Zone(report.TimeZone) ?? TimeZoneInfo.Utc;
        var page = new StringBuilder();
        Head(page, report, zone);
        Objectives(page, report);
        Periods(page, report, zone);
        Rows(page, report);
        Stages(page, report);
        Business(page, report);
        Acceptance(page, report);
        Breaches(page, report, zone, job);
        Exclusions(page, report, zone);
        Foot(page, report);
        return page.ToString();
    }

    private static void Head(StringBuilder page, SlaReport report, TimeZoneInfo zone)
    {
        page.Append($"<header><p>{Local(report.From, zone)} to {Local(report.To, zone)}, {E(report.TimeZone)} · ")
            .Append($"{Number(report.Hours)} hours count · {(report.Tenant is null ? "all tenants" : $"tenant {E(report.Tenant)}")}</p>");
        if (!report.Complete)
        {
            page.Append("<p class=\"warn\">This window is not complete: it is not over, or not all of it is summed up yet.</p>");
        }

        page.Append("</header>\n");
    }

    private static void Objectives(StringBuilder page, SlaReport report)
    {
        page.Append("<section><h2>Objectives</h2>");
        Table(
            page,
            ["Objective", "Of", "Limit", "Target", "Attained", "Good of all", "Budget left", "Burn", "Result"],
            report.Objectives.Select(o =>
                (IReadOnlyList<string>)
                    [
                        E($"{o.Slo}: {o.Name}"),
                        E(string.Join(", ", new[] { o.Indicator, o.Class?.Name(), o.Tenant, o.Model }.Where(text => text is not null))),
                        o.LimitMs is null ? "" : Ms(o.LimitMs),
                        Percent(o.Target),
                        Percent(o.Attained),
                        $"{Number(o.Good)} of {Number(o.Total)}",
                        Percent(o.BudgetLeft),
                        o.Burn is null ? "–" : $"{Number(o.Burn.Value)}×",
                        o.Met switch
                        {
                            true => "<span class=\"met\">met</span>",
                            false => "<span class=\"missed\">missed</span>",
                            null => "no data",
                        },
                    ]
            )
        );
        page.Append("</section>\n");
    }

    private static void Periods(StringBuilder page, SlaReport report, TimeZoneInfo zone)
    {
        if (report.Periods.Count == 0)
        {
            page.Append("<section><h2>Over time</h2><p>No task or job ended in this window.</p></section>\n");
            return;
        }

        // Those in which nothing ended, too: time passes evenly.
        var unit = ReportCalendar.UnitOf(report.Periods[0].Period);
        var periods = ReportCalendar.Periods(unit, report.From, report.To, zone).Select(p => p.Name).ToList();
        var at = report.Periods.ToDictionary(p => (p.Period, p.Class));
        var classes = report.Periods.Select(p => p.Class).Distinct().Order().ToList();
        ChartLine Of(LatencyClass c, string name, Func<PeriodView, double?> value) =>
            new(name, [.. periods.Select(p => at.TryGetValue((p, c), out var period) ? value(period) : null)]);

        page.Append("<section><h2>Over time</h2><h3>Tasks within their class's target</h3>")
            .Append(
                Charts.Lines(
                    "Share of tasks within their class's target",
                    periods,
                    [.. classes.Select(c => Of(c, c.Name(), p => p.TasksWithin))],
                    0,
                    1,
                    value => Percent(value)
                )
            );
        foreach (var c in classes)
        {
            page.Append($"<h3>End to end, {c.Name()}</h3>")
                .Append(
                    Charts.Lines(
                        $"Time from acceptance to result, {c.Name()}",
                        periods,
                        [Of(c, "p50", p => p.EndToEndMs.P50), Of(c, "p95", p => p.EndToEndMs.P95), Of(c, "p99", p => p.EndToEndMs.P99)],
                        0,
                        null,
                        value => Ms(value)
                    )
                );
        }

        page.Append("</section>\n");
    }

    private static void Rows(StringBuilder page, SlaReport report)
    {
        page.Append("<section class=\"wide\"><h2>What was done</h2>");
        Table(
            page,
            [
                .. Keys(report),
                "Succeeded",
                "Failed",
                "Expired",
                "Tasks in time",
                "Jobs in time",
                "End to end p50",
                "p95",
                "p99",
                "p99.9",
                "Wait p95",
                "Device p95",
                "First result p50",
                "Tasks/s",
                "Cost a task, $",
                "Reused",
                "Padding",
                "Batch",
            ],
            report.Rows.Select(r =>
                (IReadOnlyList<string>)
                    [
                        .. KeysOf(report, r),
                        Number(r.Succeeded),
                        Number(r.Failed),
                        Number(r.Expired),
                        Percent(r.TasksWithin),
                        Percent(r.JobsWithin),
                        Ms(r.EndToEndMs.P50),
                        Ms(r.EndToEndMs.P95),
                        Ms(r.EndToEndMs.P99),
                        Ms(r.EndToEndMs.P999),
                        Ms(r.QueueWaitMs.P95),
                        Ms(r.DeviceMs.P95),
                        Ms(r.FirstResultMs.P50),
                        Number(r.TasksPerSecond),
                        Usd(r.CostPerTaskPicoUsd),
                        Percent(r.ReusedShare),
                        Percent(r.PaddingShare),
                        r.TasksPerBatch is { } rows ? Number(rows) : "–",
                    ]
            )
        );
        page.Append(
            "<p class=\"note\">Failed includes faults of clients, which count against no objective; so do cancelled tasks.</p></section>\n"
        );
    }

    private static void Stages(StringBuilder page, SlaReport report)
    {
        if (report.Stages.Count == 0)
        {
            return;
        }

        var classes = report.Stages.GroupBy(s => s.Class).ToList();
        page.Append("<section><h2>Where the time goes</h2>")
            .Append(
                Charts.Bars(
                    "Share of each stage in the time from acceptance to result",
                    [.. classes[0].Select(s => s.Stage)],
                    [.. classes.Select(c => new ChartBar(c.Key.Name(), [.. c.Select(s => s.Share)]))]
                )
            )
            .Append("<h3>Were a stage faster, the whole would be, on average (Amdahl)</h3>");
        Table(
            page,
            ["Class", "Stage", "Share", "Mean", "p95", "2× as fast", "10×", "∞"],
            report.Stages.Select(s =>
                (IReadOnlyList<string>)
                    [
                        s.Class.Name(),
                        s.Stage,
                        Percent(s.Share),
                        Ms(s.Ms.Mean),
                        Ms(s.Ms.P95),
                        $"{Gain(s.Gain2)}",
                        $"{Gain(s.Gain10)}",
                        $"{Gain(s.GainInfinite)}",
                    ]
            )
        );
        page.Append("</section>\n");
    }

    private static void Business(StringBuilder page, SlaReport report)
    {
        var classes = report.Bands.GroupBy(b => b.Class).ToList();
        page.Append("<section><h2>What people noticed</h2>");
        if (classes.Count > 0)
        {
            string[] names = [.. classes[0].Select(b => Band(b.UpToMs))];
            page.Append(
                Charts.Bars(
                    "Tasks by their time from acceptance to result",
                    names,
                    [.. classes.Select(c => new ChartBar(c.Key.Name(), [.. c.Select(b => b.Share ?? 0)]))]
                )
            );
            Table(
                page,
                ["Class", .. names.SelectMany(n => new[] { n, "left" })],
                classes.Select(c =>
                    (IReadOnlyList<string>)[c.Key.Name(), .. c.SelectMany(b => new[] { Number(b.Tasks), Number(b.Disconnects) })]
                )
            );
            page.Append("<p class=\"note\">Left: clients that closed the connection after so long a wait.</p>");
        }

        if (report.Outcomes.Count > 0)
        {
            page.Append("<h3>Outcomes by the time of their group</h3>");
            Table(
                page,
                ["Time", "Groups", "Reported", "Accepted", "Rate", "Value"],
                report.Outcomes.Select(o =>
                    (IReadOnlyList<string>)
                        [
                            Band(o.UpToMs),
                            Number(o.Groups),
                            Number(o.Reported),
                            Number(o.Accepted),
                            Percent(o.AcceptanceRate),
                            o.Value is { } value ? Number(value) : "–",
                        ]
                )
            );
        }

        page.Append("</section>\n");
    }

    private static void Acceptance(StringBuilder page, SlaReport report)
    {
        page.Append("<section><h2>Acceptance and callbacks</h2>");
        string[] heads = ["Taken", "Failed", "Availability", "Limited (429)", "Faults of clients", "Left"];
        Table(
            page,
            ["Class", .. heads],
            report.Acceptance.Select(a =>
                (IReadOnlyList<string>)
                    [
                        a.Class.Name(),
                        Number(a.Accepted),
                        Number(a.Failed),
                        Percent(a.Availability),
                        Number(a.Limited),
                        Number(a.ClientFaults),
                        Number(a.Disconnects),
                    ]
            )
        );
        if (report.AcceptanceByModel.Count > 0)
        {
            page.Append("<h3>By model</h3>");
            Table(
                page,
                ["Model", "Class", .. heads],
                report.AcceptanceByModel.Select(a =>
                    (IReadOnlyList<string>)
                        [
                            a.Model is null ? "none known" : E(a.Model),
                            a.Class.Name(),
                            Number(a.Accepted),
                            Number(a.Failed),
                            Percent(a.Availability),
                            Number(a.Limited),
                            Number(a.ClientFaults),
                            Number(a.Disconnects),
                        ]
                )
            );
        }

        page.Append(
            $"<p>Webhooks: {Number(report.Callbacks.Delivered)} delivered, {Number(report.Callbacks.Punctual)} of them punctually, "
                + $"{Number(report.Callbacks.Failed)} given up: punctuality {Percent(report.Callbacks.Punctuality)}.</p></section>\n"
        );
    }

    private static void Breaches(StringBuilder page, SlaReport report, TimeZoneInfo zone, Func<JobId, string> job)
    {
        var breaches = report.Breaches;
        page.Append($"<section class=\"wide\"><h2>Breaches</h2><p>{(breaches.CountedAll ? "" : "At least ")}{Number(breaches.Total)}. ")
            .AppendJoin(", ", breaches.Causes.Select(c => $"{E(c.Cause)} {Number(c.Breaches)}"))
            .Append("</p>");
        if (breaches.Data.Count > 0)
        {
            Table(
                page,
                ["Ended", "Job", "Class", "Tenant", "Model", "State", "Cause", "Target", "Took", "Waiting", "Staged", "Device", "Writing"],
                breaches.Data.Select(b =>
                    (IReadOnlyList<string>)
                        [
                            Local(b.At, zone),
                            job(b.Job),
                            b.Class.Name(),
                            E(b.Tenant),
                            E(b.Model),
                            E(b.State),
                            E(b.Cause),
                            Ms(b.TargetMs),
                            Ms(b.TotalMs),
                            Ms(b.WaitingMs),
                            Ms(b.StagedMs),
                            Ms(b.DeviceMs),
                            Ms(b.WritingMs),
                        ]
                )
            );
        }

        if (breaches.Data.Count < breaches.Total)
        {
            page.Append($"<p class=\"note\">The first {Number(breaches.Data.Count)} are listed.</p>");
        }

        page.Append("</section>\n");
    }

    private static void Exclusions(StringBuilder page, SlaReport report, TimeZoneInfo zone)
    {
        page.Append("<section><h2>Left out</h2>");
        if (report.Exclusions.Count == 0)
        {
            page.Append("<p>Nothing: all of the window counts.</p>");
        }
        else
        {
            Table(
                page,
                ["From", "To", "Reason"],
                report.Exclusions.Select(e => (IReadOnlyList<string>)[Local(e.From, zone), Local(e.To, zone), E(e.Reason)])
            );
        }

        page.Append("</section>\n");
    }

    private static void Foot(StringBuilder page, SlaReport report) =>
        page.Append(
            $"<footer><p>Method {E(report.Method)} · source rows SHA-256 <code>{E(report.SourceSha256)}</code></p>"
                + "<p>Times are of tasks that succeeded, from acceptance to the write of their result; the commit itself is not in them. Percentiles are off by at most "
                + "0.79 %. What is shown is a task's last run: the time of a run that was lost is in its waiting.</p></footer>"
        );

    private static void Table(StringBuilder page, IReadOnlyList<string> heads, IEnumerable<IReadOnlyList<string>> rows)
    {
        page.Append("<div class=\"scroll\" tabindex=\"0\"><table><thead><tr>");
        foreach (var head in heads)
        {
            page.Append("<th scope=\"col\">").Append(E(head)).Append("</th>");
        }

        page.Append("</tr></thead><tbody>");
        foreach (var row in rows)
        {
            page.Append("<tr>");
            foreach (var cell in row)
            {
                page.Append("<td>").Append(cell).Append("</td>");
            }

            page.Append("</tr>");
        }

        page.Append("</tbody></table></div>");
    }

    private static IEnumerable<string> Keys(SlaReport report)
    {
        var any = report.Rows.Count > 0 ? report.Rows[0] : null;
        return new[]
        {
            any?.Class is null ? null : "Class",
            any?.Tenant is null ? null : "Tenant",
            any?.Model is null ? null : "Model",
        }.OfType<string>();
    }

    private static IEnumerable<string> KeysOf(SlaReport report, SlaRowView row) =>
        Keys(report)
            .Select(key =>
                E(
                    key == "Class" ? row.Class!.Value.Name()
                    : key == "Tenant" ? row.Tenant!
                    : row.Model!
                )
            );

    private static string Band(double? upToMs) => upToMs is { } end ? $"≤ {Number(end)} ms" : "more";

    private static string Gain(double? gain) => gain is { } times ? $"{Number(times)}×" : "all of it";

    private static string Local(DateTimeOffset at, TimeZoneInfo zone) =>
        TimeZoneInfo.ConvertTime(at, zone).ToString("yyyy-MM-dd HH:mm zzz", CultureInfo.InvariantCulture);

    private static string Ms(double? ms) =>
        ms switch
        {
            null => "–",
            >= 3_600_000 => $"{Number(ms.Value / 3_600_000)} h",
            >= 60_000 => $"{Number(ms.Value / 60_000)} min",
            >= 10_000 => $"{Number(ms.Value / 1000)} s",
            _ => $"{Number(ms.Value)} ms",
        };

    private static string Percent(double? share) =>
        share is { } part ? string.Create(CultureInfo.InvariantCulture, $"{part * 100:0.###} %") : "–";

    private static string Usd(double? pico) =>
        pico is { } amount ? ((decimal)amount / Cost.PicoPerUsd).ToString("0.000000000###", CultureInfo.InvariantCulture) : "–";

    private static string Number(double number) => number.ToString("#,0.###", CultureInfo.InvariantCulture);

    private static string E(string text) => WebUtility.HtmlEncode(text);

    private const string Style = """
        :root{color-scheme:light}
        body{font:15px/1.45 system-ui,sans-serif;color:#1a1a1a;background:#fff;max-width:70rem;margin:2rem auto;padding:0 1rem}
        h1{font-size:1.7rem;margin:0}h2{font-size:1.2rem;border-bottom:2px solid #0b5fa5;padding-bottom:.2rem;margin-top:2rem}h3{font-size:1rem;margin-bottom:.3rem}
        table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
        th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
        th:first-child,td:first-child{text-align:left}th{background:#f2f5f8}.scroll{overflow-x:auto}
        svg{max-width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:#333}svg text[fill]{fill:#fff}
        .legend span{margin-right:1rem}.legend svg{vertical-align:middle}.legend,.note,footer{font-size:.85rem;color:#444}
        .met{color:#17663a;font-weight:600}.missed{color:#a3190b;font-weight:600}.warn{background:#fff3cd;padding:.5rem;border-left:4px solid #b8860b}
        @page{size:A4 landscape;margin:14mm}
        @media print{body{max-width:none;margin:0;font-size:9pt}table{font-size:7pt}th,td{padding:1px 4px;white-space:normal;overflow-wrap:anywhere}.scroll{overflow:visible}
        section{break-inside:auto}h2,h3{break-after:avoid}tr,svg{break-inside:avoid}thead{display:table-header-group}a{color:inherit}
        *{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
        """;
}
