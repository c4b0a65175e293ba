using System.CommandLine;
using System.Globalization;
using System.Net;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Standalone.Client.Routes;

/// <summary>
/// <c>routes evaluate</c>: runs every variant of a route, and the route itself, over labelled tasks as jobs; then computes from their scores
/// what any threshold would have answered and cost, and names the cheapest that is good enough. What was measured is kept with the route.
/// </summary>
internal static class EvaluateCommand
{
    public static Command Create(Connection connection)
    {
        var name = new Argument<string>("route") { Description = "The route's name" };
        var file = new Argument<FileInfo>("file") { Description = "Labelled tasks, a line each: {\"input\": …, \"label\": \"…\"}" };
        file.AcceptExistingOnly();
        var minAccuracy = new Option<double?>("--min-accuracy")
        {
            Description = "Accuracy that the suggested threshold must reach (default: the last variant's, less 0.005)",
        };
        var split = new Option<bool>("--split") { Description = "Choose the threshold on every other task, and measure on the rest" };
        var margin = new Option<bool>("--margin")
        {
            Description = "Try thresholds of the margin between the two best labels, not of the best",
        };
        var thresholds = new Option<int>("--thresholds") { Description = "How many thresholds are tried", DefaultValueFactory = _ => 100 };
        var tasksMax = new Option<int>("--tasks-max") { Description = "Labelled tasks at most", DefaultValueFactory = _ => 200_000 };
        var latencyTasks = new Option<int>("--latency-tasks")
        {
            Description = "Express requests that each variant's latency is the median of; 0 for none",
            DefaultValueFactory = _ => 9,
        };
        var discard = new Option<bool>("--discard") { Description = "Do not keep what was measured with the route" };
        var json = new Option<bool>("--json") { Description = "Print JSON" };
        var command = new Command(
            "evaluate",
            "Measure a route with labelled tasks, and suggest the cheapest threshold that is good enough."
        )
        {
            name,
            file,
            minAccuracy,
            split,
            margin,
            thresholds,
            tasksMax,
            latencyTasks,
            discard,
            json,
        };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                if (parsed.GetValue(thresholds) is < 2 or > 10_000)
                {
                    throw new CommandException("--thresholds expects 2 to 10000.");
                }

                using var client = connection.Open(parsed);
                var route = await client.GetRouteAsync(parsed.GetValue(name)!, stop);
                if (route.Variants.FirstOrDefault(v => v.Accept?.UnitsMax is not null) is { } byLength)
                {
                    throw new CommandException(
                        $"The rule of {byLength.Model} has units_max. Results do not tell units, so rules of length cannot be evaluated."
                    );
                }

                var tasks = await LabelledTasks.ReadAsync(parsed.GetValue(file)!.FullName, parsed.GetValue(tasksMax), stop);
                var runs = new LabelledRuns(client, tasks, parsed.GetValue(latencyTasks));
                var variants = new List<LabelledRun>();
                foreach (var variant in route.Variants)
                {
                    variants.Add(await runs.RunAsync("model", variant.Model, stop));
                }

                var whole = await runs.RunAsync("route", route.Name, stop);
                var report = EvaluationReport.Of(
                    route,
                    tasks,
                    variants,
                    whole,
                    new EvaluationSettings(
                        parsed.GetValue(minAccuracy),
                        parsed.GetValue(split),
                        parsed.GetValue(margin),
                        parsed.GetValue(thresholds)
                    )
                );
                var kept = !parsed.GetValue(discard) && await KeepAsync(client, route, report, stop);
                Tell(report, kept, parsed.GetValue(json));
                return report.Suggested is null ? ExitCode.NotAllSucceeded : ExitCode.Ok;
            }
        );
        return command;
    }

    /// <summary>False where the key is no operator's.</summary>
    private static async Task<bool> KeepAsync(PipelineClient client, ApiRoute route, EvaluationReport report, CancellationToken stop)
    {
        try
        {
            await client.SetRouteQualityAsync(
                route.Name,
                new
                {
                    route.Version,
                    MeasuredAt = DateTimeOffset.UtcNow,
                    Tasks = report.TasksMeasured,
                    Choices = report.Measured.Select(m => new ChoiceQuality(m.Choice, m.Accuracy, m.CostPerTaskPicoUsd, m.TurnsPerTask)),
                },
                stop
            );
            return true;
        }
        catch (ApiException e) when (e.Status == HttpStatusCode.Forbidden)
        {
            return false;
        }
    }

    private static void Tell(EvaluationReport report, bool kept, bool json)
    {
        if (json)
        {
            Console.WriteLine(JsonSerializer.Serialize(report, ApiJson.Options));
            return;
        }

        var last = report.Measured[^2];
        Console.WriteLine($"Route {report.Route}, measured on {report.TasksMeasured:N0} tasks:");
        PlainTable.Write(
            ["CHOICE", "ACCURACY", "COST OF A MILLION", "BY THE MODEL'S COST", "TURNS", "EXPRESS P50"],
            report.Measured.Select(Row)
        );
        Console.WriteLine($"\nCheapest for their accuracy (thresholds of {report.ThresholdOf}, computed from the variants' scores):");
        PlainTable.Write(
            ["CHOICE", "THRESHOLD", "ACCURACY", "COST OF A MILLION", "OF THE LAST VARIANT'S", "TURNS"],
            report.Front.Select(p =>
                new[]
                {
                    p.Choice,
                    p.Threshold?.ToString("0.######", CultureInfo.InvariantCulture) ?? "",
                    Percent(p.Accuracy),
                    Million(p.CostPerTaskPicoUsd),
                    Percent(last.CostPerTaskPicoUsd > 0 ? p.CostPerTaskPicoUsd / last.CostPerTaskPicoUsd : 0),
                    p.TurnsPerTask.ToString("0.000", CultureInfo.InvariantCulture),
                }
            )
        );
        Console.WriteLine(
            report.Suggested is { } best
                ? $"\nCheapest with an accuracy of {Percent(report.AccuracyRequired)} or more"
                    + (report.Split ? $" on {report.TasksChosenOn:N0} other tasks" : "")
                    + $": {best.Choice}"
                    + (
                        best.Threshold is { } t
                            ? string.Create(CultureInfo.InvariantCulture, $" with {report.ThresholdOf} {t:0.######}")
                            : ""
                    )
                    + $", {Percent(best.Accuracy)} at {Million(best.CostPerTaskPicoUsd)}, {Saved(best, last)} than {last.Choice} ({Percent(last.Accuracy)})."
                : $"\nNothing reaches an accuracy of {Percent(report.AccuracyRequired)}."
        );
        Console.WriteLine(kept ? "Kept with the route, for min_quality." : "Not kept with the route.");

        static string[] Row(EvaluatedChoice m) =>
            [
                m.Choice,
                Percent(m.Accuracy),
                Million(m.CostPerTaskPicoUsd),
                m.ModelledCostPicoUsd is { } cost ? Million(cost) : "-",
                m.TurnsPerTask.ToString("0.000", CultureInfo.InvariantCulture),
                m.LatencyMs is { } ms ? string.Create(CultureInfo.InvariantCulture, $"{ms:0.0} ms") : "-",
            ];
    }

    private static string Saved(EvaluatedChoice best, EvaluatedChoice last)
    {
        var share = last.CostPerTaskPicoUsd > 0 ? 1 - (best.CostPerTaskPicoUsd / last.CostPerTaskPicoUsd) : 0;
        return share >= 0 ? $"{Percent(share)} cheaper" : $"{Percent(-share)} dearer";
    }

    private static string Percent(double share) => string.Create(CultureInfo.InvariantCulture, $"{share * 100:0.0#} %");

    private static string Million(double picoPerTask) => Cost.Format((Int128)Math.Round(picoPerTask * 1_000_000));
}
