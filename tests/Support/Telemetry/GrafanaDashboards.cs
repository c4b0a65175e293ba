using System.Runtime.CompilerServices;
using System.Text.Json;

namespace Pipeline.Tests.Support.Telemetry;

/// <summary>The dashboards in <c>compose/observability/grafana</c>.</summary>
internal static class GrafanaDashboards
{
    public static IEnumerable<JsonElement> ReadAll() => Directory.EnumerateFiles(Folder(), "*.json").Select(Parse);

    public static JsonElement Read(string file) => Parse(Path.Combine(Folder(), file));

    /// <summary>What its panels ask for: queries with their legends.</summary>
    public static List<JsonElement> Targets(JsonElement dashboard) =>
        [
            .. dashboard
                .GetProperty("panels")
                .EnumerateArray()
                .Where(panel => panel.TryGetProperty("targets", out _))
                .SelectMany(panel => panel.GetProperty("targets").EnumerateArray()),
        ];

    private static JsonElement Parse(string path) => JsonElement.Parse(File.ReadAllText(path));

    private static string Folder([CallerFilePath] string here = "") =>
        Path.Combine(Path.GetDirectoryName(here)!, "..", "..", "..", "compose", "observability", "grafana", "dashboards");
}
