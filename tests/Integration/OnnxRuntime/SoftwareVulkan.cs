using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Pipeline.Tests.Integration.OnnxRuntime;

/// <summary>
/// Gives this process the software Vulkan driver that Debian's chromium package carries, so that the WebGPU provider is tested without a
/// GPU. It happens before any test, because drivers are looked up once. A driver that somebody chose stays.
/// </summary>
internal static partial class SoftwareVulkan
{
    private const string Driver = "/usr/lib/chromium/vk_swiftshader_icd.json";
    private const string Loader = "/usr/lib/chromium/libvulkan.so.1";

    [ModuleInitializer]
    [SuppressMessage("Usage", "CA2255", Justification = "A test assembly is loaded by one program, its runner.")]
    internal static void Offer()
    {
        if (!File.Exists(Driver) || Environment.GetEnvironmentVariable("VK_DRIVER_FILES") is not null)
            return;
        // The driver is native and reads the native environment, which Environment.SetEnvironmentVariable does not touch.
        _ = SetEnvironment("VK_DRIVER_FILES", Driver, overwrite: 1);
        if (File.Exists(Loader) && !NativeLibrary.TryLoad("libvulkan.so.1", out _))
            Environment.SetEnvironmentVariable("VULKAN_LIBRARY", Loader);
    }

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetEnvironment(string name, string value, int overwrite);
}
