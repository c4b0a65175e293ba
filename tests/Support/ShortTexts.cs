using System.Text;
using System.Text.Json;

namespace Pipeline.Tests.Support;

/// <summary>Short real texts: the starter model's held-out sentences, over and over, each with an id of its own.</summary>
internal static class ShortTexts
{
    public static string[] Read() =>
        [
            .. Directory
                .GetFiles(Path.Combine(AppContext.BaseDirectory, "demo"), "*.txt")
                .Order(StringComparer.Ordinal)
                .SelectMany(File.ReadAllLines)
                .Where(line => line.Length > 0 && line[0] != '#'),
        ];

    public static string CustomId(int task) => $"task-{task}";

    public static async Task WriteBodyAsync(string path, string[] texts, int tasks, CancellationToken stop)
    {
        var lines = texts.Select(text => JsonSerializer.Serialize(text)).ToArray();
        await using var file = new StreamWriter(path, false, new UTF8Encoding(false), 1 << 20);
        for (var i = 0; i < tasks; i++)
        {
            await file.WriteAsync($"{{\"custom_id\":\"{CustomId(i)}\",\"input\":{lines[i % lines.Length]}}}\n".AsMemory(), stop);
        }
    }
}
