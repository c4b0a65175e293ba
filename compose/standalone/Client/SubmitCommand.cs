using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Standalone.Client;

/// <summary><c>submit</c>: sends a file as one job.</summary>
internal static class SubmitCommand
{
    public static Command Create(Connection connection)
    {
        var file = new Argument<string>("file")
        {
            Description = "NDJSON, CSV or plain text, one task a line, also packed (.gz); - reads standard input",
        };
        var model = new Option<string>("--model", "-m") { Description = "Model, as name or name@version" };
        var route = new Option<string?>("--route", "-r") { Description = "Route, in place of a model: its variants take turns" };
        var minQuality = new Option<string?>("--min-quality")
        {
            Description = "Beside --route: the cheapest of its variants and itself whose measured accuracy is at least this",
        };
        var latencyClass = new Option<string>("--class", "-c")
        {
            Description = "express, standard or bulk",
            DefaultValueFactory = _ => "bulk",
        };
        latencyClass.AcceptOnlyFromAmong("express", "standard", "bulk");
        var deadline = new Option<string?>("--deadline")
        {
            Description = "When unfinished work expires: RFC 3339, or a duration like 90s, 30m, 2h, 7d",
        };
        var format = new Option<TaskFormat?>("--format")
        {
            Description = "ndjson, csv or text (default: by the file's name; of standard input ndjson)",
        };
        var column = new Option<string?>("--column")
        {
            Description = "CSV: the column that holds the input (default: the only one, or input)",
        };
        var idColumn = new Option<string?>("--id-column")
        {
            Description = "CSV: the column that holds the custom_id (default: custom_id where there is one, else the line's number)",
        };
        var maxCost = new Option<string?>("--max-cost")
        {
            Description = "US dollars it may be charged: refused above it, and ended where it would pass it",
        };
        var fallback = new Option<string?>("--fallback")
        {
            Description = "Beside --class express: standard or bulk, in place of a refusal",
        };
        fallback.AcceptOnlyFromAmong("standard", "bulk");
        var group = new Option<string?>("--group") { Description = "The group of its tasks, to see what one of them costs in all" };
        var metadata = new Option<string[]>("--metadata") { Description = "key=value, kept with the job (several times)" };
        var webhook = new Option<string?>("--webhook") { Description = "Address to call when the job ends" };
        var idempotencyKey = new Option<string?>("--idempotency-key") { Description = "Submitting twice with the same key makes one job" };
        var estimate = new Option<bool>("--estimate")
        {
            Description = "Send nothing: show when each class would have it done, and what it would cost",
        };
        var noReuse = new Option<bool>("--no-reuse")
        {
            Description = "Run every task, also one whose input came before in the file or is in the cache",
        };
        var watch = new Option<bool>("--watch", "-w") { Description = "Show progress until the job ends" };
        var json = new Option<bool>("--json") { Description = "Print JSON, one object a line" };

        var command = new Command("submit", "Send a file as one job. It is accepted as a whole or refused with the first 100 mistakes.")
        {
            file,
            model,
            route,
            minQuality,
            latencyClass,
            fallback,
            deadline,
            maxCost,
            group,
            format,
            column,
            idColumn,
            metadata,
            webhook,
            idempotencyKey,
            estimate,
            noReuse,
            watch,
            json,
        };
        connection.AddTo(command);
        command.Validators.Add(result =>
        {
            if (result.GetValue(model) is null == result.GetValue(route) is null)
            {
                result.AddError("Give --model or --route, one of them.");
            }
        });
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var path = parsed.GetValue(file)!;
                if (path != "-" && !File.Exists(path))
                {
                    throw new CommandException(
                        Directory.Exists(path) ? $"{path} is a folder; give one of its files." : $"There is no file {path}."
                    );
                }

                List<KeyValuePair<string, string>> parameters = [new("class", parsed.GetValue(latencyClass)!)];
                AddIfGiven(parameters, "model", parsed.GetValue(model));
                AddIfGiven(parameters, "route", parsed.GetValue(route));
                AddIfGiven(parameters, "min_quality", parsed.GetValue(minQuality));
                AddIfGiven(parameters, "deadline", parsed.GetValue(deadline));
                AddIfGiven(parameters, "fallback", parsed.GetValue(fallback));
                AddIfGiven(parameters, "max_cost", parsed.GetValue(maxCost));
                AddIfGiven(parameters, "group", parsed.GetValue(group));
                AddIfGiven(parameters, "webhook", parsed.GetValue(webhook));
                AddIfGiven(parameters, "reuse", parsed.GetValue(noReuse) ? "false" : null);
                parameters.AddRange((parsed.GetValue(metadata) ?? []).Select(Metadata));

                var source = new TaskSource(
                    path,
                    parsed.GetValue(format) ?? TaskSource.Guess(path),
                    parsed.GetValue(column),
                    parsed.GetValue(idColumn)
                );
                var asJson = parsed.GetValue(json);
                using var body = source.Body(asJson ? null : SentBytes(path), stop);
                ApiJob job;
                try
                {
                    if (parsed.GetValue(estimate))
                    {
                        Tell(await client.EstimateAsync(body, parameters, stop), asJson);
                        return ExitCode.Ok;
                    }

                    job = await client.SubmitAsync(body, parameters, parsed.GetValue(idempotencyKey), stop);
                }
                catch (ApiException e)
                {
                    var guessed = path == "-" && parsed.GetValue(format) is null;
                    e.File = LineFile.Name(path) + (guessed ? " (taken for NDJSON; see --format)" : "");
                    throw;
                }

                if (asJson)
                {
                    Console.WriteLine(JsonSerializer.Serialize(job, ApiJson.Options));
                }
                else
                {
                    Tell(job);
                }

                return parsed.GetValue(watch) ? await WatchCommand.WatchAsync(client, job.Id, asJson, stop) : ExitCode.Ok;
            }
        );
        return command;
    }

    private static void Tell(ApiJob job)
    {
        Console.WriteLine($"job {job.Id}: {job.Tasks:N0} tasks for {job.Route ?? job.Model}, class {job.Class}");
        if (job.PredictedAt is { } predicted)
        {
            Console.WriteLine($"predicted completion {Listing.Moment(predicted)}");
        }
    }

    private static void Tell(ApiEstimate estimate, bool asJson)
    {
        if (asJson)
        {
            Console.WriteLine(JsonSerializer.Serialize(estimate, ApiJson.Options));
            return;
        }

        Console.WriteLine($"{estimate.Tasks:N0} tasks for {estimate.Route ?? estimate.Model}, {estimate.Units:N0} units; nothing was sent");
        PlainTable.Write(
            ["CLASS", "NOW", "BEGINS IN", "DONE IN", "95 % WITHIN", "COST", "AT MOST (95 %)", "PRICE"],
            estimate.Classes.Select(c =>
                new[]
                {
                    c.Class,
                    c.Admission.Replace('_', ' '),
                    Time(c, c.StartsAt),
                    Time(c, c.CompletedAt),
                    Time(c, c.LateAt),
                    Money(c.CostPicoUsd),
                    Money(c.CostHighPicoUsd),
                    Money(c.PricePicoUsd),
                }
            )
        );

        if (estimate.Choices is { Count: > 0 } choices)
        {
            Console.WriteLine($"\nThese are of {estimate.Model} alone. Measured of route {estimate.Route}:");
            PlainTable.Write(
                ["CHOICE", "ACCURACY", "TURNS", "COST OF ALL"],
                choices.Select(c =>
                    new[]
                    {
                        c.Choice,
                        string.Create(CultureInfo.InvariantCulture, $"{c.Accuracy * 100:0.0#} %"),
                        c.TurnsPerTask.ToString("0.000", CultureInfo.InvariantCulture),
                        Cost.Format((Int128)c.CostPicoUsd),
                    }
                )
            );
        }

        // By the server's clock, which may not be this machine's.
        static string Time(ApiClassEstimate of, DateTimeOffset? at) =>
            of is { CompletedAt: { } done, Seconds: { } seconds }
                ? JobWatch.Duration((at ?? done) - done + TimeSpan.FromTicks((long)Math.Round(seconds * TimeSpan.TicksPerSecond)))
                : "no worker";
        static string Money(long? pico) => pico is { } amount ? Cost.Format(amount) : "-";
    }

    /// <summary>A line with the upload's progress, where there is a terminal to show it and a size to measure against.</summary>
    private static Action<long>? SentBytes(string path)
    {
        if (path == "-" || Console.IsErrorRedirected)
        {
            return null;
        }

        var (length, sent, shown) = (new FileInfo(path).Length, 0L, -1L);
        return bytes =>
        {
            sent += bytes;
            var percent = length == 0 ? 100 : sent * 100 / length;
            if (percent != shown && length > 10_000_000)
            {
                shown = percent;
                Console.Error.Write($"\rsending {percent} % of {length / 1e6:N0} MB{(percent == 100 ? "\n" : "")}");
            }
        };
    }

    private static void AddIfGiven(List<KeyValuePair<string, string>> parameters, string name, string? value)
    {
        if (value is not null)
        {
            parameters.Add(new(name, value));
        }
    }

    private static KeyValuePair<string, string> Metadata(string pair)
    {
        var at = pair.IndexOf('=', StringComparison.Ordinal);
        return at > 0
            ? new($"metadata[{pair[..at]}]", pair[(at + 1)..])
            : throw new CommandException($"--metadata expects key=value, given \"{pair}\".");
    }
}
