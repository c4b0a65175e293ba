using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Pipeline.Hosting;

namespace Pipeline.Standalone.Client;

/// <summary><c>recurring</c>: lists recurring work; shows its runs, runs it now, pauses and resumes it. For operators.</summary>
internal static class RecurringCommand
{
    private static readonly string[] RunColumns = ["started_at", "duration_ms", "outcome", "counts", "error", "instance"];

    public static Command Create(Connection connection)
    {
        var json = Listing.Json();
        var command = new Command("recurring", "List recurring work: partitions, retention, expiry; runs, run, pause, resume (operators).")
        {
            json,
            CreateList(connection),
            CreateRuns(connection),
            CreateVerb(connection, "run", "Run work now, also while it is paused."),
            CreateVerb(connection, "pause", "Run work only when asked to, until it is resumed."),
            CreateVerb(connection, "resume", "Run work by its schedule again; at once, if it was due meanwhile."),
        };
        connection.AddTo(command);
        command.SetAction((parsed, stop) => ListAsync(connection, parsed, json, stop));
        return command;
    }

    private static Command CreateList(Connection connection)
    {
        var json = Listing.Json();
        var command = new Command("list", "List recurring work: schedule, last run, next run.") { json };
        connection.AddTo(command);
        command.SetAction((parsed, stop) => ListAsync(connection, parsed, json, stop));
        return command;
    }

    private static async Task<int> ListAsync(Connection connection, ParseResult parsed, Option<bool> json, CancellationToken stop)
    {
        using var client = connection.Open(parsed);
        Show((await client.ListAsync("recurring", stop)).Data, parsed.GetValue(json));
        return ExitCode.Ok;
    }

    private static Command CreateRuns(Connection connection)
    {
        var name = Name();
        var limit = new Option<int>("--limit", "-n") { Description = "How many, newest first", DefaultValueFactory = _ => 20 };
        var json = Listing.Json();
        var command = new Command("runs", "Show what became of the runs of work, newest first.") { name, limit, json };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var path = string.Create(
                    CultureInfo.InvariantCulture,
                    $"{Path(parsed.GetValue(name)!)}/runs?limit={parsed.GetValue(limit)}"
                );
                Listing.Show((await client.ListAsync(path, stop)).Data, parsed.GetValue(json), RunColumns);
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreateVerb(Connection connection, string verb, string description)
    {
        var name = Name();
        var json = Listing.Json();
        var command = new Command(verb, description) { name, json };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                Show([await client.PostAsync($"{Path(parsed.GetValue(name)!)}/{verb}", null, stop)], parsed.GetValue(json));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static void Show(IReadOnlyList<JsonElement> works, bool json)
    {
        if (Listing.WriteJson(works, json))
        {
            return;
        }

        PlainTable.Write(
            ["name", "schedule", "last run", "ms", "outcome", "next run"],
            works.Select(work =>
            {
                var last = work.GetProperty("last_run");
                return new[]
                {
                    work.GetProperty("name").GetString()!,
                    work.GetProperty("schedule").GetString()!,
                    Of(last, "started_at"),
                    Of(last, "duration_ms"),
                    work.GetProperty("running_since").ValueKind == JsonValueKind.Null ? Of(last, "outcome") : "(running)",
                    work.GetProperty("paused").GetBoolean() ? "(paused)" : Listing.Text(work.GetProperty("next_run_at")),
                };
            })
        );
    }

    private static string Of(JsonElement run, string name) =>
        run.ValueKind == JsonValueKind.Object ? Listing.Text(run.GetProperty(name)) : "";

    private static string Path(string name) => $"recurring/{Uri.EscapeDataString(name)}";

    private static Argument<string> Name() => new("name") { Description = "The work's name" };
}
