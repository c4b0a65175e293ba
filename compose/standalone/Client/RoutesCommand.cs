using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Standalone.Client.Routes;

namespace Pipeline.Standalone.Client;

/// <summary><c>routes</c>: lists them; <c>show</c> one, <c>put</c> sets one from a file, <c>evaluate</c> measures one.</summary>
internal static class RoutesCommand
{
    public static Command Create(Connection connection)
    {
        var list = CreateList(connection, "list", "List routes.");
        var command = CreateList(connection, "routes", "List routes of models; put sets one, show tells of one, evaluate measures one.");
        command.Add(list);
        command.Add(CreateShow(connection));
        command.Add(CreatePut(connection));
        command.Add(EvaluateCommand.Create(connection));
        return command;
    }

    private static Command CreateList(Connection connection, string name, string description)
    {
        var json = new Option<bool>("--json") { Description = "Print JSON, one object a line" };
        var command = new Command(name, description) { json };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                Show((await client.ListRoutesAsync(stop)).Data, parsed.GetValue(json));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreateShow(Connection connection)
    {
        var name = new Argument<string>("route") { Description = "The route's name" };
        var json = new Option<bool>("--json") { Description = "Print JSON" };
        var command = new Command("show", "Show a route: its variants, their rules, and what was measured of it.") { name, json };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                Tell(await client.GetRouteAsync(parsed.GetValue(name)!, stop), parsed.GetValue(json));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreatePut(Connection connection)
    {
        var file = new Argument<FileInfo>("file")
        {
            Description =
                "JSON: {\"name\": \"…\", \"variants\": [{\"model\": \"…\", \"accept\": {\"probability_min\": 0.9}}, {\"model\": \"…\"}]}",
        };
        file.AcceptExistingOnly();
        var name = new Option<string?>("--name") { Description = "The route's name (default: the file's \"name\")" };
        var json = new Option<bool>("--json") { Description = "Print JSON" };
        var command = new Command("put", "Set a route from a file; another list of variants is a new version. For operators.")
        {
            file,
            name,
            json,
        };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var (given, body) = await ReadAsync(parsed.GetValue(file)!.FullName, stop);
                if ((parsed.GetValue(name) ?? given) is not { } route)
                {
                    throw new CommandException("The route needs a name: \"name\" in the file, or --name.");
                }

                Tell(await client.SetRouteAsync(route, body, stop), parsed.GetValue(json));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    /// <summary>The file's name of the route, and the rest of it.</summary>
    private static async Task<(string? Name, Dictionary<string, JsonElement> Body)> ReadAsync(string path, CancellationToken stop)
    {
        try
        {
            await using var file = File.OpenRead(path);
            var body = await JsonSerializer.DeserializeAsync<Dictionary<string, JsonElement>>(file, ApiJson.Options, stop) ?? [];
            return body.Remove("name", out var name) && name.ValueKind == JsonValueKind.String ? (name.GetString(), body) : (null, body);
        }
        catch (JsonException e)
        {
            throw new CommandException($"{path} is not a JSON object: {e.Message}");
        }
    }

    private static void Show(IReadOnlyList<ApiRoute> routes, bool json)
    {
        if (json)
        {
            foreach (var route in routes)
            {
                Console.WriteLine(JsonSerializer.Serialize(route, ApiJson.Options));
            }

            return;
        }

        PlainTable.Write(
            ["ROUTE", "VARIANTS", "MEASURED"],
            routes.Select(r =>
                new[]
                {
                    $"{r.Name}@{r.Version}",
                    string.Join(" -> ", r.Variants.Select(v => v.Model)),
                    r.Quality?.MeasuredAt.ToLocalTime().ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture) ?? "-",
                }
            )
        );
    }

    private static void Tell(ApiRoute route, bool json)
    {
        if (json)
        {
            Console.WriteLine(JsonSerializer.Serialize(route, ApiJson.Options));
            return;
        }

        Console.WriteLine($"route {route.Name}@{route.Version}");
        PlainTable.Write(["VARIANT", "ITS ANSWER STANDS WHERE"], route.Variants.Select(v => new[] { v.Model, Rule(v.Accept) }));
        if (route.Quality is { } quality)
        {
            Console.WriteLine($"\nmeasured {quality.MeasuredAt.ToLocalTime():yyyy-MM-dd HH:mm} on {quality.Tasks:N0} tasks");
            PlainTable.Write(
                ["CHOICE", "ACCURACY", "COST OF A MILLION", "TURNS"],
                quality.Choices.Select(c =>
                    new[]
                    {
                        c.Choice,
                        string.Create(CultureInfo.InvariantCulture, $"{c.Accuracy * 100:0.0#} %"),
                        Cost.Format((Int128)Math.Round(c.CostPerTaskPicoUsd * 1_000_000)),
                        c.TurnsPerTask.ToString("0.000", CultureInfo.InvariantCulture),
                    }
                )
            );
        }
    }

    private static string Rule(AcceptanceView? rule)
    {
        if (rule is null)
        {
            return "always";
        }

        string?[] parts =
        [
            rule.ProbabilityMin is { } p ? string.Create(CultureInfo.InvariantCulture, $"probability >= {p}") : null,
            rule.MarginMin is { } m ? string.Create(CultureInfo.InvariantCulture, $"margin >= {m}") : null,
            rule.UnitsMax is { } u ? string.Create(CultureInfo.InvariantCulture, $"units <= {u}") : null,
        ];
        return string.Join(", ", parts.OfType<string>());
    }
}
