using System.CommandLine;
using System.Text.Json;
using Pipeline.Hosting;

namespace Pipeline.Standalone.Client;

/// <summary>Prints what the API lists and answers, as a table and as lines.</summary>
internal static class Listing
{
    public static Option<bool> Json() => new("--json") { Description = "Print JSON, one object a line" };

    /// <summary>One answer, a member a line; members that are null are left out.</summary>
    public static void Tell(JsonElement answer)
    {
        foreach (var member in answer.EnumerateObject().Where(m => m.Value.ValueKind != JsonValueKind.Null && m.Name != "object"))
        {
            Console.WriteLine($"{member.Name}: {member.Value}");
        }
    }

    public static void Show(IReadOnlyList<JsonElement> items, bool json, string[] columns)
    {
        if (!WriteJson(items, json))
        {
            PlainTable.Write(columns, items.Select(item => Array.ConvertAll(columns, column => Text(item.GetProperty(column)))));
        }
    }

    /// <summary>Prints items as JSON where that is wanted, and says whether it was.</summary>
    public static bool WriteJson(IReadOnlyList<JsonElement> items, bool json)
    {
        foreach (var item in json ? items : [])
        {
            Console.WriteLine(JsonSerializer.Serialize(item, ApiJson.Options));
        }

        return json;
    }

    private static string Text(JsonElement value) =>
        value.ValueKind switch
        {
            JsonValueKind.Array => string.Join(',', value.EnumerateArray()),
            JsonValueKind.Object => string.Join(' ', value.EnumerateObject().Select(m => $"{m.Name}={m.Value}")),
            _ => value.ToString(),
        };
}
