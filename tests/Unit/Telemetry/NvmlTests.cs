using System.ComponentModel;
using System.Diagnostics;
using Pipeline.GpuWorker.Nvml;
using Pipeline.Standalone;
using Xunit;

namespace Pipeline.Tests.Unit.Telemetry;

/// <summary>Figures of devices: where there is a driver, where there is none, and from a library that a test makes.</summary>
public sealed class NvmlTests
{
    [Fact]
    public void A_machine_without_a_driver_has_no_figures_and_says_why()
    {
        using var nvml = NvmlLibrary.TryLoad(out var why);
        Assert.SkipWhen(nvml is not null, "This machine has an NVIDIA driver.");
        Assert.Equal("there is no libnvidia-ml.so.1: no NVIDIA driver", why);
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

    [Fact]
    public async Task What_the_driver_does_not_tell_of_a_device_is_left_out()
    {
        var folder = TemporaryFolder.Create("pipeline-nvml-");
        try
        {
            using var nvml = NvmlLibrary.TryLoad([await MakeAsync(folder, Driver)], out var why);
            Assert.Equal("", why);
            Assert.Equal(
                [
                    new DeviceReading(0, "Test device", 0.37, 10L << 30, 80L << 30, 312.5, 61),
                    new DeviceReading(1, "Test device", 0.37, 10L << 30, 80L << 30, null, 61),
                ],
                nvml!.Read()
            );
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Theory]
    [InlineData("int nvmlInit_v2(void) { return 9; }", "the driver does not answer (NVML error 9)")]
    [InlineData("int nvmlInit_v2(void) { return 0; }", "the driver sees no device")]
    public async Task A_driver_that_is_of_no_use_says_why(string init, string expected)
    {
        var folder = TemporaryFolder.Create("pipeline-nvml-");
        try
        {
            var none = Driver
                .Replace("int nvmlInit_v2(void) { return 0; }", init, StringComparison.Ordinal)
                .Replace("*count = 2", "*count = 0", StringComparison.Ordinal);
            Assert.Null(NvmlLibrary.TryLoad([await MakeAsync(folder, none)], out var why));
            Assert.Equal(expected, why);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task A_library_that_lacks_a_function_is_of_no_use_either()
    {
        var folder = TemporaryFolder.Create("pipeline-nvml-");
        try
        {
            Assert.Null(NvmlLibrary.TryLoad([await MakeAsync(folder, "int nvmlInit_v2(void) { return 0; }")], out var why));
            Assert.StartsWith("the driver is of another age: ", why, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>Two devices, of which the second does not tell its power.</summary>
    private const string Driver = """
        int nvmlInit_v2(void) { return 0; }
        int nvmlShutdown(void) { return 0; }
        int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
        int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *)(100L + index); return 0; }
        int nvmlDeviceGetName(void *device, char *name, unsigned length)
        {
            const char *text = "Test device";
            for (unsigned i = 0; i < length && (name[i] = text[i]); i++) { }
            return 0;
        }
        int nvmlDeviceGetUtilizationRates(void *device, unsigned *rates) { rates[0] = 37; rates[1] = 5; return 0; }
        int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *memory)
        {
            memory[0] = 80ull << 30; memory[1] = 70ull << 30; memory[2] = 10ull << 30;
            return 0;
        }
        int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts)
        {
            if ((long)device == 101) return 3;
            *milliwatts = 312500;
            return 0;
        }
        int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) { *celsius = 61; return sensor; }
        """;

    /// <summary>A library of these functions; skips the test where there is no C compiler.</summary>
    private static async Task<string> MakeAsync(string folder, string source)
    {
        var (code, library) = (Path.Combine(folder, "driver.c"), Path.Combine(folder, "driver.so"));
        await File.WriteAllTextAsync(code, source, TestContext.Current.CancellationToken);
        Process? compiler = null;
        try
        {
            compiler = Process.Start(
                new ProcessStartInfo("cc", ["-shared", "-fPIC", "-o", library, code]) { RedirectStandardError = true }
            );
        }
        catch (Win32Exception)
        {
            Assert.Skip("There is no C compiler (cc).");
        }

        using (compiler)
        {
            var told = await compiler!.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            await compiler.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.True(compiler.ExitCode == 0, told);
        }

        return library;
    }
}
