using System.CommandLine;
using System.Text.Json;

namespace Pipeline.Standalone.Client;

/// <summary><c>report</c>: what was promised and what was kept in a window, as tables, JSON, CSV or a page with charts.</summary>
internal static class ReportCommand
{
    private const string Text = "text";
    private static readonly string[] Formats = ["json", "csv", "html"];

    public static Command Create(Connection connection)
    {
        var from = new Option<string?>("--from")
        {
            Description = "First day (2026-11-01) or moment with its offset (default: 30 days before --to)",
        };
        var to = new Option<string?>("--to") { Description = "Last day, or the moment it ends (default: now)" };
        var by = new Option<string?>("--by")
        {
            Description = "class, model, tenant (operators), and one of day, week, month (default: day,class,model)",
        };
        var tz = new Option<string?>("--tz") { Description = "Time zone of days, weeks and months (default: UTC)" };
        var tenant = new Option<string?>("--tenant") { Description = "Operators: only this tenant" };
        var format = new Option<string?>("--format") { Description = "text, json, csv or html (default: as --output ends, else text)" };
        format.AcceptOnlyFromAmong([Text, .. Formats]);
        var section = new Option<string?>("--section")
        {
            Description = "Of csv: rows, objectives, periods, stages, bands, outcomes, acceptance, breaches, exclusions",
        };
        var output = new Option<FileInfo?>("--output", "-o") { Description = "File to write (default: standard output)" };
        var command = new Command("report", "What was promised and what was kept: an SLA report of any window.")
        {
            from,
            to,
            by,
            tz,
            tenant,
            format,
            section,
            output,
        };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                var file = parsed.GetValue(output);
                var wanted = parsed.GetValue(format) ?? FormatOf(file);
                (string Name, string? Value)[] asked =
                [
                    ("from", parsed.GetValue(from)),
                    ("to", parsed.GetValue(to)),
                    ("by", parsed.GetValue(by)),
                    ("tz", parsed.GetValue(tz)),
                    ("tenant", parsed.GetValue(tenant)),
                    ("format", wanted == Text ? "json" : wanted),
                    ("section", parsed.GetValue(section)),
                ];
                using var client = connection.Open(parsed);
                var report = await client.GetReportAsync(
                    asked.Where(a => a.Value is not null).Select(a => KeyValuePair.Create(a.Name, a.Value!)),
                    stop
                );
                if (wanted == Text)
                {
                    report = ReportTables.Of(JsonElement.Parse(report));
                }

                if (file is null)
                {
                    await Console.Out.WriteAsync(report.EndsWith('\n') ? report : $"{report}\n");
                    return ExitCode.Ok;
                }

                await File.WriteAllTextAsync(file.FullName, report, stop);
                await Console.Error.WriteLineAsync($"Wrote {file.FullName}.");
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static string FormatOf(FileInfo? file) =>
        Formats.FirstOrDefault(format => string.Equals(file?.Extension, $".{format}", StringComparison.OrdinalIgnoreCase), Text);
}
