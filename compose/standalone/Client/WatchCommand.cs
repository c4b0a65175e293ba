using System.CommandLine;
using Pipeline.Contracts;

namespace Pipeline.Standalone.Client;

/// <summary><c>watch</c>: follows a job until it ends.</summary>
internal static class WatchCommand
{
    public static Command Create(Connection connection)
    {
        var id = new Argument<string>("job") { Description = "The job's id" };
        var json = new Option<bool>("--json") { Description = "Print the job as JSON, a line a change" };
        var command = new Command("watch", "Follow a job until it ends. Exit code 3 when not every task succeeded.") { id, json };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                return await WatchAsync(client, parsed.GetValue(id)!, parsed.GetValue(json), stop);
            }
        );
        return command;
    }

    public static async Task<int> WatchAsync(PipelineClient client, string id, bool json, CancellationToken stop)
    {
        var job = await new JobWatch(client, TimeProvider.System).UntilEndAsync(id, json, stop);
        if (!json)
        {
            Console.WriteLine(Summary(job));
        }

        return job.State == JobState.Completed && job.Counts.Succeeded == job.Tasks ? ExitCode.Ok : ExitCode.NotAllSucceeded;
    }

    /// <summary>How a job ended, in one line: counts, time, rate, cost.</summary>
    public static string Summary(ApiJob job)
    {
        var counts = job.Counts;
        var ends = new[]
        {
            (counts.Succeeded, "succeeded"),
            (counts.Failed, "failed"),
            (counts.Expired, "expired"),
            (counts.Cancelled, "cancelled"),
        }
            .Where(end => end.Item1 > 0)
            .Select(end => $"{end.Item1:N0} {end.Item2}");
        var took = (job.FinishedAt ?? DateTimeOffset.UtcNow) - job.CreatedAt;
        var perMillion = job.Tasks > 0 ? Cost.Format((Int128)(job.CostPicoUsd * 1_000_000 / job.Tasks)) : "-";
        return $"{job.State.Name()}: {string.Join(", ", ends)} in {JobWatch.Duration(took)} ({job.Tasks / Math.Max(0.001, took.TotalSeconds):N0} tasks/s), "
            + $"cost {Cost.Format((Int128)job.CostPicoUsd)} ({perMillion} per million tasks)";
    }
}
