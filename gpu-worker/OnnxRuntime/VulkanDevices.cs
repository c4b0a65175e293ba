using System.Runtime.InteropServices;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// The devices WebGPU can run on. The Vulkan loader comes from the environment variable <c>VULKAN_LIBRARY</c>, else from the system;
/// which drivers it offers is its own business (<c>VK_DRIVER_FILES</c>). Once opened here it is also the one that WebGPU finds.
/// </summary>
/// <param name="Names">The drivers' names of the devices.</param>
/// <param name="Reason">Why there are none; null when there are.</param>
internal sealed unsafe record VulkanDevices(IReadOnlyList<string> Names, string? Reason)
{
    private const int InstanceCreateInfo = 1;
    private const int IncompatibleDriver = -9;
    private const uint DevicesMax = 16;

    /// <summary>VkPhysicalDeviceProperties: five 32-bit numbers, then the name, then limits; 824 bytes in all.</summary>
    private const int PropertiesBytes = 1024;
    private const int NameOffset = 20;

    public static VulkanDevices Find()
    {
        var file = Environment.GetEnvironmentVariable("VULKAN_LIBRARY") ?? "libvulkan.so.1";
        return NativeLibrary.TryLoad(file, out var vulkan) ? Find(vulkan) : None($"The Vulkan loader ({file}) is not installed.");
    }

    private static VulkanDevices Find(nint vulkan)
    {
        var create = (delegate* unmanaged[Cdecl]<ulong*, void*, nint*, int>)NativeLibrary.GetExport(vulkan, "vkCreateInstance");
        var destroy = (delegate* unmanaged[Cdecl]<nint, void*, void>)NativeLibrary.GetExport(vulkan, "vkDestroyInstance");

        // VkInstanceCreateInfo, eight 64-bit fields: its type, and nothing asked for.
        var request = stackalloc ulong[8];
        new Span<ulong>(request, 8).Clear();
        request[0] = InstanceCreateInfo;
        nint instance;
        var result = create(request, null, &instance);
        if (result != 0)
            return None(result == IncompatibleDriver ? "Vulkan has no driver here." : $"Vulkan does not start: error {result}.");

        var names = DeviceNames(vulkan, instance);
        destroy(instance, null);
        return names.Count > 0 ? new VulkanDevices(names, null) : None("Vulkan finds no device.");
    }

    private static List<string> DeviceNames(nint vulkan, nint instance)
    {
        var enumerate = (delegate* unmanaged[Cdecl]<nint, uint*, nint*, int>)NativeLibrary.GetExport(vulkan, "vkEnumeratePhysicalDevices");
        var describe = (delegate* unmanaged[Cdecl]<nint, byte*, void>)NativeLibrary.GetExport(vulkan, "vkGetPhysicalDeviceProperties");

        var count = DevicesMax;
        var devices = stackalloc nint[(int)DevicesMax];
        if (enumerate(instance, &count, devices) < 0)
            return [];
        var names = new List<string>();
        var properties = stackalloc byte[PropertiesBytes];
        for (var i = 0; i < count; i++)
        {
            describe(devices[i], properties);
            names.Add(Marshal.PtrToStringUTF8((nint)(properties + NameOffset)) ?? "");
        }
        return names;
    }

    private static VulkanDevices None(string reason) => new([], reason);
}
