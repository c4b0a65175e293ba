using System.Runtime.InteropServices;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// The devices WebGPU can run on. The Vulkan loader comes from the environment variable <c>VULKAN_LIBRARY</c>, else from the system;
/// which drivers it offers is its own business (<c>VK_DRIVER_FILES</c>). Once opened here it is also the one that WebGPU finds.
/// </summary>
/// <param name="All">The devices in the loader's order.</param>
/// <param name="Reason">Why there are none; null when there are.</param>
internal sealed unsafe record VulkanDevices(IReadOnlyList<VulkanDevice> All, string? Reason)
{
    private const int InstanceCreateInfo = 1;
    private const int IncompatibleDriver = -9;
    private const uint DevicesMax = 16;

    /// <summary>VkPhysicalDeviceProperties: five 32-bit numbers, then the name, then limits; 824 bytes in all.</summary>
    private const int PropertiesBytes = 1024;
    private const int TypeOffset = 16;
    private const int NameOffset = 20;
    private const int SoftwareType = 4;

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

        var devices = Enumerate(vulkan, instance);
        destroy(instance, null);
        return devices.Count > 0 ? new VulkanDevices(devices, null) : None("Vulkan finds no device.");
    }

    private static List<VulkanDevice> Enumerate(nint vulkan, nint instance)
    {
        var enumerate = (delegate* unmanaged[Cdecl]<nint, uint*, nint*, int>)NativeLibrary.GetExport(vulkan, "vkEnumeratePhysicalDevices");
        var describe = (delegate* unmanaged[Cdecl]<nint, byte*, void>)NativeLibrary.GetExport(vulkan, "vkGetPhysicalDeviceProperties");

        var count = DevicesMax;
        var pointers = stackalloc nint[(int)DevicesMax];
        if (enumerate(instance, &count, pointers) < 0)
            return [];
        var devices = new List<VulkanDevice>();
        var properties = stackalloc byte[PropertiesBytes];
        for (var i = 0; i < count; i++)
        {
            describe(pointers[i], properties);
            var name = Marshal.PtrToStringUTF8((nint)(properties + NameOffset)) ?? "";
            devices.Add(new VulkanDevice(name, IsSoftware: *(int*)(properties + TypeOffset) == SoftwareType));
        }
        return devices;
    }

    private static VulkanDevices None(string reason) => new([], reason);
}

/// <param name="Name">As the driver gives it.</param>
/// <param name="IsSoftware">Whether it is a program on the CPU that plays a GPU.</param>
internal sealed record VulkanDevice(string Name, bool IsSoftware);
