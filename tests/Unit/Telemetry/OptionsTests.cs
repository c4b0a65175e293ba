using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;
using Microsoft.Extensions.Options;
using Pipeline.GpuWorker.Nvml;
using Pipeline.Hosting;
using Pipeline.Hosting.Telemetry;
using Xunit;

namespace Pipeline.Tests.Unit.Telemetry;

/// <summary>Options, the JSON log, and a machine without a driver.</summary>
public sealed class OptionsTests
{
    [Fact]
    public void All_mistakes_are_told_at_once()
    {
        var mistakes = Assert.Throws<OptionsException>(() =>
            TelemetryOptions.Read(Configuration(("Telemetry:SampleRatio", "2"), ("Telemetry:ModelsMax", "0"), ("Telemetry:SeriesMax", "1")))
        );
        Assert.Equal(3, mistakes.Message.Split(Environment.NewLine).Length);
        Assert.Contains("Telemetry:SampleRatio expects 0 to 1, given \"2\"", mistakes.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_console_writes_JSON_where_it_is_asked_to()
    {
        var services = new ServiceCollection();
        services.AddLogging(log => log.AddSimpleConsole());
        services.AddPipelineTelemetry(Configuration(("Telemetry:JsonLogs", "true")), "test");
        using var provider = services.BuildServiceProvider();

        Assert.Equal(ConsoleFormatterNames.Json, provider.GetRequiredService<IOptions<ConsoleLoggerOptions>>().Value.FormatterName);
        Assert.True(provider.GetRequiredService<IOptions<JsonConsoleFormatterOptions>>().Value.IncludeScopes);
    }

    [Fact]
    public void A_machine_without_a_driver_has_no_figures_of_devices_and_says_why()
    {
        using var nvml = NvmlLibrary.TryLoad(out var why);
        Assert.SkipWhen(nvml is not null, "This machine has an NVIDIA driver.");
        Assert.NotEmpty(why);
    }

    [Fact]
    public void A_device_tells_how_busy_full_and_hot_it_is()
    {
        using var nvml = NvmlLibrary.TryLoad(out var why);
        Assert.SkipWhen(nvml is null, why);
        Assert.All(
            nvml!.Read(),
            device =>
            {
                Assert.NotEmpty(device.Name);
                Assert.InRange(device.Utilization!.Value, 0, 1);
                Assert.InRange(device.MemoryUsed!.Value, 0, device.MemoryTotal!.Value);
                Assert.InRange(device.Watts!.Value, 1, 2000);
                Assert.InRange(device.Celsius!.Value, 1, 120);
            }
        );
    }

    private static IConfigurationRoot Configuration(params (string Key, string Value)[] settings) =>
        new ConfigurationBuilder().AddInMemoryCollection(settings.Select(s => KeyValuePair.Create(s.Key, (string?)s.Value))).Build();
}
