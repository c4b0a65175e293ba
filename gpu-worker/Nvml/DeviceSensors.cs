using System.Diagnostics.Metrics;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Pipeline.Hosting.Telemetry;

namespace Pipeline.GpuWorker.Nvml;

/// <summary>
/// The devices of this machine as their driver sees them, read when the metrics are. Where there is no driver there are no series: a missing
/// figure, and no zero that nobody measured.
/// </summary>
internal sealed partial class DeviceSensors(TelemetryOptions options, TimeProvider time, ILogger<DeviceSensors> log)
    : IHostedService,
        IDisposable
{
    /// <summary>Metrics that are read together tell of the same moment.</summary>
    private static readonly TimeSpan ReadingLasts = TimeSpan.FromMilliseconds(500);

    private readonly Meter _meter = new("Pipeline.Devices");
    private readonly Lock _lock = new();
    private NvmlLibrary? _nvml;
    private List<DeviceReading> _last = [];
    private long? _lastAt;

    public Task StartAsync(CancellationToken cancellationToken)
    {
        if (!options.Metrics)
        {
            return Task.CompletedTask;
        }

        _nvml = NvmlLibrary.TryLoad(out var why);
        if (_nvml is null)
        {
            LogAbsent(log, why);
            return Task.CompletedTask;
        }

        LogPresent(log, _nvml.Count);
        Show(Metrics.GpuUtilization, static reading => reading.Utilization);
        Show(Metrics.GpuMemoryUsage, static reading => reading.MemoryUsed);
        Show(Metrics.GpuMemoryLimit, static reading => reading.MemoryTotal);
        Show(Metrics.GpuPower, static reading => reading.Watts);
        Show(Metrics.GpuTemperature, static reading => reading.Celsius);
        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public void Dispose()
    {
        // Outside of the lock, which who collects may wait for while it holds one of its own.
        _meter.Dispose();
        lock (_lock)
        {
            _nvml?.Dispose();
            _nvml = null;
        }
    }

    private void Show(Metric metric, Func<DeviceReading, double?> value) =>
        _meter.Gauge(
            metric,
            () =>
                Read()
                    .Where(reading => value(reading) is not null)
                    .Select(reading => new Measurement<double>(
                        value(reading)!.Value,
                        new(Metrics.HardwareId, $"gpu-{reading.Index}"),
                        new(Metrics.HardwareName, reading.Name)
                    ))
        );

    private List<DeviceReading> Read()
    {
        lock (_lock)
        {
            if (_nvml is not null && (_lastAt is not { } at || time.GetElapsedTime(at) > ReadingLasts))
            {
                (_last, _lastAt) = (_nvml.Read(), time.GetTimestamp());
            }

            return _last;
        }
    }

    [LoggerMessage(1, LogLevel.Information, "Figures of {Devices} devices come from NVML")]
    private static partial void LogPresent(ILogger log, int devices);

    [LoggerMessage(2, LogLevel.Information, "No figures of devices: {Why}")]
    private static partial void LogAbsent(ILogger log, string why);
}
