using Pipeline.GpuWorker.OnnxRuntime;
using Xunit;

namespace Pipeline.Tests.Integration.OnnxRuntime;

/// <summary>Every test of the engine runs on each of these, or says why it cannot.</summary>
public sealed class EachProvider : TheoryData<string>
{
    public EachProvider()
    {
        Add(ExecutionProviders.Cpu);
        Add(ExecutionProviders.WebGpu);
    }
}

/// <summary>Sessions for tests: one provider, two threads, no spinning.</summary>
internal static class Engine
{
    private static readonly Lazy<string?> WebGpuMissing = new(TryWebGpu);

    public static SessionOptions Options(string provider)
    {
        if (provider == ExecutionProviders.WebGpu && WebGpuMissing.Value is { } reason)
            Assert.Skip($"No WebGPU here: {reason} Debian's chromium package carries a software driver.");
        return new SessionOptions { Providers = [provider], IntraOpThreads = 2 };
    }

    public static InferenceSession Load(string provider, byte[] model) => InferenceSession.Load(model, Options(provider));

    /// <summary>Runs a model on values in its own order of inputs, for all outputs.</summary>
    public static OrtValue[] RunAll(this InferenceSession session, params OrtValue[] inputs) =>
        session.Run([.. session.Inputs.Select(input => input.Name)], inputs, [.. session.Outputs.Select(output => output.Name)]);

    private static string? TryWebGpu()
    {
        try
        {
            using var session = InferenceSession.Load(Graphs.Double(), new SessionOptions { Providers = [ExecutionProviders.WebGpu] });
            return null;
        }
        catch (OnnxRuntimeException missing)
        {
            return missing.Message;
        }
    }
}
