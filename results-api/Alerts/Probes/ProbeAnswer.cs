using System.Text.Json;

namespace Pipeline.ResultsApi.Alerts.Probes;

/// <summary>Holds an answer against what is known.</summary>
internal static class ProbeAnswer
{
    /// <summary>
    /// What differs, a sentence; null when the answer is right: every member that is expected is there and equal, down to the leaves. Members
    /// that nobody expects are ignored; lists must have the same length; numbers may differ by <paramref name="tolerance"/>.
    /// </summary>
    public static string? Mistake(JsonElement expected, JsonElement given, double tolerance, string path = "output")
    {
        switch (expected.ValueKind)
        {
            case JsonValueKind.Object when given.ValueKind == JsonValueKind.Object:
                foreach (var member in expected.EnumerateObject())
                {
                    var at = $"{path}.{member.Name}";
                    var mistake = given.TryGetProperty(member.Name, out var value)
                        ? Mistake(member.Value, value, tolerance, at)
                        : $"{at}: expected {Show(member.Value)}, given nothing.";
                    if (mistake is not null)
                    {
                        return mistake;
                    }
                }

                return null;
            case JsonValueKind.Array when given.ValueKind == JsonValueKind.Array && expected.GetArrayLength() == given.GetArrayLength():
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

    private static string Show(JsonElement value) => value.GetRawText() is { Length: <= 200 } text ? text : $"{value.GetRawText()[..200]}…";
}
