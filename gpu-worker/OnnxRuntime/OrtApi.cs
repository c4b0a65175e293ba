using System.Runtime.InteropServices;
using System.Text;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// The functions of ONNX Runtime that this binding calls. The library exports one symbol, <c>OrtGetApiBase</c>; everything else is a
/// table of function pointers whose positions never change: an older table is a prefix of a newer one. So each function here is its
/// position and its shape, and any library that speaks <see cref="ApiVersion"/> will do (release 1.14 and later).
/// Handles are <c>nint</c>; almost every function answers with a status, which is given to <see cref="Check"/>.
/// </summary>
internal static unsafe class OrtApi
{
    /// <summary>The lowest version that holds all functions below: the last one is position 216.</summary>
    public const uint ApiVersion = 14;

    private static readonly OrtLibrary Library = OrtLibrary.Open(ApiVersion);

    private static nint* Table => Library.Table != null ? Library.Table : throw Library.Missing!;

    /// <summary>The release of the loaded library, such as <c>1.30.0</c>.</summary>
    public static string Version => Table != null ? Library.Version : "";

    // Statuses
    public static delegate* unmanaged[Cdecl]<nint, int> GetErrorCode => (delegate* unmanaged[Cdecl]<nint, int>)Table[1];
    public static delegate* unmanaged[Cdecl]<nint, byte*> GetErrorMessage => (delegate* unmanaged[Cdecl]<nint, byte*>)Table[2];
    public static delegate* unmanaged[Cdecl]<nint, void> ReleaseStatus => (delegate* unmanaged[Cdecl]<nint, void>)Table[93];

    // Environment
    public static delegate* unmanaged[Cdecl]<int, byte*, nint*, nint> CreateEnv =>
        (delegate* unmanaged[Cdecl]<int, byte*, nint*, nint>)Table[3];

    // Session options and providers
    public static delegate* unmanaged[Cdecl]<nint*, nint> CreateSessionOptions => (delegate* unmanaged[Cdecl]<nint*, nint>)Table[10];
    public static delegate* unmanaged[Cdecl]<nint, int, nint> SetGraphOptimizationLevel =>
        (delegate* unmanaged[Cdecl]<nint, int, nint>)Table[23];
    public static delegate* unmanaged[Cdecl]<nint, int, nint> SetIntraOpNumThreads =>
        (delegate* unmanaged[Cdecl]<nint, int, nint>)Table[24];
    public static delegate* unmanaged[Cdecl]<nint, void> ReleaseSessionOptions => (delegate* unmanaged[Cdecl]<nint, void>)Table[100];
    public static delegate* unmanaged[Cdecl]<nint, byte*, byte*, nint> AddSessionConfigEntry =>
        (delegate* unmanaged[Cdecl]<nint, byte*, byte*, nint>)Table[130];
    public static delegate* unmanaged[Cdecl]<nint, nint, nint> AppendCuda => (delegate* unmanaged[Cdecl]<nint, nint, nint>)Table[204];
    public static delegate* unmanaged[Cdecl]<nint*, nint> CreateCudaOptions => (delegate* unmanaged[Cdecl]<nint*, nint>)Table[205];
    public static delegate* unmanaged[Cdecl]<nint, nint*, nint*, nuint, nint> UpdateCudaOptions =>
        (delegate* unmanaged[Cdecl]<nint, nint*, nint*, nuint, nint>)Table[206];
    public static delegate* unmanaged[Cdecl]<nint, void> ReleaseCudaOptions => (delegate* unmanaged[Cdecl]<nint, void>)Table[208];
    public static delegate* unmanaged[Cdecl]<nint, byte*, nint*, nint*, nuint, nint> AppendExecutionProvider =>
        (delegate* unmanaged[Cdecl]<nint, byte*, nint*, nint*, nuint, nint>)Table[216];

    // Sessions
    public static delegate* unmanaged[Cdecl]<nint, byte*, nint, nint*, nint> CreateSession =>
        (delegate* unmanaged[Cdecl]<nint, byte*, nint, nint*, nint>)Table[7];
    public static delegate* unmanaged[Cdecl]<nint, void*, nuint, nint, nint*, nint> CreateSessionFromArray =>
        (delegate* unmanaged[Cdecl]<nint, void*, nuint, nint, nint*, nint>)Table[8];
    public static delegate* unmanaged[Cdecl]<nint, nint, nint*, nint*, nuint, nint*, nuint, nint*, nint> Run =>
        (delegate* unmanaged[Cdecl]<nint, nint, nint*, nint*, nuint, nint*, nuint, nint*, nint>)Table[9];
    public static delegate* unmanaged[Cdecl]<nint, nuint*, nint> SessionGetInputCount =>
        (delegate* unmanaged[Cdecl]<nint, nuint*, nint>)Table[30];
    public static delegate* unmanaged[Cdecl]<nint, nuint*, nint> SessionGetOutputCount =>
        (delegate* unmanaged[Cdecl]<nint, nuint*, nint>)Table[31];
    public static delegate* unmanaged[Cdecl]<nint, nuint, nint*, nint> SessionGetInputTypeInfo =>
        (delegate* unmanaged[Cdecl]<nint, nuint, nint*, nint>)Table[33];
    public static delegate* unmanaged[Cdecl]<nint, nuint, nint*, nint> SessionGetOutputTypeInfo =>
        (delegate* unmanaged[Cdecl]<nint, nuint, nint*, nint>)Table[34];
    public static delegate* unmanaged[Cdecl]<nint, nuint, nint, nint*, nint> SessionGetInputName =>
        (delegate* unmanaged[Cdecl]<nint, nuint, nint, nint*, nint>)Table[36];
    public static delegate* unmanaged[Cdecl]<nint, nuint, nint, nint*, nint> SessionGetOutputName =>
        (delegate* unmanaged[Cdecl]<nint, nuint, nint, nint*, nint>)Table[37];
    public static delegate* unmanaged[Cdecl]<nint, void> ReleaseSession => (delegate* unmanaged[Cdecl]<nint, void>)Table[95];
    public static delegate* unmanaged[Cdecl]<nint, nint*, nint> SessionGetModelMetadata =>
        (delegate* unmanaged[Cdecl]<nint, nint*, nint>)Table[111];
    public static delegate* unmanaged[Cdecl]<nint, nint, byte*, nint*, nint> ModelMetadataLookup =>
        (delegate* unmanaged[Cdecl]<nint, nint, byte*, nint*, nint>)Table[116];
    public static delegate* unmanaged[Cdecl]<nint, void> ReleaseModelMetadata => (delegate* unmanaged[Cdecl]<nint, void>)Table[118];
    public static delegate* unmanaged[Cdecl]<nint, nint, nint*, long*, nint> ModelMetadataGetKeys =>
        (delegate* unmanaged[Cdecl]<nint, nint, nint*, long*, nint>)Table[123];

    // Run options
    public static delegate* unmanaged[Cdecl]<nint*, nint> CreateRunOptions => (delegate* unmanaged[Cdecl]<nint*, nint>)Table[39];
    public static delegate* unmanaged[Cdecl]<nint, nint> RunOptionsSetTerminate => (delegate* unmanaged[Cdecl]<nint, nint>)Table[46];
    public static delegate* unmanaged[Cdecl]<nint, nint> RunOptionsUnsetTerminate => (delegate* unmanaged[Cdecl]<nint, nint>)Table[47];
    public static delegate* unmanaged[Cdecl]<nint, void> ReleaseRunOptions => (delegate* unmanaged[Cdecl]<nint, void>)Table[97];

    // Values
    public static delegate* unmanaged[Cdecl]<nint, long*, nuint, int, nint*, nint> CreateTensor =>
        (delegate* unmanaged[Cdecl]<nint, long*, nuint, int, nint*, nint>)Table[48];
    public static delegate* unmanaged[Cdecl]<nint, void*, nuint, long*, nuint, int, nint*, nint> CreateTensorOverMemory =>
        (delegate* unmanaged[Cdecl]<nint, void*, nuint, long*, nuint, int, nint*, nint>)Table[49];
    public static delegate* unmanaged[Cdecl]<nint, nint*, nint> GetTensorData => (delegate* unmanaged[Cdecl]<nint, nint*, nint>)Table[51];
    public static delegate* unmanaged[Cdecl]<nint, nint*, nuint, nint> FillStringTensor =>
        (delegate* unmanaged[Cdecl]<nint, nint*, nuint, nint>)Table[52];
    public static delegate* unmanaged[Cdecl]<nint, nuint*, nint> GetStringTensorLength =>
        (delegate* unmanaged[Cdecl]<nint, nuint*, nint>)Table[53];
    public static delegate* unmanaged[Cdecl]<nint, void*, nuint, nuint*, nuint, nint> GetStringTensorContent =>
        (delegate* unmanaged[Cdecl]<nint, void*, nuint, nuint*, nuint, nint>)Table[54];
    public static delegate* unmanaged[Cdecl]<nint, nint*, nint> GetTensorTypeAndShape =>
        (delegate* unmanaged[Cdecl]<nint, nint*, nint>)Table[65];
    public static delegate* unmanaged[Cdecl]<nint, int*, nint> GetValueType => (delegate* unmanaged[Cdecl]<nint, int*, nint>)Table[67];
    public static delegate* unmanaged[Cdecl]<nint, int, nint, nint*, nint> GetValue =>
        (delegate* unmanaged[Cdecl]<nint, int, nint, nint*, nint>)Table[80];
    public static delegate* unmanaged[Cdecl]<nint, nuint*, nint> GetValueCount => (delegate* unmanaged[Cdecl]<nint, nuint*, nint>)Table[81];
    public static delegate* unmanaged[Cdecl]<nint, void> ReleaseValue => (delegate* unmanaged[Cdecl]<nint, void>)Table[96];

    // Types and shapes
    public static delegate* unmanaged[Cdecl]<nint, nint*, nint> CastTypeInfoToTensorInfo =>
        (delegate* unmanaged[Cdecl]<nint, nint*, nint>)Table[55];
    public static delegate* unmanaged[Cdecl]<nint, int*, nint> GetOnnxType => (delegate* unmanaged[Cdecl]<nint, int*, nint>)Table[56];
    public static delegate* unmanaged[Cdecl]<nint, int*, nint> GetTensorElementType =>
        (delegate* unmanaged[Cdecl]<nint, int*, nint>)Table[60];
    public static delegate* unmanaged[Cdecl]<nint, nuint*, nint> GetDimensionsCount =>
        (delegate* unmanaged[Cdecl]<nint, nuint*, nint>)Table[61];
    public static delegate* unmanaged[Cdecl]<nint, long*, nuint, nint> GetDimensions =>
        (delegate* unmanaged[Cdecl]<nint, long*, nuint, nint>)Table[62];
    public static delegate* unmanaged[Cdecl]<nint, nint*, nuint, nint> GetSymbolicDimensions =>
        (delegate* unmanaged[Cdecl]<nint, nint*, nuint, nint>)Table[63];
    public static delegate* unmanaged[Cdecl]<nint, void> ReleaseTypeInfo => (delegate* unmanaged[Cdecl]<nint, void>)Table[98];
    public static delegate* unmanaged[Cdecl]<nint, void> ReleaseTensorInfo => (delegate* unmanaged[Cdecl]<nint, void>)Table[99];

    // Memory
    public static delegate* unmanaged[Cdecl]<int, int, nint*, nint> CreateCpuMemoryInfo =>
        (delegate* unmanaged[Cdecl]<int, int, nint*, nint>)Table[69];
    public static delegate* unmanaged[Cdecl]<nint, void*, nint> AllocatorFree => (delegate* unmanaged[Cdecl]<nint, void*, nint>)Table[76];
    public static delegate* unmanaged[Cdecl]<nint*, nint> GetDefaultAllocator => (delegate* unmanaged[Cdecl]<nint*, nint>)Table[78];
    public static delegate* unmanaged[Cdecl]<nint, void> ReleaseMemoryInfo => (delegate* unmanaged[Cdecl]<nint, void>)Table[94];

    // IO binding
    public static delegate* unmanaged[Cdecl]<nint, nint, nint, nint> RunWithBinding =>
        (delegate* unmanaged[Cdecl]<nint, nint, nint, nint>)Table[133];
    public static delegate* unmanaged[Cdecl]<nint, nint*, nint> CreateIoBinding =>
        (delegate* unmanaged[Cdecl]<nint, nint*, nint>)Table[134];
    public static delegate* unmanaged[Cdecl]<nint, void> ReleaseIoBinding => (delegate* unmanaged[Cdecl]<nint, void>)Table[135];
    public static delegate* unmanaged[Cdecl]<nint, byte*, nint, nint> BindInput =>
        (delegate* unmanaged[Cdecl]<nint, byte*, nint, nint>)Table[136];
    public static delegate* unmanaged[Cdecl]<nint, byte*, nint, nint> BindOutput =>
        (delegate* unmanaged[Cdecl]<nint, byte*, nint, nint>)Table[137];
    public static delegate* unmanaged[Cdecl]<nint, byte*, nint, nint> BindOutputToDevice =>
        (delegate* unmanaged[Cdecl]<nint, byte*, nint, nint>)Table[138];
    public static delegate* unmanaged[Cdecl]<nint, nint, nint*, nuint*, nint> GetBoundOutputValues =>
        (delegate* unmanaged[Cdecl]<nint, nint, nint*, nuint*, nint>)Table[140];
    public static delegate* unmanaged[Cdecl]<nint, void> ClearBoundInputs => (delegate* unmanaged[Cdecl]<nint, void>)Table[141];
    public static delegate* unmanaged[Cdecl]<nint, void> ClearBoundOutputs => (delegate* unmanaged[Cdecl]<nint, void>)Table[142];
    public static delegate* unmanaged[Cdecl]<nint, nint> SynchronizeBoundInputs => (delegate* unmanaged[Cdecl]<nint, nint>)Table[202];
    public static delegate* unmanaged[Cdecl]<nint, nint> SynchronizeBoundOutputs => (delegate* unmanaged[Cdecl]<nint, nint>)Table[203];

    /// <summary>The CPU allocator of the library, which owns it: what it hands out is freed through it, itself never.</summary>
    public static nint DefaultAllocator
    {
        get
        {
            nint allocator;
            Check(GetDefaultAllocator(&allocator));
            return allocator;
        }
    }

    /// <summary>Turns a status into an exception and releases it; success is 0.</summary>
    /// <exception cref="OnnxRuntimeException">The status is not success.</exception>
    public static void Check(nint status)
    {
        if (status != 0)
            throw Failure(status);
    }

    /// <summary>Text as the C API wants it: UTF-8 with a terminator.</summary>
    public static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text + '\0');

    /// <summary>Reads a text and gives its memory back to the library's allocator.</summary>
    public static string TakeString(nint text)
    {
        try
        {
            return Marshal.PtrToStringUTF8(text) ?? "";
        }
        finally
        {
            Check(AllocatorFree(DefaultAllocator, (void*)text));
        }
    }

    private static OnnxRuntimeException Failure(nint status)
    {
        try
        {
            var message = Marshal.PtrToStringUTF8((nint)GetErrorMessage(status)) ?? "";
            return new OnnxRuntimeException((OrtErrorCode)GetErrorCode(status), message.Trim());
        }
        finally
        {
            ReleaseStatus(status);
        }
    }
}
