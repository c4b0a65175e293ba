using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Pipeline.Hosting;
using Pipeline.Standalone.Host;
using Pipeline.Tests.Support;

namespace Pipeline.Bench;

/// <summary>What the benchmarks read off a running system, and how they report.</summary>
internal static class Figures
{
    /// <summary>The server's own word on how durable it is, for the record.</summary>
    public static async Task<string> DurabilityAsync(ProcessRig rig, CancellationToken stop)
    {
        await using var command = rig.Storage.CreateCommand(
            "SELECT 'fsync=' || current_setting('fsync') || ' synchronous_commit=' || current_setting('synchronous_commit') || ' PostgreSQL ' || current_setting('server_version')"
        );
        return (string)(await command.ExecuteScalarAsync(stop))! + ", quorum queues, publisher confirms";
    }

    /// <summary>CPU seconds each service has used so far, by name.</summary>
    public static Dictionary<string, double> CpuSeconds(ProcessRig rig) => CpuSeconds(rig.Services.All, rig);

    /// <summary>The same for services that the rig did not start.</summary>
    public static Dictionary<string, double> CpuSeconds(IEnumerable<ServiceProcess> services, ProcessRig rig)
    {
        var seconds = new Dictionary<string, double>();
        foreach (var service in services)
        {
            using var process = Process.GetProcessById(service.ProcessId);
            seconds[service.Name] = process.TotalProcessorTime.TotalSeconds;
        }

        foreach (var (name, total) in ServerCpu(rig.PostgresProcessId))
        {
            seconds[name] = total;
        }

        return seconds;
    }

    public static double PeakServiceMemoryMb(ProcessRig rig) =>
        Math.Round(rig.Services.All.Max(service => service.PeakMemoryBytes) / 1e6, 1);

    /// <summary>The value that so many percent of the values do not exceed; 0 for none.</summary>
    public static double Percentile(double[] sorted, double percent) =>
        sorted.Length == 0 ? 0 : sorted[Math.Clamp((int)Math.Ceiling(sorted.Length * percent / 100) - 1, 0, sorted.Length - 1)];

    public static void Say(string what) => Console.Error.WriteLine($"bench: {what}");

    /// <summary>The one line a machine reads, last on standard output.</summary>
    public static void Report(object figures) => Console.WriteLine(JsonSerializer.Serialize(figures, ApiJson.Options));

    /// <summary>CPU seconds of the servers: all processes below the postmaster, and the broker's virtual machine.</summary>
    public static Dictionary<string, double> ServerCpu(int postgresProcessId)
    {
        var postmaster = postgresProcessId.ToString(CultureInfo.InvariantCulture);
        var ticks = new Dictionary<string, double> { ["postgres"] = 0, ["rabbitmq"] = 0 };
        foreach (var stat in Directory.EnumerateDirectories("/proc").Select(p => Path.Combine(p, "stat")))
        {
            try
            {
                var text = File.ReadAllText(stat);
                var name = text[(text.IndexOf('(', StringComparison.Ordinal) + 1)..text.LastIndexOf(')')];
                var fields = text[(text.LastIndexOf(')') + 2)..].Split(' ');
                var server =
                    name == "beam.smp" ? "rabbitmq"
                    : name == "postgres" && (fields[1] == postmaster || stat.Contains($"/{postmaster}/", StringComparison.Ordinal))
                        ? "postgres"
                    : null;
                if (server is not null)
                {
                    // utime, stime and those of ended children, in clock ticks of 10 ms.
                    ticks[server] += fields[11..15].Sum(long.Parse) / 100.0;
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It ended while we looked.
            }
        }

        return ticks;
    }
}
