namespace Pipeline.ResultsApi.Usage;

/// <summary>Writes CSV as in RFC 4180: a field that holds a comma, a quote or a line break is quoted; null is an empty field.</summary>
internal static class Csv
{
    private static readonly System.Buffers.SearchValues<char> Special = System.Buffers.SearchValues.Create(",\"\r\n");

    public static string Line(IEnumerable<string?> fields) => string.Join(',', fields.Select(Field)) + "\r\n";

    private static string Field(string? text) =>
        text is null ? ""
        : text.AsSpan().ContainsAny(Special) ? $"\"{text.Replace("\"", "\"\"", StringComparison.Ordinal)}\""
        : text;
}
