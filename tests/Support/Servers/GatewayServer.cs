using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Pipeline.Standalone;
using Pipeline.Standalone.Host;
using Xunit;

namespace Pipeline.Tests.Support.Servers;

/// <summary>
/// A real nginx with the gateway's configuration, <c>compose/gateway/nginx.conf</c>, before given instances: only its port and their addresses
/// are replaced.
/// </summary>
internal sealed partial class GatewayServer : IAsyncDisposable
{
    private const string Program = "/usr/sbin/nginx";
    private static readonly TimeSpan StartMax = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20);
    private readonly Watchdog _watchdog;

    private GatewayServer(Uri address, Watchdog watchdog) => (Address, _watchdog) = (address, watchdog);

    public Uri Address { get; }

    /// <summary>Starts it on a free port. Skips the test where there is no nginx.</summary>
    public static async Task<GatewayServer> StartAsync(IReadOnlyList<Uri> ingest, IReadOnlyList<Uri> results, CancellationToken stop)
    {
        Assert.SkipUnless(File.Exists(Program), "No nginx for this test. Install it (Debian: apt-get install nginx).");
        var address = new Uri($"http://127.0.0.1:{Ports.Free()}");
        var folder = TemporaryFolder.Create("pipeline-gateway-");
        await File.WriteAllTextAsync(Path.Combine(folder, "nginx.conf"), Configuration(address, ingest, results), stop);
        var watchdog = Watchdog.Start(
            $"""
            {Program} -p {folder} -c {folder}/nginx.conf >{folder}/out 2>&1 &
            nginx=$!
            """,
            $"""
            kill -TERM $nginx
            wait $nginx
            rm -rf {folder}
            """
        );
        var server = new GatewayServer(address, watchdog);
        await server.UntilItAnswersAsync(Path.Combine(folder, "out"), stop);
        return server;
    }

    public ValueTask DisposeAsync() => _watchdog.DisposeAsync();

    private static string Configuration(Uri address, IReadOnlyList<Uri> ingest, IReadOnlyList<Uri> results)
    {
        var text = File.ReadAllText(ConfigurationPath()).Replace("listen 8080;", $"listen {address.Authority};", StringComparison.Ordinal);
        return Instance()
            .Replace(
                text,
                instance =>
                    string.Concat(
                        (instance.Groups[1].Value == "ingest" ? ingest : results).Select(one =>
                            $"server {one.Authority} {instance.Groups[2].Value};"
                        )
                    )
            );
    }

    private async Task UntilItAnswersAsync(string log, CancellationToken stop)
    {
        using var http = new HttpClient { BaseAddress = Address };
        for (var clock = Stopwatch.StartNew(); clock.Elapsed < StartMax; await Task.Delay(Pause, stop))
        {
            try
            {
                using var alive = await http.GetAsync("healthz", stop);
                if (alive.IsSuccessStatusCode)
                {
                    return;
                }
            }
            catch (HttpRequestException)
            {
                // Not listening yet.
            }
        }

        var said = await File.ReadAllTextAsync(log, stop);
        await DisposeAsync();
        throw new TimeoutException($"nginx did not answer within {StartMax.TotalSeconds} s:{Environment.NewLine}{said}");
    }

    private static string ConfigurationPath([CallerFilePath] string here = "") =>
        Path.Combine(Path.GetDirectoryName(here)!, "..", "..", "..", "compose", "gateway", "nginx.conf");

    [GeneratedRegex(@"server (ingest|results-api):8080 resolve ([^;]*);")]
    private static partial Regex Instance();
}
