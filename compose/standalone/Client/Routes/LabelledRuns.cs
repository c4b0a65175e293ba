using System.Net;
using System.Text.Json;
using Pipeline.Contracts;

namespace Pipeline.Standalone.Client.Routes;

/// <summary>What became of the labelled tasks on one model, or along the route.</summary>
/// <param name="Name"><c>name@version</c>.</param>
/// <param name="TurnsOf">Model executions of each task.</param>
/// <param name="LatencyMs">Median of some express requests; null where express was not to be had.</param>
/// <param name="ModelledCostPico">Pico-USD of a task by the scheduler's learned cost model; null where it has none.</param>
internal sealed record LabelledRun(
    string Name,
    IReadOnlyList<ScoredAnswer> Answers,
    IReadOnlyList<int> TurnsOf,
    double? LatencyMs,
    double? ModelledCostPico
);

/// <summary>Runs labelled tasks through the public API.</summary>
internal sealed class LabelledRuns(PipelineClient client, LabelledTasks tasks, int latencyTasks)
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(250);

    /// <summary>One bulk job of all tasks, and some of them one by one as express.</summary>
    /// <param name="parameter"><c>model</c> or <c>route</c>.</param>
    /// <exception cref="CommandException">The job did not complete.</exception>
    public async Task<LabelledRun> RunAsync(string parameter, string name, CancellationToken stop)
    {
        using var body = tasks.Body();
        KeyValuePair<string, string>[] parameters = [new(parameter, name), new("class", "bulk")];
        var job = await client.SubmitAsync(body, parameters, null, stop);
        while (!job.State.IsEnd())
        {
            await Task.Delay(LookEvery, stop);
            job = await client.GetJobAsync(job.Id, stop);
        }

        if (job.State != JobState.Completed)
        {
            throw new CommandException($"The job {job.Id} for {name} ended {job.State.Name()}, not completed.");
        }

        var answers = new ScoredAnswer[tasks.Inputs.Count];
        var turns = new int[answers.Length];
        await foreach (var line in client.ResultsAsync(job.Id, "order=task", stop))
        {
            using var result = JsonDocument.Parse(line);
            var seq = result.RootElement.GetProperty("seq").GetInt32();
            (answers[seq], turns[seq]) = (Read(result.RootElement), result.RootElement.GetProperty("turns").GetInt32());
        }

        return new LabelledRun(
            job.Route ?? job.Model,
            answers,
            turns,
            await LatencyAsync(parameter, name, stop),
            parameter == "model" ? await ModelledCostAsync(parameters, stop) : null
        );
    }

    /// <summary>Reads <c>{"output": {"labels": [{"label": "en", "score": 0.98}, …]}, "cost_pico_usd": …}</c>.</summary>
    private static ScoredAnswer Read(JsonElement result)
    {
        var cost = result.GetProperty("cost_pico_usd").GetDouble();
        if (result.GetProperty("status").GetString() != "succeeded")
        {
            return new ScoredAnswer(null, 0, 0, cost);
        }

        if (!result.GetProperty("output").TryGetProperty("labels", out var labels) || labels.GetArrayLength() == 0)
        {
            throw new CommandException("Only routes of models that give labels can be evaluated.");
        }

        return new ScoredAnswer(
            labels[0].GetProperty("label").GetString(),
            Score(labels[0]),
            labels.GetArrayLength() > 1 ? Score(labels[1]) : 0,
            cost
        );

        static double Score(JsonElement label) =>
            label.GetProperty("score") is { ValueKind: JsonValueKind.Number } score ? score.GetDouble() : double.NaN;
    }

    private async Task<double?> LatencyAsync(string parameter, string name, CancellationToken stop)
    {
        var taken = new List<double>();
        for (var i = 0; i < Math.Min(latencyTasks, tasks.Inputs.Count); i++)
        {
            try
            {
                var body = new Dictionary<string, object> { [parameter] = name, ["input"] = JsonElement.Parse(tasks.Inputs[i]) };
                var answer = await client.InferAsync(body, stop);
                taken.Add(answer.GetProperty("results")[0].GetProperty("latency_ms").GetProperty("total").GetDouble());
            }
            catch (ApiException e) when (e.Status == HttpStatusCode.TooManyRequests)
            {
                return null;
            }
        }

        taken.Sort();
        return taken.Count > 0 ? taken[taken.Count / 2] : null;
    }

    /// <summary>What the scheduler reckons for the same work, by device time that it has learned: it scatters less than one run.</summary>
    private async Task<double?> ModelledCostAsync(KeyValuePair<string, string>[] parameters, CancellationToken stop)
    {
        try
        {
            using var body = tasks.Body();
            var estimate = await client.EstimateAsync(body, parameters, stop);
            var cost = estimate.Classes.FirstOrDefault(c => c.Class == "bulk")?.CostPicoUsd;
            return cost is { } pico ? (double)pico / tasks.Inputs.Count : null;
        }
        catch (ApiException e) when (e.Status == HttpStatusCode.ServiceUnavailable)
        {
            return null;
        }
    }
}
