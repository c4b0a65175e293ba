using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Standalone.Client;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.EndToEnd;

/// <summary>Tasks that go along a route, seen from outside: the small model where it is sure, and the large one for the rest.</summary>
[Collection(RunningSystem.Collection)]
public sealed class RoutesTests(RunningSystem system)
{
    private const string LargeModel = "language-id-large";
    private const double ProbabilityMin = 0.95;

    [Fact]
    public async Task Every_answer_of_a_routed_job_is_of_the_right_variant_also_when_its_worker_is_killed()
    {
        var route = await PutRouteAsync();
        var texts = Pieces(20_000);
        var job = await system.Client.SendAsync(route, texts, parameter: "route");
        await system.Client.UntilAsync(job, j => j.Ended > 0);

        system.Worker.Kill();
        await system.StartWorkerAsync();

        var ended = await system.Client.UntilEndAsync(job);
        Assert.Equal((JobState.Completed, texts.Length), (ended.State, ended.Counts.Succeeded));
        var escalated = await AssertAnswersAsync(job);
        Assert.InRange(escalated, 1, texts.Length - 1);
        await JobSteps.AssertCostAsync(ended, system.Database);
        await LedgerCheck.AssertClosesAsync(system.Database);
        await LedgerScript.AssertClosesAsync(system.Database);
    }

    [Fact]
    public async Task Who_waits_for_an_inference_is_answered_after_the_last_turn()
    {
        var route = await PutRouteAsync();

        var answer = await system.Client.InferAsync(
            new
            {
                route,
                inputs = new[] { "Der Mond entfernt sich jährlich um knapp vier Zentimeter von der Erde.", "no si" },
                @class = "standard",
            },
            TestContext.Current.CancellationToken
        );

        var results = answer.GetProperty("results").EnumerateArray().ToArray();
        Assert.Equal(["language-id-small@1.0.0", "language-id-large@1.0.0"], results.Select(r => r.GetProperty("model").GetString()));
        Assert.Equal([1, 2], results.Select(r => r.GetProperty("turns").GetInt32()));
        Assert.Equal(answer.GetProperty("cost_pico_usd").GetDecimal(), results.Sum(r => r.GetProperty("cost_pico_usd").GetDecimal()));
        var job = await system.Client.GetJobAsync(answer.GetProperty("id").GetString()!, TestContext.Current.CancellationToken);
        Assert.Equal((JobState.Completed, answer.GetProperty("cost_pico_usd").GetDecimal()), (job.State, job.CostPicoUsd));
        Assert.Equal($"{route}@1", job.Route);
    }

    private async Task<string> PutRouteAsync()
    {
        var name = $"r-{Guid.NewGuid():N}";
        RouteVariant[] variants = [new(RunningSystem.SmallModel, new Acceptance { ProbabilityMin = ProbabilityMin }), new(LargeModel)];
        await ModelRoutes.PutAsync(system.Database, name, variants, TestContext.Current.CancellationToken);
        return name;
    }

    /// <summary>Whole sentences and their first words, of which the small model is often unsure.</summary>
    private static string[] Pieces(int count) =>
        [.. RunningSystem.Texts(count).Select((text, i) => i % 2 == 0 ? text : string.Join(' ', text.Split(' ').Take(2)))];

    /// <summary>Each line in task order, as the model it names says it; the small one only where it is sure, the large one where that is not.</summary>
    /// <returns>How many tasks took two turns.</returns>
    private async Task<int> AssertAnswersAsync(SentJob job)
    {
        using var small = system.Direct(RunningSystem.SmallModel);
        using var large = system.Direct(LargeModel);
        var (seq, escalated) = (0, 0);
        await foreach (var text in system.Client.ResultsAsync(job.Id, "order=task", TestContext.Current.CancellationToken))
        {
            using var line = JsonDocument.Parse(text);
            var (root, output) = (line.RootElement, line.RootElement.GetProperty("output"));
            Assert.Equal(seq, root.GetProperty("seq").GetInt32());
            var turns = root.GetProperty("turns").GetInt32();
            Assert.Equal($"{(turns == 1 ? RunningSystem.SmallModel : LargeModel)}@1.0.0", root.GetProperty("model").GetString());
            (turns == 1 ? small : large).AssertSame(job.Texts[seq], output);
            if (turns == 1)
            {
                Assert.True(output.GetProperty("labels")[0].GetProperty("score").GetDouble() >= ProbabilityMin - 1e-5, text);
            }
            else
            {
                escalated++;
            }

            seq++;
        }

        Assert.Equal(job.Texts.Count, seq);
        return escalated;
    }
}
