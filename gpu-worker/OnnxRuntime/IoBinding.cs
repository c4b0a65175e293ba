namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// Where a run takes its inputs and leaves its outputs. What is bound stays bound, and its memory stays alive, until the name is bound
/// anew, cleared, or the binding disposed: so a binding over pooled buffers is set up once, and each run reads what the buffers then
/// hold. Any number of bindings may run on one session at the same time, but each of them is for one thread at a time.
/// </summary>
internal sealed unsafe class IoBinding : IDisposable
{
    private readonly OrtHandle _handle;
    private readonly GraphNames _inputNames;
    private readonly GraphNames _outputNames;
    private readonly DeviceGate _gate;
    private readonly bool _inputsAreCopied;
    private readonly Dictionary<string, OrtHandle> _inputs = [];

    /// <summary>In the order of binding, which the library keeps too; null where it allocates.</summary>
    private readonly OrderedDictionary<string, OrtHandle?> _outputs = [];

    internal IoBinding(OrtHandle session, GraphNames inputNames, GraphNames outputNames, DeviceGate gate, bool inputsAreCopied)
    {
        using var lease = session.Borrow();
        nint binding;
        OrtApi.Check(OrtApi.CreateIoBinding(lease.Value, &binding));
        _handle = new OrtHandle(binding, OrtApi.ReleaseIoBinding, session, gate);
        _inputNames = inputNames;
        _outputNames = outputNames;
        _gate = gate;
        _inputsAreCopied = inputsAreCopied;
    }

    /// <summary>The names of the bound outputs, in the order of binding.</summary>
    public IReadOnlyList<string> OutputNames => _outputs.Keys;

    /// <summary>Feeds an input from a value.</summary>
    /// <exception cref="OnnxRuntimeException">The model has no such input.</exception>
    public void BindInput(string name, OrtValue value)
    {
        Attach(OrtApi.BindInput, _inputNames.Pointer(name), value.Handle);
        Release(_inputs.GetValueOrDefault(name));
        _inputs[name] = Keep(value.Handle);
    }

    /// <summary>Leaves an output in a value made beforehand; its shape must be the one that comes out.</summary>
    /// <exception cref="OnnxRuntimeException">The model has no such output.</exception>
    public void BindOutput(string name, OrtValue value)
    {
        Attach(OrtApi.BindOutput, _outputNames.Pointer(name), value.Handle);
        Release(_outputs.GetValueOrDefault(name));
        _outputs[name] = Keep(value.Handle);
    }

    /// <summary>Leaves an output in ordinary memory that each run allocates anew, as large as it needs.</summary>
    /// <exception cref="OnnxRuntimeException">The model has no such output.</exception>
    public void BindOutputToCpu(string name)
    {
        AttachToCpu(name);
        Release(_outputs.GetValueOrDefault(name));
        _outputs[name] = null;
    }

    /// <summary>The outputs of the last run, in the order of <see cref="OutputNames"/>; the caller disposes them.</summary>
    public OrtValue[] Outputs()
    {
        using var binding = _handle.Borrow();
        nint values;
        nuint count;
        OrtApi.Check(OrtApi.GetBoundOutputValues(binding.Value, OrtApi.DefaultAllocator, &values, &count));
        if (values == 0)
            return [];
        var outputs = new OrtValue[count];
        for (var i = 0; i < outputs.Length; i++)
            outputs[i] = OrtValue.Own(((nint*)values)[i], memory: _outputs.GetAt(i).Value);
        OrtApi.Check(OrtApi.AllocatorFree(OrtApi.DefaultAllocator, (void*)values));
        return outputs;
    }

    /// <summary>Unbinds everything.</summary>
    public void Clear()
    {
        using var binding = _handle.Borrow();
        using var passage = _gate.Enter();
        OrtApi.ClearBoundInputs(binding.Value);
        OrtApi.ClearBoundOutputs(binding.Value);
        ReleaseAll();
    }

    public void Dispose()
    {
        _handle.Dispose();
        ReleaseAll();
    }

    internal void Run(nint session, RunOptions? options)
    {
        using var binding = _handle.Borrow();
        using var run = OrtHandle.BorrowOrNull(options?.Handle);
        using var passage = _gate.Enter();
        Refresh();
        OrtApi.Check(OrtApi.RunWithBinding(session, run.Value, binding.Value));
        OrtApi.Check(OrtApi.SynchronizeBoundOutputs(binding.Value));
    }

    /// <summary>
    /// Makes the binding mean now what it meant when it was made. The library copies an input to another device when it is bound, not
    /// when it runs; and it takes an output that the last run allocated for one to be filled again, whatever shape comes out now.
    /// </summary>
    private void Refresh()
    {
        if (_inputsAreCopied)
            foreach (var (name, value) in _inputs)
                Attach(OrtApi.BindInput, _inputNames.Pointer(name), value);
        foreach (var (name, value) in _outputs)
            if (value is null)
                AttachToCpu(name);
    }

    private void Attach(delegate* unmanaged[Cdecl]<nint, byte*, nint, nint> bind, nint name, OrtHandle handle)
    {
        using var binding = _handle.Borrow();
        using var value = handle.Borrow();
        using var passage = _gate.Enter();
        OrtApi.Check(bind(binding.Value, (byte*)name, value.Value));
    }

    private void AttachToCpu(string name)
    {
        using var cpu = CpuMemory.Describe();
        Attach(OrtApi.BindOutputToDevice, _outputNames.Pointer(name), cpu);
    }

    private static OrtHandle Keep(OrtHandle value)
    {
        var added = false;
        value.DangerousAddRef(ref added);
        return value;
    }

    private static void Release(OrtHandle? value) => value?.DangerousRelease();

    private void ReleaseAll()
    {
        foreach (var input in _inputs.Values)
            Release(input);
        foreach (var output in _outputs.Values)
            Release(output);
        _inputs.Clear();
        _outputs.Clear();
    }
}
