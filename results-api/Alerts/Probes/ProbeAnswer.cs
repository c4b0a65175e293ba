using System.Text.Json;

namespace Pipeline.ResultsApi.Alerts.Probes;

/// <summary>Holds an answer against what is known.</summary>
internal static class ProbeAnswer
{
    /// <summary>
    /// What differs, a sentence; null when the answer is right: every member that is expected is there and equal, down to the leaves. Members
    /// that nobody expects are ignored, and so is what a list has after what is expected of it; numbers may differ by
    /// <paramref name="tolerance"/>. Of a classifier's output <c>label</c> is the likeliest, short for the first of <c>labels</c>.
    /// </summary>
    public static string? Mistake(JsonElement expected, JsonElement given, double tolerance, string path = "output")
    {
        switch (expected.ValueKind)
        {
            case JsonValueKind.Object when given.ValueKind == JsonValueKind.Object:
                foreach (var member in expected.EnumerateObject())
                {
                    var at = $"{path}.{member.Name}";
                    var mistake = Member(given, member.Name) is { } value
                        ? Mistake(member.Value, value, tolerance, at)
                        : $"{at}: expected {Show(member.Value)}, given nothing.";
                    if (mistake is not null)
                    {
                        return mistake;
                    }
                }

                return null;
            case JsonValueKind.Array when given.ValueKind == JsonValueKind.Array && expected.GetArrayLength() <= given.GetArrayLength():
                return expected
                    .EnumerateArray()
                    .Zip(given.EnumerateArray())
                    .Select((pair, i) => Mistake(pair.First, pair.Second, tolerance, $"{path}[{i}]"))
                    .FirstOrDefault(mistake => mistake is not null);
            case JsonValueKind.Number when given.ValueKind == JsonValueKind.Number:
                return Math.Abs(expected.GetDouble() - given.GetDouble()) <= tolerance ? null : Differs();
            default:
                return JsonElement.DeepEquals(expected, given) ? null : Differs();
        }

        string Differs() => $"{path}: expected {Show(expected)}, given {Show(given)}.";
    }

    private static JsonElement? Member(JsonElement given, string name) =>
        given.TryGetProperty(name, out var value) ? value
        : name == "label"
        && given.TryGetProperty("labels", out var labels)
        && labels is { ValueKind: JsonValueKind.Array }
        && labels.GetArrayLength() > 0
            ? Member(labels[0], name)
        : null;

    private static string Show(JsonElement value) => value.GetRawText() is { Length: <= 200 } text ? text : $"{value.GetRawText()[..200]}…";
}
