using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Standalone.Client;

/// <summary><c>jobs</c>: lists jobs or shows one; and the commands that change one: cancel, pause, resume, change, retry.</summary>
internal static class JobsCommand
{
    public static Command Create(Connection connection)
    {
        var id = new Argument<string?>("job") { Description = "Show this one", Arity = ArgumentArity.ZeroOrOne };
        var state = new Option<string?>("--state") { Description = "Only jobs in this state" };
        var limit = new Option<int>("--limit", "-n") { Description = "How many, newest first", DefaultValueFactory = _ => 20 };
        var json = new Option<bool>("--json") { Description = "Print JSON, one object a line" };
        var command = new Command("jobs", "List jobs, newest first, or show one.") { id, state, limit, json };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                IReadOnlyList<ApiJob> jobs;
                if (parsed.GetValue(id) is { } one)
                {
                    jobs = [await client.GetJobAsync(one, stop)];
                }
                else
                {
                    var query =
                        $"limit={parsed.GetValue(limit)}"
                        + (parsed.GetValue(state) is { } only ? $"&state={Uri.EscapeDataString(only)}" : "");
                    jobs = (await client.ListJobsAsync(query, stop)).Data;
                }

                Show(jobs, parsed.GetValue(json));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    /// <summary>A command that sends one verb to one job.</summary>
    public static Command CreateVerb(Connection connection, string name, string verb, string description)
    {
        var id = new Argument<string>("job") { Description = "The job's id" };
        var json = new Option<bool>("--json") { Description = "Print JSON" };
        var command = new Command(name, description) { id, json };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                Show([await client.CommandAsync(parsed.GetValue(id)!, verb, stop)], parsed.GetValue(json));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    /// <summary><c>change</c>: another class or deadline for what has not ended, or what that would take.</summary>
    public static Command CreateChange(Connection connection)
    {
        var id = new Argument<string>("job") { Description = "The job's id" };
        var latencyClass = new Option<string?>("--class", "-c") { Description = "express, standard or bulk" };
        var deadline = new Option<string?>("--deadline") { Description = "A moment (RFC 3339) or a time from now: 90s, 2h, 7d" };
        var estimate = new Option<bool>("--estimate") { Description = "Only show what the rest would take in every class" };
        var json = new Option<bool>("--json") { Description = "Print JSON" };
        var command = new Command("change", "Change the class or deadline of what has not ended of a job.")
        {
            id,
            latencyClass,
            deadline,
            estimate,
            json,
        };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                var path = $"jobs/{Uri.EscapeDataString(parsed.GetValue(id)!)}";
                if (parsed.GetValue(estimate))
                {
                    var until = parsed.GetValue(deadline) is { } by ? $"?deadline={Uri.EscapeDataString(by)}" : "";
                    var rest = await client.WriteAsync<JsonElement>(HttpMethod.Post, $"{path}/estimate{until}", null, stop);
                    Listing.Show(
                        [.. rest.GetProperty("classes").EnumerateArray()],
                        parsed.GetValue(json),
                        ["class", "admission", "completed_at", "late_at", "cost_pico_usd", "price_pico_usd"]
                    );
                    return ExitCode.Ok;
                }

                var change = new { Class = parsed.GetValue(latencyClass), Deadline = parsed.GetValue(deadline) };
                Show([await client.WriteAsync<ApiJob>(HttpMethod.Patch, path, change, stop)], parsed.GetValue(json));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static void Show(IReadOnlyList<ApiJob> jobs, bool json)
    {
        if (json)
        {
            foreach (var job in jobs)
            {
                Console.WriteLine(JsonSerializer.Serialize(job, ApiJson.Options));
            }

            return;
        }

        PlainTable.Write(
            ["job", "model", "class", "state", "tasks", "done", "failed", "cost", "created"],
            jobs.Select(job =>
                new[]
                {
                    job.Id,
                    job.Route ?? job.Model,
                    job.Class,
                    job.Paused ? "paused" : job.State.Name(),
                    job.Tasks.ToString("N0", CultureInfo.InvariantCulture),
                    string.Create(CultureInfo.InvariantCulture, $"{job.Progress:P0}"),
                    job.Counts.Failed.ToString("N0", CultureInfo.InvariantCulture),
                    Cost.Format((Int128)job.CostPicoUsd),
                    job.CreatedAt.ToLocalTime().ToString("MM-dd HH:mm:ss", CultureInfo.InvariantCulture),
                }
            )
        );
    }
}
