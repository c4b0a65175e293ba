using Pipeline.GpuWorker.OnnxRuntime;
using SessionOptions = Pipeline.GpuWorker.OnnxRuntime.SessionOptions;

namespace Pipeline.GpuWorker.Models.Sessions;

/// <summary>The device that models will run on, found out before there is a model: the smallest one is loaded to see.</summary>
internal sealed record DeviceProbe(string Provider, string Device, IReadOnlyList<ProviderAttempt> Attempts)
{
    /// <summary>y = x, one float32 each, as ONNX writes it (onnx.proto): IR version 8, operator set 17, one Identity node.</summary>
    private static byte[] Identity =>
        [
            .. new byte[] { 0x08, 8, 0x42, 2, 0x10, 17, 0x3A, 55 },
            .. new byte[] { 0x0A, 16, 0x0A, 1, (byte)'x', 0x12, 1, (byte)'y', 0x22, 8 },
            .. "Identity"u8,
            .. new byte[] { 0x12, 1, (byte)'g' },
            .. new byte[] { 0x5A, 15, 0x0A, 1, (byte)'x', 0x12, 10, 0x0A, 8, 0x08, 1, 0x12, 4, 0x0A, 2, 0x08, 1 },
            .. new byte[] { 0x62, 15, 0x0A, 1, (byte)'y', 0x12, 10, 0x0A, 8, 0x08, 1, 0x12, 4, 0x0A, 2, 0x08, 1 },
        ];

    /// <exception cref="OnnxRuntimeException">No provider of the list works here.</exception>
    public static DeviceProbe Find(SessionOptions options)
    {
        using var session = InferenceSession.Load(Identity, options);
        return new DeviceProbe(session.Provider, session.DeviceName, session.ProviderAttempts);
    }
}
