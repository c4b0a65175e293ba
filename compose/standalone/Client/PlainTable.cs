namespace Pipeline.Standalone.Client;

/// <summary>Columns padded with spaces: reads well at a terminal of any width, and cuts well in a pipe.</summary>
internal static class PlainTable
{
    public static void Write(string[] heads, IEnumerable<string[]> rows) => Write(Console.Out, heads, rows);

    public static void Write(TextWriter writer, string[] heads, IEnumerable<string[]> rows)
    {
        string[][] lines = [heads, .. rows];
        var widths = heads.Select((_, column) => lines.Max(line => line[column].Length)).ToArray();
        foreach (var line in lines)
        {
            writer.WriteLine(string.Join("  ", line.Select((cell, column) => cell.PadRight(widths[column]))).TrimEnd());
        }
    }
}
