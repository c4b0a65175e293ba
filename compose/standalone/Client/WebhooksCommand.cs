using System.CommandLine;
using System.Globalization;
using System.Text.Json;

namespace Pipeline.Standalone.Client;

/// <summary><c>webhooks</c>: lists endpoints; adds one, tests it, shows what was sent, sends it again.</summary>
internal static class WebhooksCommand
{
    /// <summary>How long a test waits for the first answer: longer than an endpoint has for it by default.</summary>
    private static readonly TimeSpan AttemptWaitMax = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(200);

    public static Command Create(Connection connection)
    {
        var json = Listing.Json();
        var command = new Command("webhooks", "List webhook endpoints; add, test, deliveries, replay.")
        {
            json,
            CreateAdd(connection),
            CreateTest(connection),
            CreateDeliveries(connection),
            CreateReplay(connection),
        };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var endpoints = (await client.ListAsync("webhook_endpoints?limit=100", stop)).Data;
                Listing.Show(endpoints, parsed.GetValue(json), ["id", "url", "state", "failures", "event_types"]);
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreateAdd(Connection connection)
    {
        var url = new Argument<string>("url") { Description = "Address to call" };
        var events = new Option<string[]>("--events")
        {
            Description = "What to tell it of, e.g. job.completed (default: all but job.progress and task.completed)",
            AllowMultipleArgumentsPerToken = true,
        };
        var signing = new Option<string?>("--signing") { Description = "hmac_sha256 (default) or ed25519" };
        var command = new Command("add", "Add an endpoint. Its secret is shown once, now.") { url, events, signing };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var types = parsed.GetValue(events) is { Length: > 0 } named ? named : null;
                var body = new
                {
                    url = parsed.GetValue(url),
                    event_types = types,
                    signing = parsed.GetValue(signing),
                };
                Listing.Tell(await client.PostAsync("webhook_endpoints", body, stop));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreateTest(Connection connection)
    {
        var id = new Argument<string>("endpoint") { Description = "The endpoint's id" };
        var command = new Command("test", "Send a test event to an endpoint, and say what it answered.") { id };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var sent = await client.PostAsync($"webhook_endpoints/{Uri.EscapeDataString(parsed.GetValue(id)!)}/test", null, stop);
                return TellFirstAttempt(await AttemptedAsync(client, sent.GetProperty("id").GetString()!, stop));
            }
        );
        return command;
    }

    /// <summary>The delivery once it was tried, or as it is after <see cref="AttemptWaitMax"/>.</summary>
    private static async Task<JsonElement> AttemptedAsync(PipelineClient client, string delivery, CancellationToken stop)
    {
        for (var waited = TimeSpan.Zero; ; waited += LookEvery)
        {
            var now = await client.FindAsync($"webhook_deliveries/{delivery}", stop);
            if (now.GetProperty("attempts").GetArrayLength() > 0 || waited >= AttemptWaitMax)
            {
                return now;
            }

            await Task.Delay(LookEvery, stop);
        }
    }

    private static int TellFirstAttempt(JsonElement delivery)
    {
        if (delivery.GetProperty("attempts").EnumerateArray().FirstOrDefault() is not { ValueKind: JsonValueKind.Object } attempt)
        {
            Console.Error.WriteLine(
                $"Not sent within {AttemptWaitMax.TotalSeconds:0} s; delivery {delivery.GetProperty("id")} is {delivery.GetProperty("state")}."
            );
            return ExitCode.Failed;
        }

        var (answered, took) = (attempt.GetProperty("status"), attempt.GetProperty("duration_ms"));
        Console.WriteLine(
            answered.ValueKind == JsonValueKind.Number
                ? $"{delivery.GetProperty("url")} answered {answered} in {took} ms."
                : $"{delivery.GetProperty("url")} did not answer: {attempt.GetProperty("error")}"
        );
        if (answered.ValueKind == JsonValueKind.Number && answered.GetInt32() is >= 200 and < 300)
        {
            return ExitCode.Ok;
        }

        Console.WriteLine(
            delivery.GetProperty("due_at") is { ValueKind: JsonValueKind.String } due && due.TryGetDateTimeOffset(out var again)
                ? $"It is sent again at {Listing.Moment(again)}; see webhooks deliveries {delivery.GetProperty("endpoint")}."
                : $"It is not sent again: {delivery.GetProperty("state")}."
        );
        return ExitCode.Failed;
    }

    private static Command CreateDeliveries(Connection connection)
    {
        var id = new Argument<string?>("endpoint") { Description = "Only of this endpoint", Arity = ArgumentArity.ZeroOrOne };
        var state = new Option<string?>("--state") { Description = "Only pending, delivered or failed" };
        var job = new Option<string?>("--job") { Description = "Only of this job" };
        var limit = new Option<int>("--limit", "-n") { Description = "How many, newest first", DefaultValueFactory = _ => 20 };
        var json = Listing.Json();
        var command = new Command("deliveries", "Show what was sent, newest first.") { id, state, job, limit, json };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var path = parsed.GetValue(id) is { } one
                    ? $"webhook_endpoints/{Uri.EscapeDataString(one)}/deliveries"
                    : "webhook_deliveries";
                var query = string.Create(CultureInfo.InvariantCulture, $"limit={parsed.GetValue(limit)}");
                foreach (var (name, value) in new[] { ("state", parsed.GetValue(state)), ("job", parsed.GetValue(job)) })
                {
                    query += value is null ? "" : $"&{name}={Uri.EscapeDataString(value)}";
                }

                var deliveries = (await client.ListAsync($"{path}?{query}", stop)).Data;
                Listing.Show(
                    deliveries,
                    parsed.GetValue(json),
                    ["id", "type", "state", "reason", "attempt_count", "last_status", "last_error", "due_at", "url"]
                );
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreateReplay(Connection connection)
    {
        var id = new Argument<string>("id") { Description = "An endpoint's id, or with --delivery a delivery's" };
        var one = new Option<bool>("--delivery") { Description = "Send this one delivery again" };
        var all = new Option<bool>("--all") { Description = "Also what was delivered" };
        var since = new Option<DateTimeOffset?>("--since") { Description = "Only from this time on" };
        var until = new Option<DateTimeOffset?>("--until") { Description = "Only before this time" };
        var command = new Command("replay", "Send all that failed of an endpoint again, or a range of time, or one delivery.")
        {
            id,
            one,
            all,
            since,
            until,
        };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var escaped = Uri.EscapeDataString(parsed.GetValue(id)!);
                if (parsed.GetValue(one))
                {
                    Listing.Tell(await client.PostAsync($"webhook_deliveries/{escaped}/replay", null, stop));
                    return ExitCode.Ok;
                }

                var replayed = 0;
                for (string? after = null; ; )
                {
                    var body = new
                    {
                        state = parsed.GetValue(all) ? "all" : "failed",
                        since = parsed.GetValue(since),
                        until = parsed.GetValue(until),
                        after,
                    };
                    var answer = await client.PostAsync($"webhook_endpoints/{escaped}/replay", body, stop);
                    replayed += answer.GetProperty("replayed").GetInt32();
                    if (!answer.GetProperty("has_more").GetBoolean())
                    {
                        break;
                    }

                    after = answer.GetProperty("last_id").GetString();
                }

                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{replayed} deliveries are sent again."));
                return ExitCode.Ok;
            }
        );
        return command;
    }
}
