using System.CommandLine;

namespace Pipeline.Standalone.Client;

/// <summary><c>alerts</c>: what is wrong now; acknowledge, resolve, rules, silence.</summary>
internal static class AlertsCommand
{
    public static Command Create(Connection connection)
    {
        var all = new Option<bool>("--all") { Description = "Also those that are resolved" };
        var limit = new Option<int>("--limit", "-n") { Description = "How many, newest first", DefaultValueFactory = _ => 20 };
        var json = Listing.Json();
        var command = new Command("alerts", "List what is wrong (operators); acknowledge, resolve, rules, silence.")
        {
            all,
            limit,
            json,
            CreateAct(connection, "acknowledge", "Say that you look after it."),
            CreateAct(connection, "resolve", "End it; a regression's new level is normal from then on."),
            CreateRules(connection),
            CreateSilence(connection),
        };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var state = parsed.GetValue(all) ? "" : "&state=firing";
                var alerts = (await client.ListAsync($"alerts?limit={parsed.GetValue(limit)}{state}", stop)).Data;
                if (alerts.Count == 0 && !parsed.GetValue(json))
                {
                    Console.WriteLine("Nothing is wrong.");
                    return ExitCode.Ok;
                }

                Listing.Show(alerts, parsed.GetValue(json), ["id", "severity", "state", "rule", "raised_at", "acknowledged_at", "summary"]);
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreateAct(Connection connection, string act, string description)
    {
        var id = new Argument<string>("alert") { Description = "The alert's id" };
        var note = new Option<string?>("--note") { Description = "Why" };
        var command = new Command(act, description) { id, note };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var body = new { note = parsed.GetValue(note) };
                Listing.Tell(await client.PostAsync($"alerts/{Uri.EscapeDataString(parsed.GetValue(id)!)}/{act}", body, stop));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreateRules(Connection connection)
    {
        var name = new Argument<string?>("rule") { Description = "The rule to change", Arity = ArgumentArity.ZeroOrOne };
        var on = new Option<bool>("--on") { Description = "Look for it" };
        var off = new Option<bool>("--off") { Description = "Do not look for it" };
        var threshold = new Option<double?>("--threshold") { Description = "The number that decides" };
        var severity = new Option<string?>("--severity") { Description = "info, warning or critical" };
        var reset = new Option<bool>("--reset") { Description = "Take it back to its defaults" };
        var json = Listing.Json();
        var command = new Command("rules", "Show what is looked for, or change a rule.")
        {
            name,
            on,
            off,
            threshold,
            severity,
            reset,
            json,
        };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                if (parsed.GetValue(name) is not { } rule)
                {
                    var rules = (await client.ListAsync("alert_rules", stop)).Data;
                    Listing.Show(rules, parsed.GetValue(json), ["name", "tier", "enabled", "severity", "threshold", "unit", "what"]);
                    return ExitCode.Ok;
                }

                var path = $"alert_rules/{Uri.EscapeDataString(rule)}";
                Listing.Tell(
                    parsed.GetValue(reset)
                        ? await client.SendAsync(HttpMethod.Delete, path, null, stop)
                        : await client.SendAsync(
                            HttpMethod.Patch,
                            path,
                            new
                            {
                                enabled = parsed.GetValue(on) ? true
                                : parsed.GetValue(off) ? false
                                : (bool?)null,
                                threshold = parsed.GetValue(threshold),
                                severity = parsed.GetValue(severity),
                            },
                            stop
                        )
                );
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreateSilence(Connection connection)
    {
        var reason = new Argument<string>("reason") { Description = "Why nobody need be told" };
        var hours = new Option<double>("--hours") { Description = "For how long", DefaultValueFactory = _ => 1 };
        var rule = new Option<string?>("--rule") { Description = "Only alerts of this rule" };
        var label = new Option<string[]>("--label")
        {
            Description = "Only alerts with this label, name=value",
            AllowMultipleArgumentsPerToken = true,
        };
        label.Validators.Add(result =>
        {
            if (result.Tokens.Any(token => token.Value.IndexOf('=', StringComparison.Ordinal) < 1))
            {
                result.AddError("--label expects name=value.");
            }
        });
        var command = new Command("silence", "Have matching alerts tell nobody for a while.") { reason, hours, rule, label };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var body = new
                {
                    reason = parsed.GetValue(reason),
                    ends_at = DateTimeOffset.UtcNow.AddHours(parsed.GetValue(hours)),
                    rule = parsed.GetValue(rule),
                    labels = (parsed.GetValue(label) ?? []).Select(text => text.Split('=', 2)).ToDictionary(p => p[0], p => p[1]),
                };
                Listing.Tell(await client.PostAsync("alert_silences", body, stop));
                return ExitCode.Ok;
            }
        );
        return command;
    }
}
