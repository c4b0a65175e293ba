using System.Diagnostics.Metrics;

namespace Pipeline.Hosting.Telemetry;

/// <summary>What a metric counts up, spreads over buckets, or stands at.</summary>
public enum MetricKind
{
    Counter,
    Histogram,
    Gauge,
}

/// <summary>One metric: its name is written here and nowhere else.</summary>
/// <param name="Name">As instruments and OTLP have it.</param>
/// <param name="Unit">UCUM, as OpenTelemetry writes units: <c>s</c>, <c>By</c>, <c>1</c>, <c>{task}</c>.</param>
/// <param name="Owner">The service that knows it, or whose code measures it.</param>
/// <param name="Labels">The only labels it has; none of them grows with use.</param>
/// <param name="Meaning">What it tells.</param>
/// <param name="Moves">What to do when it moves.</param>
public sealed record Metric(string Name, MetricKind Kind, string Unit, string Owner, string[] Labels, string Meaning, string Moves)
{
    /// <summary>Upper bounds of a histogram's buckets; empty for OpenTelemetry's own.</summary>
    public double[] Buckets { get; init; } = [];

    /// <summary>Its name in Prometheus: unit in words, <c>_total</c> after what counts up. A histogram has three, which begin so.</summary>
    public string PrometheusName
    {
        get
        {
            var name = Name.Replace('.', '_');
            var unit = Unit switch
            {
                "s" => "seconds",
                "By" => "bytes",
                "W" => "watts",
                "Cel" => "celsius",
                "1" => Kind == MetricKind.Gauge ? "ratio" : "",
                ['{', ..] => "",
                _ => Unit,
            };
            name = unit.Length == 0 || name.EndsWith($"_{unit}", StringComparison.Ordinal) ? name : $"{name}_{unit}";
            return Kind == MetricKind.Counter && !name.EndsWith("_total", StringComparison.Ordinal) ? $"{name}_total" : name;
        }
    }

    /// <summary>The names of its series in Prometheus.</summary>
    public IEnumerable<string> SeriesNames =>
        Kind == MetricKind.Histogram ? [$"{PrometheusName}_bucket", $"{PrometheusName}_sum", $"{PrometheusName}_count"] : [PrometheusName];
}

/// <summary>Makes instruments of the catalogue's metrics.</summary>
public static class MetricInstruments
{
    public static Counter<T> Counter<T>(this Meter meter, Metric metric)
        where T : struct => meter.CreateCounter<T>(metric.Name, metric.Unit, metric.Meaning);

    public static Histogram<T> Histogram<T>(this Meter meter, Metric metric)
        where T : struct => meter.CreateHistogram<T>(metric.Name, metric.Unit, metric.Meaning);

    public static void Gauge<T>(this Meter meter, Metric metric, Func<T> value)
        where T : struct => meter.CreateObservableGauge(metric.Name, value, metric.Unit, metric.Meaning);

    public static void Gauge<T>(this Meter meter, Metric metric, Func<IEnumerable<Measurement<T>>> values)
        where T : struct => meter.CreateObservableGauge(metric.Name, values, metric.Unit, metric.Meaning);
}
