using System.Runtime.InteropServices;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// One native object, released exactly once: on Dispose, or by the finaliser when somebody forgot. It keeps its owner (a session's
/// environment, a binding's session, the memory under a tensor) alive until then, and a call in flight keeps it alive itself.
/// </summary>
internal sealed unsafe class OrtHandle : SafeHandle
{
    private readonly delegate* unmanaged[Cdecl]<nint, void> _release;
    private readonly SafeHandle? _owner;

    public OrtHandle(nint value, delegate* unmanaged[Cdecl]<nint, void> release, SafeHandle? owner = null)
        : base(0, ownsHandle: true)
    {
        _release = release;
        SetHandle(value);
        var owned = false;
        owner?.DangerousAddRef(ref owned);
        _owner = owner;
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>The pointer, safe to use until the lease is disposed even if the handle is disposed meanwhile.</summary>
    /// <exception cref="ObjectDisposedException">The object is gone.</exception>
    public Lease Borrow() => new(this);

    protected override bool ReleaseHandle()
    {
        _release(handle);
        _owner?.DangerousRelease();
        return true;
    }

    internal readonly ref struct Lease : IDisposable
    {
        private readonly OrtHandle _handle;

        public Lease(OrtHandle handle)
        {
            var added = false;
            handle.DangerousAddRef(ref added);
            _handle = handle;
        }

        public nint Value => _handle.handle;

        public void Dispose() => _handle.DangerousRelease();
    }
}
