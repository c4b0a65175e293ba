using System.Globalization;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Tasks;

namespace Pipeline.Ingest.Routes;

/// <summary>
/// What makes a list of variants a route. Reading a body and checking its models are two steps, since the second is taken again whenever
/// a job is accepted: a name may answer with another version by then.
/// </summary>
internal static class RouteRules
{
    private const int NameMax = 100;
    private const string Accept = "accept";
    private const string ProbabilityMin = "probability_min";
    private const string MarginMin = "margin_min";
    private const string UnitsMax = "units_max";

    public static void CheckName(string name, Mistakes mistakes)
    {
        if (name.Length is 0 or > NameMax || name.Contains('@', StringComparison.Ordinal) || name.Any(char.IsControl))
        {
            mistakes.Add("name", $"1 to {NameMax} characters without @", $"\"{Excerpt.Of(name)}\"");
        }
    }

    /// <summary>Reads <c>{"variants": [{"model": "…", "accept": {"probability_min": 0.9}}, {"model": "…"}]}</c>.</summary>
    /// <param name="variantsMax">Variants a route may have.</param>
    /// <returns>The variants, as far as they can be read; what is wrong with them is told.</returns>
    public static IReadOnlyList<RouteVariant> Read(JsonElement body, int variantsMax, Mistakes mistakes)
    {
        ExpectMembers(body, "", ["variants"], mistakes);
        var given = body.TryGetProperty("variants", out var list);
        var count = given && list.ValueKind == JsonValueKind.Array ? list.GetArrayLength() : -1;
        if (count < 2 || count > variantsMax)
        {
            mistakes.Add("variants", $"an array of 2 to {variantsMax} variants", count >= 0 ? $"{count}" : Given(given ? list : null));
            return [];
        }

        var variants = new List<RouteVariant>(count);
        foreach (var item in list.EnumerateArray())
        {
            if (ReadVariant(item, variants.Count, isLast: variants.Count == count - 1, mistakes) is { } variant)
            {
                variants.Add(variant);
            }
            else
            {
                return [];
            }
        }

        return variants;
    }

    /// <summary>Checks variants against the models they name.</summary>
    /// <param name="models">The manifest of each; null where no such model is registered.</param>
    /// <param name="isRoute">Whether a name is a route's.</param>
    /// <param name="registered">The models there are, for the message.</param>
    public static void Check(
        IReadOnlyList<RouteVariant> variants,
        IReadOnlyList<ModelManifest?> models,
        Func<string, bool> isRoute,
        string registered,
        Mistakes mistakes
    )
    {
        for (var i = 0; i < variants.Count; i++)
        {
            var field = Field(i, "model");
            var name = variants[i].Model;
            if (models[i] is not { } model)
            {
                var expected = isRoute(name)
                    ? "a model: a route holds no routes, since one that leads back to itself would never end"
                    : $"a registered model: {registered}";
                mistakes.Add(field, expected, $"\"{Excerpt.Of(name)}\"");
                continue;
            }

            if (models.Take(i).Any(earlier => earlier?.Ref == model.Ref))
            {
                mistakes.Add(field, "each model version once", $"{model.Ref} again");
            }

            CheckResult(variants[i].Accept, model, i, mistakes);
            if (models[0] is { } first && i > 0)
            {
                CheckAlike(first, model, field, mistakes);
            }
        }
    }

    private static void CheckResult(Acceptance? accept, ModelManifest model, int index, Mistakes mistakes)
    {
        if (accept is null || accept.IsOfLength)
        {
            return;
        }

        if (model.Result.Type != ResultType.Labels)
        {
            mistakes.Add(
                Field(index, Accept),
                $"{UnitsMax} alone: {ProbabilityMin} and {MarginMin} look at the scores of labels",
                $"results of type {Word(model.Result.Type)} from {model.Ref}"
            );
        }
        else if (accept.MarginMin is not null && model.Result.TopK < 2)
        {
            mistakes.Add(Field(index, $"{Accept}.{MarginMin}"), "a model whose result has a top_k of 2 or more", $"{model.Ref} with 1");
        }
    }

    /// <summary>Whatever is right for the first variant must be right for the others, and be answered in the same form.</summary>
    private static void CheckAlike(ModelManifest first, ModelManifest model, string field, Mistakes mistakes)
    {
        if (Input(model) != Input(first))
        {
            mistakes.Add(field, $"the input of {first.Ref}, {Input(first)}", $"{model.Ref}, which takes {Input(model)}");
        }

        if (model.Result.Type != first.Result.Type)
        {
            mistakes.Add(
                field,
                $"results of the type of {first.Ref}, {Word(first.Result.Type)}",
                $"{model.Ref}, which gives {Word(model.Result.Type)}"
            );
        }

        if (model.Limits.InputBytesMax < first.Limits.InputBytesMax)
        {
            mistakes.Add(
                field,
                $"a model that takes inputs as large as {first.Ref} does, {first.Limits.InputBytesMax} bytes",
                $"{model.Ref} with {model.Limits.InputBytesMax}"
            );
        }
    }

    /// <summary>What a model takes: text, or tensors by name, type and shape.</summary>
    private static string Input(ModelManifest model) =>
        model.Kind == ModelKind.Text
            ? "text"
            : string.Join(
                ", ",
                model
                    .Inputs.OrderBy(i => i.Key, StringComparer.Ordinal)
                    .Select(i => $"{i.Key} {i.Value.Type}[{(i.Value.Shape is null ? "" : string.Join(",", i.Value.TaskShape()))}]")
            );

    private static RouteVariant? ReadVariant(JsonElement item, int index, bool isLast, Mistakes mistakes)
    {
        if (item.ValueKind != JsonValueKind.Object)
        {
            mistakes.Add(Field(index, null), "an object {\"model\": \"…\", \"accept\": {…}}", Given(item));
            return null;
        }

        ExpectMembers(item, $"{Field(index, null)}.", ["model", Accept], mistakes);
        if (
            !item.TryGetProperty("model", out var model)
            || model.ValueKind != JsonValueKind.String
            || model.GetString() is not { Length: > 0 }
        )
        {
            mistakes.Add(Field(index, "model"), "the name of a model, or name@version", Given(model.ValueKind == 0 ? null : model));
            return null;
        }

        var given = item.TryGetProperty(Accept, out var accept) && accept.ValueKind != JsonValueKind.Null;
        if (given == isLast)
        {
            mistakes.Add(
                Field(index, Accept),
                isLast
                    ? "nothing: the last variant accepts every answer"
                    : $"a rule: one or more of {ProbabilityMin}, {MarginMin}, {UnitsMax}",
                given ? Given(accept) : "nothing"
            );
            return new RouteVariant(model.GetString()!);
        }

        return new RouteVariant(model.GetString()!, given ? ReadRule(accept, Field(index, Accept), mistakes) : null);
    }

    private static Acceptance ReadRule(JsonElement rule, string field, Mistakes mistakes)
    {
        if (rule.ValueKind != JsonValueKind.Object || !rule.EnumerateObject().Any())
        {
            mistakes.Add(field, $"an object with one or more of {ProbabilityMin}, {MarginMin}, {UnitsMax}", Given(rule));
            return new Acceptance();
        }

        ExpectMembers(rule, $"{field}.", [ProbabilityMin, MarginMin, UnitsMax], mistakes);
        return new Acceptance
        {
            ProbabilityMin = Share(rule, ProbabilityMin, field, mistakes),
            MarginMin = Share(rule, MarginMin, field, mistakes),
            UnitsMax = Units(rule, field, mistakes),
        };
    }

    private static double? Share(JsonElement rule, string name, string field, Mistakes mistakes)
    {
        if (!rule.TryGetProperty(name, out var value))
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.Number && value.GetDouble() is > 0 and <= 1 and var share)
        {
            return share;
        }

        mistakes.Add($"{field}.{name}", "a number, more than 0 and at most 1", Given(value));
        return null;
    }

    private static int? Units(JsonElement rule, string field, Mistakes mistakes)
    {
        if (!rule.TryGetProperty(UnitsMax, out var value))
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out var units) && units > 0)
        {
            return units;
        }

        mistakes.Add(
            $"{field}.{UnitsMax}",
            string.Create(CultureInfo.InvariantCulture, $"a whole number from 1 to {int.MaxValue}"),
            Given(value)
        );
        return null;
    }

    private static void ExpectMembers(JsonElement json, string field, string[] names, Mistakes mistakes)
    {
        foreach (var member in json.EnumerateObject().Where(m => !names.Contains(m.Name)))
        {
            mistakes.Add($"{field}{Excerpt.Of(member.Name)}", $"one of {string.Join(", ", names)}", "another member");
        }
    }

    private static string Field(int index, string? name) =>
        string.Create(CultureInfo.InvariantCulture, $"variants[{index}]{(name is null ? "" : $".{name}")}");

    private static string Word(ResultType type) => type.ToString().ToLowerInvariant();

    private static string Given(JsonElement? value) => value is { } json ? Excerpt.Of(json.GetRawText()) : "nothing";
}
