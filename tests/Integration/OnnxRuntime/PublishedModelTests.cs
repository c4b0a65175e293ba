using Pipeline.GpuWorker.OnnxRuntime;
using Pipeline.Tests.Support.Models;
using Xunit;

namespace Pipeline.Tests.Integration.OnnxRuntime;

public sealed class PublishedModelTests
{
    public static TheoryData<string, string> Models()
    {
        var data = new TheoryData<string, string>();
        foreach (var provider in ExecutionProviders.Known.Except([ExecutionProviders.Cuda]))
        foreach (
            var model in new[]
            {
                "magika-v3_3",
                "mnist-cnn-dynamic",
                "mnist-cntk-fixed1",
                "mnist-logreg-sklearn",
                "silero-vad-16k",
                "squeezenet-fp16-fixed1",
                "super-resolution-dynamic",
                "tinybert-dynamic",
            }
        )
            data.Add(provider, model);
        return data;
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void Gives_the_published_answers(string provider, string name)
    {
        var model = PublishedModel.Find(name);
        if (provider == ExecutionProviders.WebGpu && WhyNotOnWebGpu(name) is { } reason)
            Assert.Skip(reason);
        using var session = InferenceSession.Load(model.Path, Engine.Options(provider));
        Assert.Equal(provider, session.Provider);

        Assert.All(model.Cases(countMax: 3), expected => AssertAnswers(session, expected));
    }

    private static string? WhyNotOnWebGpu(string name)
    {
        var software = Devices.Vulkan.All.All(device => device.IsSoftware);
        return name switch
        {
            "silero-vad-16k" => "WebGPU of ONNX Runtime 1.30 answers 0.01 where the CPU answers 0.56.",
            "squeezenet-fp16-fixed1" when software => "The software device has no 16-bit floats.",
            "super-resolution-dynamic" when software => "The software device takes 20 s, and adds nothing to the others.",
            _ => null,
        };
    }

    private static void AssertAnswers(InferenceSession session, PublishedCase published)
    {
        using var pool = new TensorBufferPool();
        using var binding = session.CreateBinding();
        foreach (var (name, tensor) in published.Inputs)
        {
            using var buffer = pool.Rent(tensor.Bytes.Length);
            tensor.Bytes.CopyTo(buffer.Bytes);
            using var value = buffer.AsValue(tensor.ElementType, tensor.Shape);
            binding.BindInput(name, value);
        }
        foreach (var name in published.Expected.Keys)
            binding.BindOutputToCpu(name);

        session.Run(binding);

        foreach (var (name, output) in binding.OutputNames.Zip(binding.Outputs()))
            using (output)
                AssertClose(published.Expected[name], output, published.Tolerance);
    }

    private static void AssertClose(PublishedTensor expected, OrtValue actual, double tolerance)
    {
        Assert.Equal(expected.ElementType, actual.ElementType);
        Assert.Equal(expected.Shape, actual.Shape);
        foreach (var (index, value) in expected.Elements)
        {
            // A float has seven digits: beside a value of a thousand, a ten-thousandth is their rounding.
            var rounding = Math.Abs(value) * 1e-6;
            Assert.Equal(value, PublishedTensor.Read(actual.Bytes, actual.ElementType, index), tolerance + rounding);
        }
    }
}
