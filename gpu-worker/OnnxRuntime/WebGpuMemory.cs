namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// Frees the weights of WebGPU sessions that are gone. The library (seen in 1.30) only queues them, and empties that queue when some
/// session prepares the weights of a convolution, which may be never: four hundred sessions of a 4 MiB model, one after
/// the other, left 1.7 GB. So a model of one convolution is loaded and released whenever a session is about to take memory.
/// </summary>
internal static unsafe class WebGpuMemory
{
    /// <summary>One weight on one pixel: <c>y = Conv(x, 1)</c>. A test writes the same bytes from the graph.</summary>
    internal static byte[] Convolution { get; } =
        Convert.FromBase64String(
            "CAgSCHBpcGVsaW5lOnUKFwoBeAoBdxIBeRoGQ29udl8wIgRDb252Egtjb252b2x1dGlvbioTCAEIAQgBCAEQAUIBd0oEAACAP1ob"
                + "CgF4EhYKFAgBEhAKAggBCgIIAQoCCAEKAggBYhsKAXkSFgoUCAESEAoCCAEKAggBCgIIAQoCCAFCBAoAEBE="
        );

    /// <summary>Frees what earlier sessions left. The caller holds the device's gate.</summary>
    /// <param name="options">Native options with the WebGPU provider.</param>
    public static void Reclaim(nint environment, nint options)
    {
        nint session;
        fixed (byte* model = Convolution)
            OrtApi.Check(OrtApi.CreateSessionFromArray(environment, model, (nuint)Convolution.Length, options, &session));
        OrtApi.ReleaseSession(session);
    }
}
