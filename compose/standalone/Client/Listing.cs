using System.CommandLine;
using System.Globalization;
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
            Console.WriteLine($"{member.Name}: {Text(member.Value)}");
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

    /// <summary>A moment as a table shows it: here and to the second.</summary>
    public static string Moment(DateTimeOffset at) => at.ToLocalTime().ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);

    /// <summary>A value as a table shows it.</summary>
    public static string Text(JsonElement value) =>
        value.ValueKind switch
        {
            JsonValueKind.String when value.TryGetDateTimeOffset(out var at) => Moment(at),
            JsonValueKind.Array => string.Join(',', value.EnumerateArray()),
            JsonValueKind.Object => string.Join(' ', value.EnumerateObject().Select(m => $"{m.Name}={m.Value}")),
            JsonValueKind.True or JsonValueKind.False => value.GetRawText(),
            _ => value.ToString(),
        };
}
