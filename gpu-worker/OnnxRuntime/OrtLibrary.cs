using System.Runtime.InteropServices;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// Finds and opens the native library: the file that the environment variable <c>ORT_LIBRARY</c> names, else the one beside the
/// program, else the one among its packages' native assets. It stays open for the life of the process.
/// </summary>
internal sealed unsafe class OrtLibrary
{
    private static readonly string[] FileNames = ["libonnxruntime.so.1", "libonnxruntime.so"];

    private OrtLibrary(nint* table, string version)
    {
        Table = table;
        Version = version;
    }

    private OrtLibrary(OnnxRuntimeException missing) => Missing = missing;

    /// <summary>The function table; null when the library is <see cref="Missing"/>.</summary>
    public nint* Table { get; }

    /// <summary>The release of the library.</summary>
    public string Version { get; } = "";

    /// <summary>Why there is no table.</summary>
    public OnnxRuntimeException? Missing { get; }

    /// <summary>Never throws: it runs in a type initialiser, from where an exception would come out wrapped.</summary>
    public static OrtLibrary Open(uint apiVersion)
    {
        try
        {
            return Bind(Load(), apiVersion);
        }
        catch (OnnxRuntimeException missing)
        {
            return new OrtLibrary(missing);
        }
    }

    private static OrtLibrary Bind(nint library, uint apiVersion)
    {
        if (!NativeLibrary.TryGetExport(library, "OrtGetApiBase", out var export))
            throw new OnnxRuntimeException(OrtErrorCode.Fail, "The native library has no OrtGetApiBase: it is not ONNX Runtime.");

        // Two function pointers: the table for a version (null when unknown), and the release as text.
        var apiBase = ((delegate* unmanaged[Cdecl]<nint*>)export)();
        var version = Marshal.PtrToStringUTF8(((delegate* unmanaged[Cdecl]<nint>)apiBase[1])()) ?? "";
        var table = ((delegate* unmanaged[Cdecl]<uint, nint*>)apiBase[0])(apiVersion);
        return table != null
            ? new OrtLibrary(table, version)
            : throw new OnnxRuntimeException(OrtErrorCode.Fail, $"ONNX Runtime {version} is too old: 1.{apiVersion} or later is needed.");
    }

    private static nint Load()
    {
        var named = Environment.GetEnvironmentVariable("ORT_LIBRARY");
        var folder = AppContext.BaseDirectory;
        string[] candidates = named is null ? [.. FileNames.Select(name => Path.Combine(folder, name))] : [named];
        try
        {
            if (candidates.FirstOrDefault(File.Exists) is { } file)
                return NativeLibrary.Load(file);
            if (named is null && NativeLibrary.TryLoad("onnxruntime", typeof(OrtLibrary).Assembly, null, out var library))
                return library; // Native assets of a NuGet package lie in runtimes/<rid>/native, which the runtime knows.
        }
        catch (Exception cause) when (cause is DllNotFoundException or BadImageFormatException)
        {
            throw new OnnxRuntimeException(OrtErrorCode.Fail, $"ONNX Runtime's native library does not load: {cause.Message}", cause);
        }
        throw new OnnxRuntimeException(
            OrtErrorCode.NoSuchFile,
            $"ONNX Runtime's native library was not found. Looked for: {string.Join(", ", candidates)}."
        );
    }
}
