namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>Whatever goes wrong inside ONNX Runtime or on the way to it: the code says the kind, the message is the library's.</summary>
internal sealed class OnnxRuntimeException : Exception
{
    public OnnxRuntimeException(OrtErrorCode code, string message)
        : base(message) => Code = code;

    public OnnxRuntimeException(OrtErrorCode code, string message, Exception cause)
        : base(message, cause) => Code = code;

    /// <summary>The kind of failure, as the library numbers it.</summary>
    public OrtErrorCode Code { get; }
}
