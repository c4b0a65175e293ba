using Pipeline.Contracts;
using Pipeline.ResultsApi.Sla;
using Pipeline.ResultsApi.Sla.Objectives;
using Xunit;

namespace Pipeline.Tests.Unit.Sla;

public sealed class OpenSloTests
{
    private const string Good = """
        apiVersion: openslo/v1
        kind: SLO
        metadata:
          name: one
        spec:
          service: s
          indicator:
            metadata: {name: one}
            spec:
              thresholdMetric:
                metricSource:
                  type: Pipeline
                  spec:
                    metric: end_to_end
                    class: express
                    model: language-id
          timeWindow: [{duration: 30d, isRolling: true}]
          budgetingMethod: Occurrences
          objectives:
            - displayName: p95
              op: lte
              value: 0.8
              target: 0.95
            - op: lte
              value: 2
              targetPercent: 99.9
        """;

    [Fact]
    public void The_defaults_are_the_kpis_of_the_documentation()
    {
        var (objectives, mistakes) = OpenSlo.Read([("defaults.yaml", ObjectiveSet.Defaults())]);

        Assert.Empty(mistakes);
        Assert.Equal(
            [
                (Indicator.FirstResult, 200_000L, 0.5),
                (Indicator.EndToEnd, 500_000L, 0.5),
                (Indicator.EndToEnd, 800_000L, 0.95),
                (Indicator.Requests, 0L, 0.999),
                (Indicator.Jobs, 0L, 0.99),
            ],
            objectives.Select(o => (o.Indicator, o.LimitUs ?? 0, o.Target))
        );
    }

    [Fact]
    public void An_objective_is_what_its_file_says()
    {
        var (objectives, mistakes) = OpenSlo.Read([("a.yaml", Good)]);

        Assert.Empty(mistakes);
        Assert.Equal(
            [
                new Objective("one", "p95", "s", Indicator.EndToEnd, 800_000, 0.95, "30d", LatencyClass.Express, null, "language-id"),
                new Objective(
                    "one",
                    "one 2",
                    "s",
                    Indicator.EndToEnd,
                    2_000_000,
                    99.9 / 100,
                    "30d",
                    LatencyClass.Express,
                    null,
                    "language-id"
                ),
            ],
            objectives
        );
        Assert.True(objectives[0].Covers(LatencyClass.Express, "any", "language-id@1.0.0"));
        Assert.False(objectives[0].Covers(LatencyClass.Express, "any", "language-id-small@1.0.0"));
        Assert.False(objectives[0].Covers(LatencyClass.Bulk, "any", "language-id@1.0.0"));
    }

    [Theory]
    [InlineData("value: 0.8", "value: fast", 22, "spec.objectives[0].value")]
    [InlineData("value: 0.8", "value: -1", 22, "spec.objectives[0].value")]
    [InlineData("target: 0.95", "target: 95", 23, "spec.objectives[0].target")]
    [InlineData("op: lte\n      value: 0.8", "op: gt\n      value: 0.8", 21, "spec.objectives[0].op")]
    [InlineData("metric: end_to_end", "metric: latency", 14, "spec.indicator.spec.thresholdMetric.metricSource.spec.metric")]
    [InlineData("class: express", "class: quick", 15, "spec.indicator.spec.thresholdMetric.metricSource.spec.class")]
    [InlineData("type: Pipeline", "type: Prometheus", 12, "spec.indicator.spec.thresholdMetric.metricSource.type")]
    [InlineData("  service: s", "  servise: s", 5, "spec.service")]
    [InlineData("duration: 30d", "duration: long", 17, "spec.timeWindow[0].duration")]
    [InlineData("budgetingMethod: Occurrences", "budgetingMethod: Timeslices", 18, "spec.budgetingMethod")]
    [InlineData("apiVersion: openslo/v1", "apiVersion: openslo/v2", 1, "apiVersion")]
    [InlineData("kind: SLO", "kind: Slo", 2, "kind")]
    [InlineData("  name: one", "  title: one", 4, "metadata.name")]
    public void A_mistake_is_told_with_file_line_and_field(string good, string bad, int line, string field)
    {
        Assert.Contains(good, Good, StringComparison.Ordinal);
        var at = Good.IndexOf(good, StringComparison.Ordinal);
        var text = string.Concat(Good.AsSpan(0, at), bad, Good.AsSpan(at + good.Length));

        var (_, mistakes) = OpenSlo.Read([("a.yaml", text)]);

        var mistake = Assert.Single(mistakes, m => m.Field == field);
        Assert.InRange(mistake.Line, line, line + 1);
        Assert.StartsWith($"a.yaml:{mistake.Line}: {field} expects ", mistake.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_member_nobody_knows_is_a_mistake_and_all_mistakes_are_told()
    {
        var text = Good.Replace("target: 0.95", "target: 0.95\n      tarpit: 1", StringComparison.Ordinal)
            .Replace("budgetingMethod: Occurrences", "budgetingMethod: No", StringComparison.Ordinal);

        var (_, mistakes) = OpenSlo.Read([("a.yaml", text)]);

        Assert.Equal(["spec.budgetingMethod", "spec.objectives[0].tarpit"], mistakes.Select(m => m.Field).Order());
        Assert.Contains(
            "given the unknown field tarpit",
            mistakes.Single(m => m.Field.EndsWith("tarpit", StringComparison.Ordinal)).ToString(),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void What_is_no_yaml_is_told_with_its_line()
    {
        var (_, mistakes) = OpenSlo.Read([("a.yaml", "apiVersion: openslo/v1\nkind: [SLO\nmetadata: {"), ("b.yaml", "- 1")]);

        Assert.Equal(["a.yaml", "b.yaml"], mistakes.Select(m => m.File));
        Assert.InRange(mistakes[0].Line, 2, 4);
    }

    [Fact]
    public void An_indicator_may_be_a_document_of_its_own_and_other_kinds_are_left_alone()
    {
        const string Indicator = """
            apiVersion: openslo/v1
            kind: SLI
            metadata: {name: punctual}
            spec:
              ratioMetric:
                counter: true
                good: {metricSource: {type: Pipeline, spec: {metric: callbacks_punctual}}}
                total: {metricSource: {type: Pipeline, spec: {metric: callbacks}}}
            ---
            apiVersion: openslo/v1
            kind: Service
            metadata: {name: s}
            spec: {description: anything}
            """;
        const string Slo = """
            apiVersion: openslo/v1
            kind: SLO
            metadata: {name: two}
            spec:
              service: s
              indicatorRef: punctual
              timeWindow: [{duration: 1M, isRolling: false, calendar: {startTime: 2026-01-01 00:00:00, timeZone: Europe/Berlin}}]
              budgetingMethod: Occurrences
              objectives: [{target: 0.99}]
            """;

        var (objectives, mistakes) = OpenSlo.Read([("a.yaml", Slo), ("b.yaml", Indicator)]);
        var (_, missing) = OpenSlo.Read([("a.yaml", Slo)]);

        Assert.Empty(mistakes);
        Assert.Equal((Pipeline.ResultsApi.Sla.Indicator.Callbacks, 0.99), (objectives.Single().Indicator, objectives.Single().Target));
        Assert.Equal("spec.indicatorRef", missing.Single().Field);
    }

    [Theory]
    [InlineData("requests_accepted", "requests", 0)]
    [InlineData("callbacks_punctual", "callbacks", 1)]
    public void Requests_may_be_of_one_model_and_callbacks_may_not(string good, string total, int mistaken)
    {
        var text = $$"""
            apiVersion: openslo/v1
            kind: SLO
            metadata: {name: one}
            spec:
              service: s
              indicator:
                metadata: {name: one}
                spec:
                  ratioMetric:
                    counter: true
                    good:
                      metricSource:
                        type: Pipeline
                        spec:
                          metric: {{good}}
                          model: language-id
                    total:
                      metricSource:
                        type: Pipeline
                        spec:
                          metric: {{total}}
                          model: language-id
              timeWindow: [{duration: 30d, isRolling: true}]
              budgetingMethod: Occurrences
              objectives: [{target: 0.999}]
            """;

        var (objectives, mistakes) = OpenSlo.Read([("a.yaml", text)]);

        Assert.Equal(mistaken, mistakes.Count(m => m.Field.EndsWith("good.metricSource.spec.model", StringComparison.Ordinal)));
        Assert.Equal(mistaken, mistakes.Count);
        Assert.All(objectives, o => Assert.True(o.Covers(LatencyClass.Bulk, "any", "language-id@2")));
        Assert.All(objectives, o => Assert.False(o.Covers(LatencyClass.Bulk, "any", "")));
    }
}
