using Pipeline.Contracts;
using Pipeline.GpuWorker.Models.Manifests;
using Pipeline.GpuWorker.Models.Packing;
using Pipeline.GpuWorker.Models.Results;
using Pipeline.GpuWorker.Models.Tokenizers;
using Pipeline.GpuWorker.OnnxRuntime;
using SessionOptions = Pipeline.GpuWorker.OnnxRuntime.SessionOptions;

namespace Pipeline.GpuWorker.Models;

/// <summary>A model version in ONNX Runtime: inputs are stacked by the manifest, run in one call, and taken apart again.</summary>
internal sealed class OnnxModel : IModel
{
    private readonly InferenceSession _session;
    private readonly TensorBufferPool _pool;
    private readonly IBatchInputs _inputs;
    private readonly OutputPlan[] _outputs;
    private readonly string[] _outputNames;
    private readonly IResultMaker _result;

    private OnnxModel(ModelFolder folder, ModelManifest manifest, InferenceSession session, TensorBufferPool pool, long memoryBytes)
    {
        _session = session;
        _pool = pool;
        Manifest = manifest;
        MemoryBytes = memoryBytes;
        FixedRows = ManifestCheck.FixedRows(manifest);
        _inputs =
            manifest.Kind == ModelKind.Text
                ? TextInputs.Create(manifest, TextTokenizers.Create(manifest.Tokenizer!, folder.Vocabulary))
                : TensorInputs.Create(manifest);
        _outputNames = [.. ResultMakers.OutputsOf(manifest)];
        _outputs = Array.ConvertAll(_outputNames, name => OutputPlan.Create(name, manifest.Outputs[name], _inputs.PaddedSymbols));
        _result = ResultMakers.Create(manifest.Result, folder.Labels);
    }

    /// <summary>Reads, checks and loads the model in a folder.</summary>
    /// <param name="directory">Holds <c>model.json</c> and what it names.</param>
    /// <param name="options">Where it runs.</param>
    /// <param name="pool">Memory for batches; lives longer than the model.</param>
    /// <exception cref="InvalidModelException">The files, the manifest or the graph are at fault.</exception>
    /// <exception cref="OnnxRuntimeException">The device is at fault.</exception>
    public static OnnxModel Load(string directory, SessionOptions options, TensorBufferPool pool)
    {
        var folder = ModelFolder.Read(directory);
        var before = Environment.WorkingSet;
        var session = LoadSession(folder, options);
        try
        {
            var manifest = ManifestCheck.Complete(folder, session.Inputs, session.Outputs);
            // What other threads take meanwhile is counted too, and what they free taken off; the file is the least it can be.
            var memory = Math.Max(new FileInfo(folder.ModelPath).Length, Environment.WorkingSet - before);
            return new OnnxModel(folder, manifest, session, pool, memory);
        }
        catch
        {
            session.Dispose();
            throw;
        }
    }

    public ModelManifest Manifest { get; }

    public string Provider => _session.Provider;

    public string Device => _session.DeviceName;

    public long MemoryBytes { get; }

    public int FixedRows { get; }

    public PreparedTask Prepare(ReadOnlyMemory<byte> input) =>
        input.Length <= Manifest.Limits.InputBytesMax
            ? _inputs.Prepare(input)
            : throw new TaskInputException($"Expected at most {Manifest.Limits.InputBytesMax} bytes, given {input.Length}.");

    public IPackedBatch Pack(ReadOnlySpan<PreparedTask> tasks)
    {
        ArgumentOutOfRangeException.ThrowIfZero(tasks.Length);
        if (FixedRows > 0)
            ArgumentOutOfRangeException.ThrowIfGreaterThan(tasks.Length, FixedRows, nameof(tasks));
        var units = 0L;
        foreach (var task in tasks)
            units += task.Units;
        var deviceRows = FixedRows > 0 ? FixedRows : tasks.Length;
        return new PackedBatch(_inputs.Pack(tasks, deviceRows, _pool), tasks.Length, deviceRows, units);
    }

    public IRanBatch Run(IPackedBatch batch, CancellationToken stop) => new RanBatch(RunRaw(batch, stop), _result);

    public void Dispose() => _session.Dispose();

    /// <summary>Runs a batch and gives the graph's outputs as they are.</summary>
    internal BatchOutputs RunRaw(IPackedBatch batch, CancellationToken stop)
    {
        using var packed = (PackedBatch)batch;
        stop.ThrowIfCancellationRequested();
        var values = RunSession(packed.Tensors, stop);
        try
        {
            return new BatchOutputs(_outputs, values, packed.Rows, packed.DeviceRows, packed.Tensors.Sizes);
        }
        catch
        {
            foreach (var value in values)
                value.Dispose();
            throw;
        }
    }

    private OrtValue[] RunSession(BatchTensors tensors, CancellationToken stop)
    {
        if (!stop.CanBeCanceled)
            return _session.Run(_inputs.Names, tensors.Values, _outputNames);
        using var options = new RunOptions();
        using var registration = stop.UnsafeRegister(static state => ((RunOptions)state!).Terminate(), options);
        try
        {
            return _session.Run(_inputs.Names, tensors.Values, _outputNames, options);
        }
        catch (OnnxRuntimeException failure) when (stop.IsCancellationRequested)
        {
            throw new OperationCanceledException("The run was terminated.", failure, stop);
        }
    }

    private static InferenceSession LoadSession(ModelFolder folder, SessionOptions options)
    {
        try
        {
            return InferenceSession.Load(folder.ModelPath, options);
        }
        catch (OnnxRuntimeException failure) when (failure.Code != OrtErrorCode.ExecutionProviderFail)
        {
            var expected = failure.Code switch
            {
                OrtErrorCode.InvalidProtobuf or OrtErrorCode.NoModel => "an ONNX file",
                OrtErrorCode.NotImplemented => "operators that this ONNX Runtime has",
                _ => "a graph that ONNX Runtime accepts",
            };
            throw new InvalidModelException(new ModelMistake(folder.Manifest.File, "", expected, failure.Message), failure);
        }
    }

    private sealed class PackedBatch(BatchTensors tensors, int rows, int deviceRows, long units) : IPackedBatch
    {
        public BatchTensors Tensors => tensors;

        public int Rows => rows;

        public int DeviceRows => deviceRows;

        public long Units => units;

        public long PaddedUnits => deviceRows * tensors.RowUnits;

        public void Dispose() => tensors.Dispose();
    }

    private sealed class RanBatch(BatchOutputs outputs, IResultMaker result) : IRanBatch
    {
        public TaskOutput Result(int row) => result.Make(outputs, row);

        public void Dispose() => outputs.Dispose();
    }
}
