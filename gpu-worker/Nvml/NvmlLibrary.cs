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

    private static readonly string[] Names = OperatingSystem.IsWindows() ? ["nvml.dll"] : ["libnvidia-ml.so.1", "libnvidia-ml.so"];

    private readonly nint _library;
    private readonly List<(nint Handle, string Name)> _devices = [];
    private readonly delegate* unmanaged<nint, Utilization*, int> _utilization;
    private readonly delegate* unmanaged<nint, Memory*, int> _memory;
    private readonly delegate* unmanaged<nint, uint*, int> _power;
    private readonly delegate* unmanaged<nint, int, uint*, int> _temperature;

    private NvmlLibrary(nint library)
    {
        _library = library;
        _utilization = (delegate* unmanaged<nint, Utilization*, int>)Function("nvmlDeviceGetUtilizationRates");
        _memory = (delegate* unmanaged<nint, Memory*, int>)Function("nvmlDeviceGetMemoryInfo");
        _power = (delegate* unmanaged<nint, uint*, int>)Function("nvmlDeviceGetPowerUsage");
        _temperature = (delegate* unmanaged<nint, int, uint*, int>)Function("nvmlDeviceGetTemperature");
    }

    /// <summary>Devices the driver sees.</summary>
    public int Count => _devices.Count;

    /// <summary>The library with its devices; null where it is not there, or sees none.</summary>
    /// <param name="why">Then, why not.</param>
    public static NvmlLibrary? TryLoad(out string why) => TryLoad(Names, out why);

    /// <param name="names">Names or paths to look for, in this order.</param>
    internal static NvmlLibrary? TryLoad(IReadOnlyList<string> names, out string why)
    {
        why = $"there is no {names[0]}: no NVIDIA driver";
        foreach (var name in names)
        {
            if (NativeLibrary.TryLoad(name, out var library))
            {
                return TryOpen(library, out why);
            }
        }

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
            var hasUtilization = _utilization(device, &utilization) == Ok;
            var hasMemory = _memory(device, &memory) == Ok;
            var hasPower = _power(device, &milliwatts) == Ok;
            var hasTemperature = _temperature(device, TemperatureOfGpu, &celsius) == Ok;
            readings.Add(
                new DeviceReading(
                    i,
                    name,
                    hasUtilization ? utilization.Gpu / 100.0 : null,
                    hasMemory ? (long)memory.Used : null,
                    hasMemory ? (long)memory.Total : null,
                    hasPower ? milliwatts / 1000.0 : null,
                    hasTemperature ? celsius : null
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

    private static NvmlLibrary? TryOpen(nint library, out string why)
    {
        try
        {
            var nvml = new NvmlLibrary(library);
            why = nvml.Open();
            if (why.Length == 0)
            {
                return nvml;
            }

            nvml.Dispose();
        }
        catch (EntryPointNotFoundException e)
        {
            why = $"the driver is of another age: {e.Message}";
        }

        return null;
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

        var open = (delegate* unmanaged<uint, nint*, int>)Function("nvmlDeviceGetHandleByIndex_v2");
        var nameOf = (delegate* unmanaged<nint, byte*, uint, int>)Function("nvmlDeviceGetName");
        var name = stackalloc byte[NameBytesMax];
        for (var i = 0u; i < count; i++)
        {
            nint device;
            if (open(i, &device) == Ok)
            {
                var isNamed = nameOf(device, name, NameBytesMax) == Ok;
                _devices.Add(
                    (device, isNamed ? Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(name)) : "unknown")
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
