using System.Text;
using System.Text.Json;

namespace Pipeline.Tests.Support.Focus;

/// <summary>An export as a stranger reads it: rows of names and texts, null where a value is null. JSON numbers keep their digits.</summary>
internal static class FocusFile
{
    public static List<Dictionary<string, string?>> Read(string text) => text.StartsWith('[') ? Json(text) : Csv(text);

    private static List<Dictionary<string, string?>> Json(string text)
    {
        using var document = JsonDocument.Parse(text);
        return
        [
            .. document
                .RootElement.EnumerateArray()
                .Select(row =>
                    row.EnumerateObject()
                        .ToDictionary(
                            field => field.Name,
                            field =>
                                field.Value.ValueKind switch
                                {
                                    JsonValueKind.Null => null,
                                    JsonValueKind.String => field.Value.GetString(),
                                    _ => field.Value.GetRawText(),
                                }
                        )
                ),
        ];
    }

    private static List<Dictionary<string, string?>> Csv(string text)
    {
        var lines = Fields(text).ToList();
        return
        [
            .. lines
                .Skip(1)
                .Select(line => lines[0].Zip(line).ToDictionary(f => f.First, f => f.Second.Length > 0 ? (string?)f.Second : null)),
        ];
    }

    private static IEnumerable<List<string>> Fields(string text)
    {
        var (line, field, quoted) = (new List<string>(), new StringBuilder(), false);
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            if (quoted)
            {
                if (c != '"')
                {
                    field.Append(c);
                }
                else if (i + 1 < text.Length && text[i + 1] == '"')
                {
                    field.Append('"');
                    i++;
                }
                else
                {
                    quoted = false;
                }
            }
            else if (c == '"')
            {
                quoted = true;
            }
            else if (c is ',' or '\n')
            {
                line.Add(field.ToString());
                field.Clear();
                if (c == '\n')
                {
                    yield return line;
                    line = [];
                }
            }
            else if (c != '\r')
            {
                field.Append(c);
            }
        }
    }
}
