using System.Runtime.InteropServices;
using System.Text;

namespace Pipeline.GpuWorker.Nvml;

/// <summary>What a device's driver says of it now; null for what it does not tell.</summary>
/// <param name="Index">Its number on this machine.</param>
/// <param name="Utilization">Share of the last moment in which something ran, of 1.</param>
/// <param name="MemoryUsed">Bytes, of whomever; <paramref name="MemoryTotal"/> in all.</param>
internal readonly record struct DeviceReading(
    int Index,
    string Name,
    double? Utilization,
    long? MemoryUsed,
    long? MemoryTotal,
    double? Watts,
    double? Celsius
);

/// <summary>
/// NVIDIA's management library, as far as it is needed here, where the driver has put it. It is looked for when the worker runs: there is no
/// build for machines that have it. Its calls may be made from any thread.
/// </summary>
internal sealed unsafe class NvmlLibrary : IDisposable
{
    private const int Ok = 0;
    private const int NameBytesMax = 96;
    private const int TemperatureOfGpu = 0;

    private readonly nint _library;
    private readonly List<(nint Handle, string Name)> _devices = [];

    private NvmlLibrary(nint library) => _library = library;

    /// <summary>Devices the driver sees.</summary>
    public int Count => _devices.Count;

    /// <summary>The library with its devices; null where it is not there, or sees none.</summary>
    /// <param name="why">Then, why not.</param>
    public static NvmlLibrary? TryLoad(out string why)
    {
        string[] names = OperatingSystem.IsWindows() ? ["nvml.dll"] : ["libnvidia-ml.so.1", "libnvidia-ml.so"];
        foreach (var name in names)
        {
            if (NativeLibrary.TryLoad(name, out var library))
            {
                var nvml = new NvmlLibrary(library);
                why = nvml.Open();
                if (why.Length == 0)
                {
                    return nvml;
                }

                nvml.Dispose();
                return null;
            }
        }

        why = $"there is no {names[0]}: no NVIDIA driver";
        return null;
    }

    public List<DeviceReading> Read()
    {
        var readings = new List<DeviceReading>(_devices.Count);
        for (var i = 0; i < _devices.Count; i++)
        {
            var (device, name) = _devices[i];
            Utilization utilization;
            Memory memory;
            uint milliwatts;
            uint celsius;
            var hasUtilization = ((delegate* unmanaged<nint, Utilization*, int>)Function("nvmlDeviceGetUtilizationRates"))(
                device,
                &utilization
            );
            var hasMemory = ((delegate* unmanaged<nint, Memory*, int>)Function("nvmlDeviceGetMemoryInfo"))(device, &memory);
            var hasPower = ((delegate* unmanaged<nint, uint*, int>)Function("nvmlDeviceGetPowerUsage"))(device, &milliwatts);
            var hasTemperature = ((delegate* unmanaged<nint, int, uint*, int>)Function("nvmlDeviceGetTemperature"))(
                device,
                TemperatureOfGpu,
                &celsius
            );
            readings.Add(
                new DeviceReading(
                    i,
                    name,
                    hasUtilization == Ok ? utilization.Gpu / 100.0 : null,
                    hasMemory == Ok ? (long)memory.Used : null,
                    hasMemory == Ok ? (long)memory.Total : null,
                    hasPower == Ok ? milliwatts / 1000.0 : null,
                    hasTemperature == Ok ? celsius : null
                )
            );
        }

        return readings;
    }

    public void Dispose()
    {
        _ = ((delegate* unmanaged<int>)Function("nvmlShutdown"))();
        NativeLibrary.Free(_library);
    }

    /// <summary>Why it cannot be used; empty when it can.</summary>
    private string Open()
    {
        if (((delegate* unmanaged<int>)Function("nvmlInit_v2"))() is not Ok and var error)
        {
            return $"the driver does not answer (NVML error {error})";
        }

        uint count;
        if (((delegate* unmanaged<uint*, int>)Function("nvmlDeviceGetCount_v2"))(&count) != Ok || count == 0)
        {
            return "the driver sees no device";
        }

        var name = stackalloc byte[NameBytesMax];
        for (var i = 0u; i < count; i++)
        {
            nint device;
            if (((delegate* unmanaged<uint, nint*, int>)Function("nvmlDeviceGetHandleByIndex_v2"))(i, &device) == Ok)
            {
                var named = ((delegate* unmanaged<nint, byte*, uint, int>)Function("nvmlDeviceGetName"))(device, name, NameBytesMax) == Ok;
                _devices.Add(
                    (device, named ? Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(name)) : "unknown")
                );
            }
        }

        return _devices.Count > 0 ? "" : "no device of the driver's can be opened";
    }

    private nint Function(string name) => NativeLibrary.GetExport(_library, name);

    [StructLayout(LayoutKind.Sequential)]
    private struct Utilization
    {
        public uint Gpu;
        public uint Memory;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Memory
    {
        public ulong Total;
        public ulong Free;
        public ulong Used;
    }
}
