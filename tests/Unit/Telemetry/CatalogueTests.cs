using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Pipeline.Hosting.Telemetry;
using Pipeline.Tests.Support.Telemetry;
using Xunit;

namespace Pipeline.Tests.Unit.Telemetry;

/// <summary>The catalogue of metrics, and what is made from it: the README's table, the rules, the dashboards.</summary>
public sealed partial class CatalogueTests
{
    private const string Begin = "<!-- The table is made from Metrics.cs; PIPELINE_REMAKE=1 with the tests writes it anew. -->\n";
    private static readonly string Root = FindRoot();
    private static readonly string Observability = Path.Combine(Root, "compose", "observability");
    private static readonly string Readme = Path.Combine(Root, "contracts", "Hosting", "Telemetry", "README.md");

    [Fact]
    public void Every_metric_has_one_name_a_unit_an_owner_and_something_to_do()
    {
        Assert.Equal(Metrics.All.Count, Metrics.All.Select(metric => metric.Name).Distinct().Count());
        Assert.Equal(Metrics.All.Count, Metrics.All.Select(metric => metric.PrometheusName).Distinct().Count());
        Assert.All(
            Metrics.All,
            metric =>
            {
                Assert.Matches("^[a-z_]+(\\.[a-z_]+)+$", metric.Name);
                Assert.Matches("^(s|By|W|Cel|1|USD|\\{[a-z]+\\})$", metric.Unit);
                Assert.All((string[])[metric.Owner, metric.Meaning, metric.Moves], text => Assert.NotEmpty(text));
                Assert.Equal(metric.Buckets.Order().Distinct(), metric.Buckets);
            }
        );
    }

    [Fact]
    public void No_label_grows_with_use() =>
        Assert.All(
            Metrics.All.SelectMany(metric => metric.Labels),
            label => Assert.DoesNotMatch("tenant|job|task|worker|dispatch|user|key|custom|url|path", label)
        );

    [Fact]
    public void The_READMEs_table_is_what_the_code_says()
    {
        var text = File.ReadAllText(Readme);
        var begin = text.IndexOf(Begin, StringComparison.Ordinal) + Begin.Length;
        var end = text.IndexOf("\n\n", begin, StringComparison.Ordinal);
        var table = Table();
        if (Environment.GetEnvironmentVariable("PIPELINE_REMAKE") == "1")
        {
            File.WriteAllText(Readme, text[..begin] + table + text[end..]);
            return;
        }

        Assert.Equal(table.Split('\n'), text[begin..end].Split('\n'));
    }

    [Fact]
    public void Rules_ask_for_metrics_and_labels_that_there_are()
    {
        var rules = Rules();
        Assert.NotEmpty(rules);
        var recorded = Recorded();
        Assert.All(rules, query => Assert.Empty(MetricNames.Unknown(query, recorded)));
        Assert.All(
            LabelInText().Matches(File.ReadAllText(Path.Combine(Observability, "rules.yml"))),
            label => Assert.Empty(MetricNames.Unknown(label.Groups[1].Value, recorded))
        );
    }

    [Fact]
    public void Rules_send_to_paths_that_there_are()
    {
        using var openApi = JsonDocument.Parse(File.ReadAllText(Path.Combine(Root, "compose", "openapi.json")));
        var paths = openApi.RootElement.GetProperty("paths").EnumerateObject().Select(p => Part().Replace(p.Name, "ID")).ToHashSet();
        var named = ApiPath().Matches(File.ReadAllText(Path.Combine(Observability, "rules.yml")));

        Assert.NotEmpty(named);
        Assert.All(named, path => Assert.Contains(path.Value, paths));
    }

    [Theory]
    [InlineData("pipeline-work.json")]
    [InlineData("pipeline-devices.json")]
    [InlineData("pipeline-services.json")]
    public void Dashboards_ask_for_metrics_and_labels_that_there_are(string file)
    {
        var dashboard = GrafanaDashboards.Read(file);
        var (recorded, panels) = (Recorded(), dashboard.GetProperty("panels").EnumerateArray().ToList());
        var targets = GrafanaDashboards.Targets(dashboard);

        Assert.NotEmpty(targets);
        Assert.Equal(panels.Count, panels.Select(panel => panel.GetProperty("id").GetInt32()).Distinct().Count());
        Assert.All(targets, target => Assert.Empty(MetricNames.Unknown(target.GetProperty("expr").GetString()!, recorded)));
        Assert.All(
            targets.SelectMany(target => Legend().Matches(target.GetProperty("legendFormat").GetString()!)),
            label => Assert.Empty(MetricNames.Unknown(label.Groups[1].Value, recorded))
        );
    }

    [Fact]
    public void Every_metric_is_on_a_dashboard_or_in_a_rule()
    {
        var files = Directory
            .EnumerateFiles(Path.Combine(Observability, "grafana", "dashboards"))
            .Append(Path.Combine(Observability, "rules.yml"))
            .Select(File.ReadAllText)
            .ToList();
        Assert.All(Metrics.All, metric => Assert.Contains(files, file => file.Contains(metric.PrometheusName, StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("rules", "rules.yml")]
    [InlineData("config", "prometheus.yml")]
    public async Task Promtool_takes_them(string what, string file)
    {
        using var promtool = Start("promtool", "check", what, Path.Combine(Observability, file));
        Assert.SkipWhen(promtool is null, "promtool is not installed; Debian's package prometheus has it.");
        var told = await promtool!.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await promtool.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.True(promtool.ExitCode == 0, told);
    }

    private static string Table()
    {
        var table = new StringBuilder(
            "| metric | in Prometheus | unit | owner | what it tells | when it moves |\n|---|---|---|---|---|---|"
        );
        foreach (var metric in Metrics.All)
        {
            var labels = metric.Labels.Length == 0 ? "" : $"; by {string.Join(", ", metric.Labels.Select(label => $"`{label}`"))}";
            var name = $"{metric.PrometheusName}{(metric.Kind == MetricKind.Histogram ? "_bucket, …" : "")}";
            table.Append(
                System.Globalization.CultureInfo.InvariantCulture,
                $"\n| `{metric.Name}` | `{name}` | {metric.Unit} | {metric.Owner} | {metric.Meaning}{labels} | {metric.Moves} |"
            );
        }

        return table.ToString();
    }

    /// <summary>The queries of the rules, each on a line of its own.</summary>
    private static List<string> Rules() =>
        [.. Query().Matches(File.ReadAllText(Path.Combine(Observability, "rules.yml"))).Select(match => match.Groups[1].Value)];

    private static HashSet<string> Recorded() =>
        [.. Record().Matches(File.ReadAllText(Path.Combine(Observability, "rules.yml"))).Select(match => match.Groups[1].Value)];

    private static Process? Start(string program, params string[] arguments)
    {
        try
        {
            return Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true });
        }
        catch (Win32Exception)
        {
            return null;
        }
    }

    private static string FindRoot([CallerFilePath] string here = "") =>
        Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "..", "..", ".."));

    [GeneratedRegex("^ *expr: (.+)$", RegexOptions.Multiline)]
    private static partial Regex Query();

    [GeneratedRegex("^ *- record: (.+)$", RegexOptions.Multiline)]
    private static partial Regex Record();

    [GeneratedRegex(@"\$labels\.([a-z_]+)")]
    private static partial Regex LabelInText();

    [GeneratedRegex("/v1/[A-Za-z_/-]*[A-Za-z]")]
    private static partial Regex ApiPath();

    [GeneratedRegex(@"\{[a-z_]+\}")]
    private static partial Regex Part();

    [GeneratedRegex(@"\{\{([a-z_]+)\}\}")]
    private static partial Regex Legend();
}
