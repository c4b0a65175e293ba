using System.Diagnostics;
using System.Net;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.RegularExpressions;
using Pipeline.Standalone;
using Pipeline.Standalone.Host;
using Xunit;

namespace Pipeline.Tests.Support.Servers;

/// <summary>
/// A real Prometheus with the Compose file's configuration and rules, <c>compose/observability</c>: only the addresses of the services, which
/// DNS would tell, and the intervals are replaced.
/// </summary>
internal sealed partial class PrometheusServer : IAsyncDisposable
{
    private const string Program = "/usr/bin/prometheus";
    private static readonly TimeSpan WaitMax = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);
    private static readonly string Files = FilesFolder();
    private readonly Watchdog _watchdog;
    private readonly HttpClient _http;
    private readonly string _log;

    private PrometheusServer(Uri address, string log, Watchdog watchdog)
    {
        (_http, _log, _watchdog) = (new HttpClient { BaseAddress = address }, log, watchdog);
    }

    /// <summary>Starts it on a free port. Skips the test where there is no Prometheus.</summary>
    /// <param name="services">Addresses to ask for <c>/metrics</c>, by service; the others are nowhere.</param>
    public static async Task<PrometheusServer> StartAsync(ILookup<string, Uri> services, CancellationToken stop)
    {
        Assert.SkipUnless(File.Exists(Program), "No Prometheus for this test. Install it (Debian: apt-get install prometheus).");
        var address = new Uri($"http://127.0.0.1:{Ports.Free()}");
        var folder = TemporaryFolder.Create("pipeline-prometheus-");
        File.Copy(Path.Combine(Files, "rules.yml"), Path.Combine(folder, "rules.yml"));
        await File.WriteAllTextAsync(Path.Combine(folder, "prometheus.yml"), Configuration(services), stop);
        var log = Path.Combine(folder, "out");
        var watchdog = Watchdog.Start(
            $"""
            {Program} --config.file={folder}/prometheus.yml --storage.tsdb.path={folder}/data --web.listen-address={address.Authority} \
              --log.level=warn >{log} 2>&1 &
            prometheus=$!
            """,
            $"""
            kill -TERM $prometheus
            wait $prometheus
            rm -rf {folder}
            """
        );
        var server = new PrometheusServer(address, log, watchdog);
        await server.UntilAsync("api/v1/targets?state=active", data => data.GetProperty("activeTargets").GetArrayLength() > 0, stop);
        return server;
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        await _watchdog.DisposeAsync();
    }

    /// <summary>Asks until the answer is as wanted, and gives it.</summary>
    /// <exception cref="TimeoutException">It was not in time; with the last answer.</exception>
    public async Task<JsonElement> UntilAsync(string path, Func<JsonElement, bool> wanted, CancellationToken stop)
    {
        var last = "no answer";
        for (var clock = Stopwatch.StartNew(); clock.Elapsed < WaitMax; await Task.Delay(Pause, stop))
        {
            try
            {
                var data = await AskAsync(path, stop);
                if (wanted(data))
                {
                    return data;
                }

                last = data.GetRawText();
            }
            catch (HttpRequestException e)
            {
                last = e.Message; // It still starts.
            }
        }

        throw new TimeoutException(
            $"Prometheus did not say so within {WaitMax.TotalSeconds} s, asked for {path}: {last}{Environment.NewLine}{await File.ReadAllTextAsync(_log, stop)}"
        );
    }

    private async Task<JsonElement> AskAsync(string path, CancellationToken stop)
    {
        using var reply = await _http.GetAsync(path, stop);
        if (reply.StatusCode == HttpStatusCode.ServiceUnavailable)
        {
            throw new HttpRequestException("Prometheus is not ready.");
        }

        var answer = JsonElement.Parse(await reply.Content.ReadAsStringAsync(stop));
        Assert.True(answer.GetProperty("status").GetString() == "success", $"{path}: {answer.GetRawText()}");
        return answer.GetProperty("data");
    }

    private static string Configuration(ILookup<string, Uri> services)
    {
        var text = File.ReadAllText(Path.Combine(Files, "prometheus.yml"))
            .Replace("dns_sd_configs:", "static_configs:", StringComparison.Ordinal);
        text = Interval().Replace(text, "$1: 1s");
        return Discovery()
            .Replace(
                text,
                found =>
                {
                    var name = found.Groups[1].Value;
                    var targets = string.Join(", ", services[name].Select(address => $"'{address.Authority}'"));
                    return $"- targets: [{targets}]\n        labels: {{__meta_dns_name: {name}}}\n";
                }
            );
    }

    private static string FilesFolder([CallerFilePath] string here = "") =>
        Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "..", "..", "..", "compose", "observability"));

    [GeneratedRegex(@"(scrape_interval|evaluation_interval): \S+")]
    private static partial Regex Interval();

    [GeneratedRegex(@"- names: \[([a-z-]+)\]\n *type: A\n *port: 8080\n *refresh_interval: \S+\n")]
    private static partial Regex Discovery();
}
