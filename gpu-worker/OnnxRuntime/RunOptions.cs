namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>A way to stop runs: whatever runs with these options ends between two operators once <see cref="Terminate"/> is called.</summary>
internal sealed unsafe class RunOptions : IDisposable
{
    private readonly OrtHandle _handle;

    public RunOptions()
    {
        nint options;
        OrtApi.Check(OrtApi.CreateRunOptions(&options));
        _handle = new OrtHandle(options, OrtApi.ReleaseRunOptions);
    }

    internal OrtHandle Handle => _handle;

    /// <summary>Ends running and later runs with these options; they throw with <see cref="OrtErrorCode.Fail"/>. Any thread may call it.</summary>
    public void Terminate()
    {
        using var options = _handle.Borrow();
        OrtApi.Check(OrtApi.RunOptionsSetTerminate(options.Value));
    }

    /// <summary>Makes the options usable again after <see cref="Terminate"/>.</summary>
    public void Reset()
    {
        using var options = _handle.Borrow();
        OrtApi.Check(OrtApi.RunOptionsUnsetTerminate(options.Value));
    }

    public void Dispose() => _handle.Dispose();
}
