using Pipeline.Contracts;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// A model, loaded and ready to run. Any number of threads may run it at the same time; disposing it waits for none of them, the native
/// session simply lives until the last run has ended.
/// </summary>
internal sealed unsafe class InferenceSession : IDisposable
{
    private readonly OrtHandle _handle;
    private readonly DeviceGate _gate;
    private readonly GraphNames _inputNames;
    private readonly GraphNames _outputNames;

    private InferenceSession(SessionLoader.Loaded loaded, SessionOptions options)
    {
        _handle = loaded.Session;
        using var session = _handle.Borrow();
        Inputs = SessionGraph.Inputs(session.Value);
        Outputs = SessionGraph.Outputs(session.Value);
        Metadata = SessionGraph.Metadata(session.Value);
        ProviderAttempts = loaded.Attempts;
        Provider = loaded.Attempts[^1].Provider;
        _gate = DeviceGate.Of(Provider);
        DeviceName = ExecutionProviders.DeviceName(Provider, options.DeviceId);
        _inputNames = new GraphNames("input", Inputs);
        _outputNames = new GraphNames("output", Outputs);
    }

    /// <summary>Loads a model file, and what lies beside it as external data.</summary>
    /// <exception cref="OnnxRuntimeException">The file or the model is at fault, or no provider of the list works here.</exception>
    /// <exception cref="ArgumentException">An option is out of its range.</exception>
    public static InferenceSession Load(string path, SessionOptions options)
    {
        nint Create(nint environment, nint native)
        {
            nint session;
            fixed (byte* file = OrtApi.Utf8(path))
                OrtApi.Check(OrtApi.CreateSession(environment, file, native, &session));
            return session;
        }
        return Open(SessionLoader.Load(options, Create), options);
    }

    /// <summary>Loads a model from memory, which may go afterwards.</summary>
    /// <inheritdoc cref="Load(string, SessionOptions)" path="/exception"/>
    public static InferenceSession Load(ReadOnlyMemory<byte> model, SessionOptions options)
    {
        nint Create(nint environment, nint native)
        {
            nint session;
            fixed (byte* bytes = model.Span)
                OrtApi.Check(OrtApi.CreateSessionFromArray(environment, bytes, (nuint)model.Length, native, &session));
            return session;
        }
        return Open(SessionLoader.Load(options, Create), options);
    }

    /// <summary>What the model takes, in the graph's order.</summary>
    public IReadOnlyList<TensorInfo> Inputs { get; }

    /// <summary>What the model gives, in the graph's order.</summary>
    public IReadOnlyList<TensorInfo> Outputs { get; }

    /// <summary>What the model's maker noted in the file.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>The provider that really loaded: <c>cuda</c>, <c>webgpu</c> or <c>cpu</c>.</summary>
    public string Provider { get; }

    /// <summary>The device's name, as its driver gives it.</summary>
    public string DeviceName { get; }

    /// <summary>Every provider tried, in order; the last one loaded.</summary>
    public IReadOnlyList<ProviderAttempt> ProviderAttempts { get; }

    /// <summary>Runs the model once; the outputs come in the order of their names and are the caller's to dispose.</summary>
    /// <exception cref="OnnxRuntimeException">A name, type or shape is wrong, an operator failed, or the run was terminated.</exception>
    public OrtValue[] Run(
        ReadOnlySpan<string> inputNames,
        ReadOnlySpan<OrtValue> inputs,
        ReadOnlySpan<string> outputNames,
        RunOptions? options = null
    )
    {
        if (inputNames.Length != inputs.Length)
            throw new ArgumentException($"Expected a value for each of {inputNames.Length} input names, given {inputs.Length}.");
        using var session = _handle.Borrow();
        using var run = OrtHandle.BorrowOrNull(options?.Handle);
        using var values = new BorrowedValues(inputs);
        var names = new nint[inputNames.Length + outputNames.Length];
        for (var i = 0; i < inputNames.Length; i++)
            names[i] = _inputNames.Pointer(inputNames[i]);
        for (var i = 0; i < outputNames.Length; i++)
            names[inputNames.Length + i] = _outputNames.Pointer(outputNames[i]);

        var results = new nint[outputNames.Length];
        fixed (
            nint* name = names,
                input = values.Pointers,
                output = results
        )
        {
            var inputCount = (nuint)inputs.Length;
            var outputCount = (nuint)outputNames.Length;
            using var passage = _gate.Enter();
            OrtApi.Check(OrtApi.Run(session.Value, run.Value, name, input, inputCount, name + inputCount, outputCount, output));
        }
        GC.KeepAlive(this);
        return Array.ConvertAll(results, value => OrtValue.Own(value));
    }

    /// <summary>Inputs and outputs bound to memory for many runs; one at a time per binding, any number of bindings.</summary>
    public IoBinding CreateBinding() => new(_handle, _inputNames, _outputNames, _gate, inputsAreCopied: Provider != ExecutionProviders.Cpu);

    /// <summary>Runs the model on what is bound, without copying on the host; bound outputs are filled when it returns.</summary>
    /// <exception cref="OnnxRuntimeException">A type or shape is wrong, an operator failed, or the run was terminated.</exception>
    public void Run(IoBinding binding, RunOptions? options = null)
    {
        using var session = _handle.Borrow();
        binding.Run(session.Value, options);
    }

    public void Dispose() => _handle.Dispose();

    private static InferenceSession Open(SessionLoader.Loaded loaded, SessionOptions options)
    {
        try
        {
            return new InferenceSession(loaded, options);
        }
        catch
        {
            loaded.Session.Dispose();
            throw;
        }
    }
}
