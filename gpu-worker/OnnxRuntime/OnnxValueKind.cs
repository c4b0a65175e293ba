namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>What an input, an output or a value is; the numbers are ONNX Runtime's (<c>ONNXType</c>).</summary>
internal enum OnnxValueKind
{
    Unknown = 0,
    Tensor = 1,
    Sequence = 2,
    Map = 3,
    Opaque = 4,
    SparseTensor = 5,
    Optional = 6,
}
