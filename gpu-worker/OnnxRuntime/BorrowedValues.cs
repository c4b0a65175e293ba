namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>The pointers of several values, all kept alive for the length of a call.</summary>
internal readonly ref struct BorrowedValues : IDisposable
{
    private readonly OrtHandle[] _handles;

    public BorrowedValues(ReadOnlySpan<OrtValue> values)
    {
        _handles = new OrtHandle[values.Length];
        Pointers = new nint[values.Length];
        var borrowed = 0;
        try
        {
            for (; borrowed < values.Length; borrowed++)
            {
                var added = false;
                var handle = values[borrowed].Handle;
                handle.DangerousAddRef(ref added);
                _handles[borrowed] = handle;
                Pointers[borrowed] = handle.DangerousGetHandle();
            }
        }
        catch
        {
            Release(borrowed);
            throw;
        }
    }

    public nint[] Pointers { get; }

    public void Dispose() => Release(_handles.Length);

    private void Release(int count)
    {
        for (var i = 0; i < count; i++)
            _handles[i].DangerousRelease();
    }
}
