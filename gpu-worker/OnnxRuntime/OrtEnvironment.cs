namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// The library's environment. A process has one, and the library counts its references: every session opens it and lets go of it.
/// </summary>
internal static unsafe class OrtEnvironment
{
    /// <summary>Failures come back as statuses and become exceptions; the library need not print them as well.</summary>
    private const int FatalOnly = 4;

    public static OrtHandle Open()
    {
        nint environment;
        fixed (byte* id = "pipeline\0"u8)
            OrtApi.Check(OrtApi.CreateEnv(FatalOnly, id, &environment));
        return new OrtHandle(environment, OrtApi.ReleaseEnv);
    }
}
