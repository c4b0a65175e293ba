using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Ingest.Routes;
using Pipeline.Ingest.Tasks;
using Pipeline.Tests.Support.Models;
using Xunit;

namespace Pipeline.Tests.Unit.Ingest;

public class RouteRulesTests
{
    private static readonly Dictionary<string, ModelManifest> Models = new()
    {
        ["small"] = Text("small"),
        ["large"] = Text("large"),
        ["one-label"] = Text("one-label", new ResultSpec { Type = ResultType.Labels, TopK = 1 }),
        ["vectors"] = Text("vectors", new ResultSpec { Type = ResultType.Embedding }),
        ["raw"] = Text("raw", new ResultSpec()),
        ["short"] = Text("short", limits: new LimitSpec { InputBytesMax = 10 }),
        ["grid"] = Tensor("grid", "float32", [-1, 2]),
        ["wide"] = Tensor("wide", "float32", [-1, 3]),
    };

    [Theory]
    [InlineData("""[{"model": "small", "accept": {"probability_min": 0.9}}, {"model": "large"}]""")]
    [InlineData("""[{"model": "small", "accept": {"margin_min": 1, "units_max": 64}}, {"model": "large"}]""")]
    [InlineData("""[{"model": "raw", "accept": {"units_max": 1}}, {"model": "raw@2"}]""")]
    [InlineData(
        """[{"model": "small", "accept": {"units_max": 9}}, {"model": "one-label", "accept": {"probability_min": 0.5}}, {"model": "large"}]"""
    )]
    public void A_route_may_be(string variants) => Assert.Empty(Mistakes(variants));

    [Theory]
    [InlineData("""[{"model": "large"}]""", "variants", "an array of 2 to 4 variants")]
    [InlineData("""[{}, {}, {}, {}, {}]""", "variants", "an array of 2 to 4 variants")]
    [InlineData(""" "small" """, "variants", "an array of 2 to 4 variants")]
    [InlineData("""["small", "large"]""", "variants[0]", "an object")]
    [InlineData("""[{"accept": {"units_max": 1}}, {"model": "large"}]""", "variants[0].model", "the name of a model")]
    [InlineData("""[{"model": "small"}, {"model": "large"}]""", "variants[0].accept", "a rule")]
    [InlineData("""[{"model": "small", "accept": {}}, {"model": "large"}]""", "variants[0].accept", "one or more of")]
    [InlineData(
        """[{"model": "small", "accept": {"score": 1}}, {"model": "large"}]""",
        "variants[0].accept.score",
        "one of probability_min"
    )]
    [InlineData(
        """[{"model": "small", "accept": {"units_max": 1}}, {"model": "large", "accept": {"units_max": 1}}]""",
        "variants[1].accept",
        "nothing"
    )]
    [InlineData(
        """[{"model": "small", "accept": {"probability_min": 1.1}}, {"model": "large"}]""",
        "variants[0].accept.probability_min",
        "at most 1"
    )]
    [InlineData(
        """[{"model": "small", "accept": {"margin_min": 0}}, {"model": "large"}]""",
        "variants[0].accept.margin_min",
        "more than 0"
    )]
    [InlineData(
        """[{"model": "small", "accept": {"units_max": 1.5}}, {"model": "large"}]""",
        "variants[0].accept.units_max",
        "a whole number"
    )]
    [InlineData(
        """[{"model": "small", "accept": {"units_max": 1}}, {"model": "nobody"}]""",
        "variants[1].model",
        "a registered model: small, large"
    )]
    [InlineData("""[{"model": "cheap", "accept": {"units_max": 1}}, {"model": "large"}]""", "variants[0].model", "a route holds no routes")]
    [InlineData("""[{"model": "small", "accept": {"units_max": 1}}, {"model": "small"}]""", "variants[1].model", "each model version once")]
    [InlineData(
        """[{"model": "small", "accept": {"units_max": 1}}, {"model": "grid"}]""",
        "variants[1].model",
        "the input of small@1.0.0, text"
    )]
    [InlineData("""[{"model": "grid", "accept": {"units_max": 1}}, {"model": "wide"}]""", "variants[1].model", "cells float32[2]")]
    [InlineData("""[{"model": "small", "accept": {"units_max": 1}}, {"model": "vectors"}]""", "variants[1].model", "labels")]
    [InlineData("""[{"model": "small", "accept": {"units_max": 1}}, {"model": "short"}]""", "variants[1].model", "inputs as large")]
    [InlineData("""[{"model": "vectors", "accept": {"probability_min": 1}}, {"model": "raw"}]""", "variants[0].accept", "units_max alone")]
    [InlineData(
        """[{"model": "one-label", "accept": {"margin_min": 1}}, {"model": "large"}]""",
        "variants[0].accept.margin_min",
        "a top_k of 2"
    )]
    public void What_is_wrong_is_told_with_its_place(string variants, string field, string expected)
    {
        var mistake = Mistakes(variants)[0];

        Assert.Equal(field, mistake.Field);
        Assert.Contains(expected, mistake.Expected, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("a@1")]
    [InlineData("a\nb")]
    public void A_name_that_cannot_be_told_from_others_is_refused(string name)
    {
        var mistakes = new Mistakes(10);
        RouteRules.CheckName(name, mistakes);
        Assert.True(mistakes.Any);
    }

    private static IReadOnlyList<Pipeline.Hosting.Mistake> Mistakes(string variants)
    {
        var mistakes = new Mistakes(10);
        var read = RouteRules.Read(JsonElement.Parse($$"""{"variants": {{variants}}}"""), variantsMax: 4, mistakes);
        ModelManifest?[] models =
        [
            .. read.Select(v => v.Model == "raw@2" ? Models["raw"] with { Version = "2" } : Models.GetValueOrDefault(v.Model)),
        ];
        RouteRules.Check(read, models, name => name == "cheap", "small, large", mistakes);
        return mistakes.Kept;
    }

    private static ModelManifest Text(string name, ResultSpec? result = null, LimitSpec? limits = null) =>
        Manifests.Describe(
            ModelKind.Text,
            [],
            [],
            result: result ?? new ResultSpec { Type = ResultType.Labels, TopK = 3 },
            limits: limits,
            name: name
        );

    private static ModelManifest Tensor(string name, string type, long[] shape) =>
        Manifests.Describe(ModelKind.Tensor, new() { ["cells"] = Manifests.Along(0) with { Type = type, Shape = shape } }, [], name: name);
}
