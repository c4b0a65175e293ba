namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>The library's word for ordinary memory, said when a tensor lies there or an output shall come there.</summary>
internal static unsafe class CpuMemory
{
    private const int DeviceAllocator = 0;
    private const int DefaultMemory = 0;

    public static OrtHandle Describe()
    {
        nint info;
        OrtApi.Check(OrtApi.CreateCpuMemoryInfo(DeviceAllocator, DefaultMemory, &info));
        return new OrtHandle(info, OrtApi.ReleaseMemoryInfo);
    }
}
