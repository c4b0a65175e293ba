using System.Net;
using System.Text.Json;
using Pipeline.ResultsApi.Alerts.Probes;
using Xunit;

namespace Pipeline.Tests.Unit.Alerts;

/// <summary>What an answer to a probe means.</summary>
public class ProbeAnswerTests
{
    private static readonly DueProbe Probe = new(
        "greeting",
        "words",
        "express",
        JsonElement.Parse("\"Guten Morgen\""),
        JsonElement.Parse("""{"label": "de", "score": 0.9}"""),
        Tolerance: 0.05,
        TimeSpan.FromMilliseconds(500)
    );

    [Theory]
    [InlineData("""{"label": "de", "score": 0.93, "more": 1}""", 100, "right", null)]
    [InlineData("""{"label": "de", "score": 0.93}""", 501, "slow", null)]
    [InlineData("""{"label": "nl", "score": 0.93}""", 100, "wrong", "output.label: expected \"de\", given \"nl\".")]
    [InlineData("""{"label": "de", "score": 0.8}""", 100, "wrong", "output.score: expected 0.9, given 0.8.")]
    [InlineData("""{"score": 0.9}""", 100, "wrong", "output.label: expected \"de\", given nothing.")]
    [InlineData("\"de\"", 100, "wrong", "output: expected {\"label\": \"de\", \"score\": 0.9}, given \"de\".")]
    public void An_output_is_held_against_what_is_known(string output, int ms, string outcome, string? detail)
    {
        var judged = Judge(HttpStatusCode.OK, $$"""{"model": "words@1", "results": [{"status": "succeeded", "output": {{output}}}]}""", ms);

        Assert.Equal(new ProbeOutcome(outcome, ms, "words@1", detail), judged);
    }

    [Theory]
    [InlineData(429, "{}", "refused")]
    [InlineData(503, "{}", "failed")]
    [InlineData(200, "<html>", "failed")]
    [InlineData(202, """{"id": "x", "state": "running"}""", "failed")]
    [InlineData(200, """{"model": "words@1", "results": [{"status": "failed", "output": null}]}""", "failed")]
    public void What_is_no_answer_failed_unless_it_was_refused(int status, string body, string outcome) =>
        Assert.Equal(outcome, Judge((HttpStatusCode)status, body, 10).Outcome);

    [Theory]
    [InlineData("[1, 2, 3]", "[1, 2, 3.01]", null)]
    [InlineData("[1, 2, 3]", "[1, 2, 4]", "output[2]: expected 3, given 4.")]
    [InlineData("[1, 2, 3]", "[1, 2]", "output: expected [1, 2, 3], given [1, 2].")]
    [InlineData("[1, 2]", "[1, 2, 9]", null)]
    [InlineData("""{"label": "de"}""", """{"labels": [{"label": "de", "score": 0.8}, {"label": "nl", "score": 0.1}]}""", null)]
    [InlineData(
        """{"label": "nl"}""",
        """{"labels": [{"label": "de"}, {"label": "nl"}]}""",
        "output.label: expected \"nl\", given \"de\"."
    )]
    [InlineData("""{"label": "nl"}""", """{"labels": []}""", "output.label: expected \"nl\", given nothing.")]
    [InlineData("""{"a": [{"b": true}]}""", """{"a": [{"b": false}]}""", "output.a[0].b: expected true, given false.")]
    public void Lists_and_objects_are_compared_down_to_their_leaves(string expected, string given, string? mistake) =>
        Assert.Equal(mistake, ProbeAnswer.Mistake(JsonElement.Parse(expected), JsonElement.Parse(given), 0.05));

    private static ProbeOutcome Judge(HttpStatusCode status, string body, int ms) =>
        Prober.Judge(Probe, status, body, TimeSpan.FromMilliseconds(ms));
}
