using System.Text.RegularExpressions;
using Pipeline.Hosting.Telemetry;

namespace Pipeline.Tests.Support.Telemetry;

/// <summary>Names in queries, held against the catalogue.</summary>
internal static partial class MetricNames
{
    /// <summary>Labels that Prometheus itself, our scrape configuration, or a histogram adds.</summary>
    private static readonly string[] Added = ["instance", "job", "service", "le"];

    private static readonly HashSet<string> Series = [.. Metrics.All.SelectMany(metric => metric.SeriesNames), "up"];
    private static readonly HashSet<string> Labels =
    [
        .. Metrics.All.SelectMany(metric => metric.Labels).Select(label => label.Replace('.', '_')),
        .. Added,
    ];

    private static readonly HashSet<string> Words =
    [
        .. "sum min max count avg by without on ignoring group_left group_right and or unless rate increase".Split(' '),
        .. "histogram_quantile absent humanizeDuration".Split(' '),
    ];

    /// <summary>What of a PromQL query is neither a metric's series, nor a label, nor a recorded rule, nor a word of the language.</summary>
    /// <param name="recorded">Names of recorded rules.</param>
    public static IEnumerable<string> Unknown(string query, IReadOnlySet<string> recorded) =>
        Name()
            .Matches(Text().Replace(query, ""))
            .Select(match => match.Value)
            .Where(name => !Words.Contains(name) && !Series.Contains(name) && !Labels.Contains(name) && !recorded.Contains(name));

    [GeneratedRegex("\"[^\"]*\"|\\[[^\\]]*\\]")]
    private static partial Regex Text();

    [GeneratedRegex("[a-zA-Z_][a-zA-Z0-9_:]*")]
    private static partial Regex Name();
}
