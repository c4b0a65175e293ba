using System.Runtime.InteropServices;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>A piece of native memory, freed when its pool drops it.</summary>
internal sealed unsafe class NativeBlock : SafeHandle
{
    /// <summary>A cache line, and the widest vector.</summary>
    private const int Alignment = 64;

    public NativeBlock(long length)
        : base(0, ownsHandle: true)
    {
        SetHandle((nint)NativeMemory.AlignedAlloc((nuint)length, Alignment));
        Length = length;
    }

    public long Length { get; }

    public nint Pointer => handle;

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        NativeMemory.AlignedFree((void*)handle);
        return true;
    }
}
