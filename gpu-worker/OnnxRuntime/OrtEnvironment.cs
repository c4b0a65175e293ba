namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// The library's environment, of which a process has one. It stays until the process ends: were it to go with the last session, a GPU's
/// device and every shader compiled for it would go too, and the next model would wait a second for them.
/// </summary>
internal static unsafe class OrtEnvironment
{
    /// <summary>Failures come back as statuses and become exceptions; the library need not print them as well.</summary>
    private const int FatalOnly = 4;

    // A library that is missing throws each time: only success is remembered.
    private static readonly Lazy<nint> Shared = new(Create, LazyThreadSafetyMode.PublicationOnly);

    /// <summary>The native environment; the library counts references, and this one is never given back.</summary>
    public static nint Pointer => Shared.Value;

    private static nint Create()
    {
        nint environment;
        fixed (byte* id = "pipeline\0"u8)
            OrtApi.Check(OrtApi.CreateEnv(FatalOnly, id, &environment));
        return environment;
    }
}
