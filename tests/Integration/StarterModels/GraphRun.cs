using System.Runtime.InteropServices;
using Pipeline.Contracts;
using Pipeline.GpuWorker.OnnxRuntime;

namespace Pipeline.Tests.Integration.StarterModels;

/// <summary>Runs a graph with one output on the CPU and copies the output out.</summary>
internal static class GraphRun
{
    public static InferenceSession Load(byte[] model) =>
        InferenceSession.Load(model, new SessionOptions { Providers = [ExecutionProviders.Cpu], IntraOpThreads = 1 });

    public static float[] Run(
        this InferenceSession session,
        params (string Name, TensorElementType Type, Array Data, long[] Shape)[] inputs
    )
    {
        var pins = inputs.Select(input => GCHandle.Alloc(input.Data, GCHandleType.Pinned)).ToArray();
        var values = inputs
            .Zip(
                pins,
                (input, pin) => OrtValue.FromMemory(input.Type, input.Shape, pin.AddrOfPinnedObject(), Buffer.ByteLength(input.Data))
            )
            .ToArray();
        try
        {
            using var output = session.Run(inputs.Select(input => input.Name).ToArray(), values, [session.Outputs[0].Name])[0];
            return output.Elements<float>().ToArray();
        }
        finally
        {
            Array.ForEach(values, value => value.Dispose());
            Array.ForEach(pins, pin => pin.Free());
        }
    }
}
