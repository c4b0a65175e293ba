using System.Text.RegularExpressions;
using Pipeline.Contracts;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Pipeline.ResultsApi.Sla.Objectives;

/// <summary>
/// Reads OpenSLO v1 files. Of the kinds <c>SLO</c> and <c>SLI</c> are used; the others are left to those whom they are for. An indicator names what
/// it looks at by <c>metricSource: {type: Pipeline, spec: {metric, class, tenant, model}}</c>: a <c>thresholdMetric</c> is a time in seconds (<see cref="Times"/>),
/// a <c>ratioMetric</c> one of the pairs of <see cref="Ratios"/>.
/// </summary>
internal static partial class OpenSlo
{
    private const string Version = "openslo/v1";
    private const string SourceType = "Pipeline";
    private const int ObjectivesMax = 20;
    private static readonly string[] Kinds =
    [
        "SLO",
        "SLI",
        "Service",
        "DataSource",
        "AlertPolicy",
        "AlertCondition",
        "AlertNotificationTarget",
    ];

    private static readonly Dictionary<string, Indicator> Times = new()
    {
        ["end_to_end"] = Indicator.EndToEnd,
        ["queue_wait"] = Indicator.QueueWait,
        ["device_time"] = Indicator.DeviceTime,
        ["first_result"] = Indicator.FirstResult,
        ["job_end_to_end"] = Indicator.JobEndToEnd,
    };

    private static readonly (string Good, string Total, Indicator Indicator)[] Ratios =
    [
        ("tasks_within_target", "tasks", Indicator.Tasks),
        ("jobs_within_target", "jobs", Indicator.Jobs),
        ("requests_accepted", "requests", Indicator.Requests),
        ("callbacks_punctual", "callbacks", Indicator.Callbacks),
    ];

    /// <summary>Reads files; the objectives are of use only where there is no mistake.</summary>
    public static (IReadOnlyList<Objective> Objectives, IReadOnlyList<OpenSloMistake> Mistakes) Read(
        IEnumerable<(string Name, string Text)> files
    )
    {
        var mistakes = new List<OpenSloMistake>();
        var documents = files.SelectMany(file => Documents(file.Name, file.Text, mistakes)).ToList();
        var indicators = new Dictionary<string, OpenSloNode>(StringComparer.Ordinal);
        foreach (var (kind, document) in documents.Where(d => d.Kind == "SLI"))
        {
            ReadIndicator(document, indicators);
        }

        var names = new HashSet<string>(StringComparer.Ordinal);
        var objectives = documents.Where(d => d.Kind == "SLO").SelectMany(d => ReadSlo(d.Document, indicators, names)).ToList();
        return (objectives, mistakes);
    }

    private static List<(string Kind, OpenSloNode Document)> Documents(string file, string text, List<OpenSloMistake> mistakes)
    {
        var stream = new YamlStream();
        try
        {
            stream.Load(new StringReader(text));
        }
        catch (YamlException e)
        {
            mistakes.Add(new OpenSloMistake(file, e.Start.Line, "the file", "YAML", e.Message));
            return [];
        }
        catch (InvalidOperationException)
        {
            // What the parser says where a bracket is still open at the end.
            mistakes.Add(new OpenSloMistake(file, text.Count(c => c == '\n') + 1, "the file", "YAML", "a file that ends in the middle"));
            return [];
        }

        var documents = new List<(string, OpenSloNode)>();
        foreach (var document in stream.Documents)
        {
            if (document.RootNode is not YamlMappingNode root)
            {
                mistakes.Add(new OpenSloMistake(file, document.RootNode.Start.Line, "the document", "a mapping", "something else"));
                continue;
            }

            var node = new OpenSloNode(file, "", root, mistakes);
            var isOurs = node.Word("apiVersion", [Version]) is not null;
            if (node.Word("kind", Kinds) is { } kind && isOurs)
            {
                documents.Add((kind, node));
            }
        }

        return documents;
    }

    private static string? NameOf(OpenSloNode document)
    {
        var metadata = document.Map("metadata", "a mapping with a name");
        var name = metadata?.Text("name", "a name");
        metadata?.Text("displayName", "a text", required: false);
        metadata?.Skip("labels", "annotations");
        metadata?.RefuseOthers();
        return name;
    }

    private static void ReadIndicator(OpenSloNode document, Dictionary<string, OpenSloNode> indicators)
    {
        var name = NameOf(document);
        var spec = document.Map("spec", "a mapping with ratioMetric or thresholdMetric");
        document.RefuseOthers();
        if (name is not null && spec is not null && !indicators.TryAdd(name, spec))
        {
            document.Refuse("metadata", "a name that no other SLI has", $"\"{name}\" again");
        }
    }

    private static IEnumerable<Objective> ReadSlo(OpenSloNode document, Dictionary<string, OpenSloNode> indicators, HashSet<string> names)
    {
        var name = NameOf(document);
        if (name is not null && !names.Add(name))
        {
            document.Refuse("metadata", "a name that no other SLO has", $"\"{name}\" again");
        }

        var spec = document.Map("spec", "a mapping with service, indicator and objectives");
        document.RefuseOthers();
        if (spec is null)
        {
            return [];
        }

        var description = spec.Text("description", "a text of at most 1050 characters", required: false);
        if (description?.Length > 1050)
        {
            spec.Refuse("description", "a text of at most 1050 characters", $"{description.Length}");
        }

        var service = spec.Text("service", "a name");
        var indicator = IndicatorOf(spec, indicators);
        spec.Word("budgetingMethod", ["Occurrences"]);
        var window = WindowOf(spec);
        spec.Skip("alertPolicies");
        var read = spec.List("objectives", $"a list of 1 to {ObjectivesMax} objectives", ObjectivesMax)
            .Select((node, i) => ReadObjective(node, i, name, service, indicator, window))
            .ToList();
        spec.RefuseOthers();
        return read.OfType<Objective>();
    }

    private static Objective? ReadObjective(OpenSloNode node, int place, string? slo, string? service, Source? source, string? window)
    {
        var display = node.Text("displayName", "a text", required: false);
        var isTime = source is { } known ? Objective.IsTime(known.Indicator) : node.Has("value");
        double? limit = null;
        if (isTime)
        {
            node.Word("op", ["lte"]);
            limit = node.Number("value", "a limit in seconds, more than 0 and at most 604800", v => v is > 0 and <= 604_800);
        }

        double? target;
        if (node.Has("targetPercent") && !node.Has("target"))
        {
            target = node.Number("targetPercent", "a share in percent, more than 0 and less than 100", v => v is > 0 and < 100) / 100;
        }
        else
        {
            target = node.Number("target", "a share, more than 0 and less than 1", v => v is > 0 and < 1);
        }

        node.Skip("compositeWeight");
        node.RefuseOthers();
        return slo is null || service is null || source is not { } found || target is null || window is null || (isTime && limit is null)
            ? null
            : new Objective(
                slo,
                display ?? (place == 0 ? slo : $"{slo} {place + 1}"),
                service,
                found.Indicator,
                limit is { } seconds ? (long)Math.Round(seconds * 1_000_000) : null,
                target.Value,
                window,
                found.Class,
                found.Tenant,
                found.Model
            );
    }

    private static string? WindowOf(OpenSloNode spec)
    {
        if (spec.List("timeWindow", "a list of one window", max: 1) is not [var window])
        {
            return null;
        }

        const string Form = "a duration as 30d, 4w, 1M or 1Q";
        var duration = window.Text("duration", Form);
        if (duration is not null && !Duration().IsMatch(duration))
        {
            window.Refuse("duration", Form, $"\"{duration}\"");
            duration = null;
        }

        window.Word("isRolling", ["true", "false"], required: false);
        window.Skip("calendar");
        window.RefuseOthers();
        return duration;
    }

    private static Source? IndicatorOf(OpenSloNode spec, Dictionary<string, OpenSloNode> indicators)
    {
        if (spec.Has("indicatorRef"))
        {
            var name = spec.Text("indicatorRef", "the name of an SLI");
            if (name is not null && !indicators.ContainsKey(name))
            {
                spec.Refuse("indicatorRef", $"the name of an SLI ({string.Join(", ", indicators.Keys)})", $"\"{name}\"");
            }

            return name is not null && indicators.TryGetValue(name, out var found) ? SourceOf(found) : null;
        }

        var indicator = spec.Map("indicator", "an SLI, or indicatorRef with the name of one");
        indicator?.Skip("metadata");
        var inner = indicator?.Map("spec", "a mapping with ratioMetric or thresholdMetric");
        indicator?.RefuseOthers();
        return inner is null ? null : SourceOf(inner);
    }

    private static Source? SourceOf(OpenSloNode spec)
    {
        spec.Skip("description");
        if (spec.Has("ratioMetric"))
        {
            var ratio = spec.Map("ratioMetric", "a mapping with good and total");
            ratio?.Word("counter", ["true"], required: false);
            var good = MetricOf(ratio?.Map("good", "a mapping with metricSource"), [.. Ratios.Select(r => r.Good)]);
            var expected = Ratios.FirstOrDefault(r => r.Good == good?.Metric);
            var total = MetricOf(
                ratio?.Map("total", "a mapping with metricSource"),
                good is null ? [.. Ratios.Select(r => r.Total)] : [expected.Total]
            );
            ratio?.RefuseOthers();
            spec.RefuseOthers();
            return good is null || total is null ? null : good with { Indicator = expected.Indicator };
        }

        var threshold = spec.Map("thresholdMetric", "a mapping with metricSource, or ratioMetric in its place");
        var time = MetricOf(threshold, [.. Times.Keys]);
        spec.RefuseOthers();
        return time is null ? null : time with { Indicator = Times[time.Metric] };
    }

    private static Source? MetricOf(OpenSloNode? metric, IReadOnlyList<string> metrics)
    {
        var source = metric?.Map("metricSource", $"a mapping with type {SourceType} and spec");
        metric?.RefuseOthers();
        source?.Word("type", [SourceType]);
        source?.Skip("metricSourceRef");
        var spec = source?.Map("spec", "a mapping with a metric");
        source?.RefuseOthers();
        if (spec is null)
        {
            return null;
        }

        var name = spec.Word("metric", metrics);
        var latencyClass = spec.Value<LatencyClass>(
            "class",
            "express, standard or bulk",
            text => LatencyClasses.TryParse(text, out var parsed) ? parsed : null,
            required: false
        );
        var tenant = spec.Text("tenant", "a tenant's name", required: false);
        var model = spec.Text("model", "a model's name, or name@version", required: false);
        if (model is not null && name is "callbacks_punctual")
        {
            spec.Refuse("model", "to be absent: callbacks are not counted by model", $"\"{model}\"");
        }

        if (latencyClass is not null && name is "callbacks_punctual")
        {
            spec.Refuse("class", "to be absent: callbacks are not counted by class", $"\"{latencyClass.Value.Name()}\"");
        }

        spec.RefuseOthers();
        return name is null ? null : new Source(name, default, latencyClass, tenant, model);
    }

    [GeneratedRegex("^[1-9][0-9]{0,3}[mhdwMQY]$")]
    private static partial Regex Duration();

    private sealed record Source(string Metric, Indicator Indicator, LatencyClass? Class, string? Tenant, string? Model);
}
