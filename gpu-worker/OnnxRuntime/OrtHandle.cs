using System.Runtime.InteropServices;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// One native object, released exactly once: on Dispose, or by the finaliser when somebody forgot. It keeps its owner (a binding's
/// session, the memory under a tensor) alive until then, and a call in flight keeps it alive itself.
/// </summary>
internal sealed unsafe class OrtHandle : SafeHandle
{
    private readonly delegate* unmanaged[Cdecl]<nint, void> _release;
    private readonly SafeHandle? _owner;
    private readonly DeviceGate _gate;

    /// <param name="owner">What must outlive the object.</param>
    /// <param name="gate">Entered to release it, when that reaches a device.</param>
    public OrtHandle(nint value, delegate* unmanaged[Cdecl]<nint, void> release, SafeHandle? owner = null, DeviceGate? gate = null)
        : base(0, ownsHandle: true)
    {
        _release = release;
        _gate = gate ?? DeviceGate.Free;
        SetHandle(value);
        var owned = false;
        owner?.DangerousAddRef(ref owned);
        _owner = owner;
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>The pointer, safe to use until the lease is disposed even if the handle is disposed meanwhile.</summary>
    /// <exception cref="ObjectDisposedException">The object is gone.</exception>
    public Lease Borrow() => new(this);

    /// <summary>As <see cref="Borrow"/>; where there is no handle, the lease is of a null pointer.</summary>
    public static Lease BorrowOrNull(OrtHandle? handle) => handle is null ? default : handle.Borrow();

    protected override bool ReleaseHandle()
    {
        using (_gate.Enter())
            _release(handle);
        _owner?.DangerousRelease();
        return true;
    }

    internal readonly ref struct Lease : IDisposable
    {
        private readonly OrtHandle? _handle;

        public Lease(OrtHandle handle)
        {
            var added = false;
            handle.DangerousAddRef(ref added);
            _handle = handle;
        }

        public nint Value => _handle?.handle ?? 0;

        public void Dispose() => _handle?.DangerousRelease();
    }
}
