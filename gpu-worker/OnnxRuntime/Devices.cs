using System.Runtime.InteropServices;
using System.Text;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>The names of this machine's devices. ONNX Runtime does not tell what it runs on, so the drivers are asked.</summary>
internal static unsafe class Devices
{
    private static readonly Lazy<VulkanDevices> LazyVulkan = new(VulkanDevices.Find);

    /// <summary>What Vulkan sees; asked once, as the answer takes the loading of every driver.</summary>
    public static VulkanDevices Vulkan => LazyVulkan.Value;

    /// <summary>The Vulkan device, or all of them: which of several was taken, WebGPU keeps to itself.</summary>
    public static string VulkanName() => string.Join(" or ", Vulkan.All.Select(device => device.Name).Distinct());

    public static string CudaName(int deviceId)
    {
        var unknown = $"CUDA device {deviceId}";
        if (!NativeLibrary.TryLoad("libcuda.so.1", out var cuda))
            return unknown;
        var initialize = (delegate* unmanaged[Cdecl]<uint, int>)NativeLibrary.GetExport(cuda, "cuInit");
        var getDevice = (delegate* unmanaged[Cdecl]<int*, int, int>)NativeLibrary.GetExport(cuda, "cuDeviceGet");
        var getName = (delegate* unmanaged[Cdecl]<byte*, int, int, int>)NativeLibrary.GetExport(cuda, "cuDeviceGetName");

        int device;
        var name = stackalloc byte[256];
        var found = initialize(0) == 0 && getDevice(&device, deviceId) == 0 && getName(name, 256, device) == 0;
        return found ? Marshal.PtrToStringUTF8((nint)name) ?? unknown : unknown;
    }

    public static string CpuName()
    {
        const string cpuInfo = "/proc/cpuinfo";
        var model = File.Exists(cpuInfo)
            ? File.ReadLines(cpuInfo).FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))
            : null;
        return model?[(model.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim() ?? $"{RuntimeInformation.ProcessArchitecture} CPU";
    }
}
