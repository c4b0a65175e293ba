using System.CommandLine;
using System.Globalization;
using System.Text;
using Npgsql;
using Pipeline.ResultsApi.Usage.Focus;
using Pipeline.Standalone.Client;

namespace Pipeline.Standalone.Host;

/// <summary><c>usage</c>: what the fleet cost and for whom, for its operators, who have the database's connection.</summary>
internal static class UsageCommand
{
    private const int DaysMax = 366;

    public static Command Create()
    {
        var focus = new Option<bool>("--focus") { Description = "Write FOCUS 1.3 rows (Cost and Usage)", Required = true };
        var from = new Option<string>("--from")
        {
            Description = "First UTC day, as 2026-01-31 (default: the first of this month)",
            DefaultValueFactory = _ => Day(new DateOnly(DateTime.UtcNow.Year, DateTime.UtcNow.Month, 1)),
        };
        var to = new Option<string>("--to")
        {
            Description = "Last UTC day (default: today)",
            DefaultValueFactory = _ => Day(DateOnly.FromDateTime(DateTime.UtcNow)),
        };
        var csv = new Option<bool>("--csv") { Description = "Write CSV (the default)" };
        var json = new Option<bool>("--json") { Description = "Write a JSON array" };
        var origins = new Option<bool>("--origins") { Description = "Write origin charges, not split; never add them to the others" };
        var output = new Option<string?>("--out", "-o") { Description = "File to write (default: the standard output)" };
        var provider = new Option<string>("--provider")
        {
            Description = "Who runs the service, as it stands in the rows",
            DefaultValueFactory = _ => "Pipeline",
        };
        var host = new Option<string?>("--host-provider") { Description = "Whose machines it runs on (default: the provider)" };
        var account = new Option<string>("--billing-account")
        {
            Description = "The billing account",
            DefaultValueFactory = _ => "pipeline",
        };
        var data = new Option<string>("--data")
        {
            Description = "Data folder of the host started with up",
            DefaultValueFactory = _ => HostRecord.DefaultFolder,
        };
        var database = new Option<string?>("--database")
        {
            Description = "Connection string (default: PIPELINE__DATABASE, or the running host's)",
        };
        var command = new Command("usage", "Export what the fleet cost, split to tenants, classes and models.")
        {
            focus,
            from,
            to,
            csv,
            json,
            origins,
            output,
            provider,
            host,
            account,
            data,
            database,
        };
        command.Validators.Add(result =>
        {
            var (first, last) = (Day(result.GetValue(from)), Day(result.GetValue(to)));
            foreach (var (option, day, given) in new[] { ("--from", first, result.GetValue(from)), ("--to", last, result.GetValue(to)) })
            {
                if (day is null && given is not null)
                {
                    result.AddError($"{option}: expected a UTC day as 2026-01-31, given \"{given}\".");
                }
            }

            if (first is { } a && last is { } b && (a > b || b.DayNumber - a.DayNumber >= DaysMax))
            {
                result.AddError(
                    $"--from: expected a day not after --to and at most {DaysMax} days before it, given {a:yyyy-MM-dd} and {b:yyyy-MM-dd}."
                );
            }

            if (result.GetValue(csv) && result.GetValue(json))
            {
                result.AddError("--csv and --json exclude each other.");
            }
        });
        command.SetAction(
            async (parsed, stop) =>
            {
                var connection = GivenServers.Database(parsed.GetValue(database), parsed.GetValue(data)!);
                var options = new FocusOptions
                {
                    From = Day(parsed.GetValue(from))!.Value,
                    To = Day(parsed.GetValue(to))!.Value,
                    Json = parsed.GetValue(json),
                    Origins = parsed.GetValue(origins),
                    Provider = parsed.GetValue(provider)!,
                    HostProvider = parsed.GetValue(host) ?? parsed.GetValue(provider)!,
                    BillingAccount = parsed.GetValue(account)!,
                };
                await using var storage = NpgsqlDataSource.Create(connection);
                await using var writer = new StreamWriter(
                    parsed.GetValue(output) is { } path ? File.Create(path) : Console.OpenStandardOutput(),
                    new UTF8Encoding(false)
                );
                var rows = await FocusExport.WriteAsync(storage, options, writer, stop);
                await Console.Error.WriteLineAsync($"{rows:N0} rows written");
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static string Day(DateOnly day) => day.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);

    private static DateOnly? Day(string? text) =>
        DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var day) ? day : null;
}
