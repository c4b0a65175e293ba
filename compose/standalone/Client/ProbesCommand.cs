using System.CommandLine;
using System.Text.Json;

namespace Pipeline.Standalone.Client;

/// <summary><c>probes</c>: requests with known answers that are sent again and again; set, run, runs, delete.</summary>
internal static class ProbesCommand
{
    public static Command Create(Connection connection)
    {
        var json = Listing.Json();
        var command = new Command("probes", "List probes, requests with known answers (operators); set, run, runs, delete.")
        {
            json,
            CreateSet(connection),
            CreateRun(connection),
            CreateRuns(connection),
            CreateDelete(connection),
        };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var probes = (await client.ListAsync("probes", stop)).Data;
                Listing.Show(
                    probes,
                    parsed.GetValue(json),
                    ["name", "model", "class", "enabled", "every_seconds", "right_share", "last_run"]
                );
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreateSet(Connection connection)
    {
        var name = Name();
        var model = new Option<string>("--model", "-m") { Description = "The model, version or route to ask", Required = true };
        var input = new Option<string>("--input") { Description = "The input: a text, or JSON", Required = true };
        var expect = new Option<string>("--expect") { Description = "JSON object that the output must have", Required = true };
        var every = new Option<int?>("--every") { Description = "Seconds between two (default 60)" };
        var slow = new Option<int?>("--slow-ms") { Description = "Milliseconds after which an answer is slow (default 500)" };
        var latencyClass = new Option<string?>("--class", "-c") { Description = "express (default), standard or bulk" };
        var command = new Command("set", "Make or change a probe. It is sent at once.")
        {
            name,
            model,
            input,
            expect,
            every,
            slow,
            latencyClass,
        };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var body = new
                {
                    model = parsed.GetValue(model),
                    input = JsonOrText(parsed.GetValue(input)!),
                    expect = JsonOrText(parsed.GetValue(expect)!),
                    every_seconds = parsed.GetValue(every),
                    slow_ms = parsed.GetValue(slow),
                    @class = parsed.GetValue(latencyClass),
                };
                Listing.Tell(await client.SendAsync(HttpMethod.Put, Path(parsed.GetValue(name)!), body, stop));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreateRun(Connection connection)
    {
        var name = Name();
        var command = new Command("run", "Send a probe now.") { name };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                Listing.Tell(await client.PostAsync($"{Path(parsed.GetValue(name)!)}/run", null, stop));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreateRuns(Connection connection)
    {
        var name = Name();
        var limit = new Option<int>("--limit", "-n") { Description = "How many, newest first", DefaultValueFactory = _ => 20 };
        var json = Listing.Json();
        var command = new Command("runs", "Show what became of a probe, newest first.") { name, limit, json };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var runs = (await client.ListAsync($"{Path(parsed.GetValue(name)!)}/runs?limit={parsed.GetValue(limit)}", stop)).Data;
                Listing.Show(runs, parsed.GetValue(json), ["at", "outcome", "took_ms", "model"]);
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreateDelete(Connection connection)
    {
        var name = Name();
        var command = new Command("delete", "Remove a probe and its runs.") { name };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                Listing.Tell(await client.SendAsync(HttpMethod.Delete, Path(parsed.GetValue(name)!), null, stop));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Argument<string> Name() => new("name") { Description = "The probe's name" };

    private static string Path(string name) => $"probes/{Uri.EscapeDataString(name)}";

    private static JsonElement JsonOrText(string text)
    {
        try
        {
            return JsonElement.Parse(text);
        }
        catch (JsonException)
        {
            return JsonSerializer.SerializeToElement(text);
        }
    }
}
