using System.Globalization;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// The providers a session can run on. That a library was built with a provider says nothing about this machine, so appending it is
/// the test: the append loads drivers and finds the device, or says why not.
/// </summary>
internal static unsafe class ExecutionProviders
{
    public const string Cuda = "cuda";
    public const string WebGpu = "webgpu";
    public const string Cpu = "cpu";

    public static IReadOnlyList<string> Known { get; } = [Cuda, WebGpu, Cpu];

    /// <summary>Makes native session options that run on <paramref name="provider"/>.</summary>
    /// <exception cref="OnnxRuntimeException">The provider cannot be loaded here; the message is the reason.</exception>
    public static OrtHandle CreateOptions(SessionOptions options, string provider)
    {
        nint native;
        OrtApi.Check(OrtApi.CreateSessionOptions(&native));
        var handle = new OrtHandle(native, OrtApi.ReleaseSessionOptions);
        try
        {
            OrtApi.Check(OrtApi.SetGraphOptimizationLevel(native, (int)options.Optimization));
            OrtApi.Check(OrtApi.SetIntraOpNumThreads(native, options.IntraOpThreads));
            AddConfig(native, "session.intra_op.allow_spinning\0"u8, options.AllowSpinning ? "1\0"u8 : "0\0"u8);
            Append(native, provider, options);
            return handle;
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>The device that <paramref name="provider"/> runs on, in the words of its driver.</summary>
    public static string DeviceName(string provider, int deviceId) =>
        provider switch
        {
            Cuda => Devices.CudaName(deviceId),
            WebGpu => Devices.VulkanName(),
            _ => Devices.CpuName(),
        };

    private static void Append(nint options, string provider, SessionOptions settings)
    {
        switch (provider)
        {
            case Cuda:
                AppendCuda(options, settings);
                break;
            case WebGpu:
                AppendWebGpu(options, settings);
                break;
            default: // The CPU is always there and comes last by itself.
                break;
        }
    }

    private static void AppendCuda(nint options, SessionOptions settings)
    {
        nint native;
        OrtApi.Check(OrtApi.CreateCudaOptions(&native));
        using var cuda = new OrtHandle(native, OrtApi.ReleaseCudaOptions);

        fixed (
            byte* deviceKey = "device_id\0"u8,
                limitKey = "gpu_mem_limit\0"u8
        )
        fixed (
            byte* device = Number(settings.DeviceId),
                limit = Number(settings.GpuMemoryLimitBytes ?? 0)
        )
        {
            var keys = stackalloc nint[] { (nint)deviceKey, (nint)limitKey };
            var values = stackalloc nint[] { (nint)device, (nint)limit };
            OrtApi.Check(OrtApi.UpdateCudaOptions(native, keys, values, settings.GpuMemoryLimitBytes is null ? 1u : 2u));
        }
        OrtApi.Check(OrtApi.AppendCuda(options, native));
    }

    private static void AppendWebGpu(nint options, SessionOptions settings)
    {
        // Asked without a Vulkan driver the provider fails as it should, but prints a warning that no log level silences.
        if ((Devices.Vulkan.Reason ?? TooSlow(settings)) is { } reason)
            throw new OnnxRuntimeException(OrtErrorCode.ExecutionProviderFail, reason);
        // Else the device, and with it every compiled shader, goes with its last session: an eviction would cost the next model a second.
        AddConfig(options, "ep.webgpuexecutionprovider.preserveDevice\0"u8, "1\0"u8);
        fixed (byte* name = "WebGPU\0"u8)
            OrtApi.Check(OrtApi.AppendExecutionProvider(options, name, null, null, 0));
    }

    /// <summary>A GPU played by the CPU computes the same, many times slower than the CPU's own provider.</summary>
    private static string? TooSlow(SessionOptions settings) =>
        settings.Providers.Contains(Cpu) && Devices.Vulkan.All.All(device => device.IsSoftware)
            ? $"{Devices.VulkanName()} is a software device, slower than {Cpu}. List {WebGpu} without {Cpu} to run on it all the same."
            : null;

    private static void AddConfig(nint options, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        fixed (
            byte* k = key,
                v = value
        )
            OrtApi.Check(OrtApi.AddSessionConfigEntry(options, k, v));
    }

    private static byte[] Number(long value) => OrtApi.Utf8(value.ToString(CultureInfo.InvariantCulture));
}
