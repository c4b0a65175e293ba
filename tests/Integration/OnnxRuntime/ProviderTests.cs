using Pipeline.GpuWorker.OnnxRuntime;
using Xunit;

namespace Pipeline.Tests.Integration.OnnxRuntime;

public sealed class ProviderTests
{
    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Reports_the_provider_that_loaded_and_the_name_of_its_device(string provider)
    {
        using var session = Engine.Load(provider, Graphs.Double());

        Assert.Equal(provider, session.Provider);
        Assert.NotEmpty(session.DeviceName);
        Assert.Equal(new ProviderAttempt(provider, Reason: null), Assert.Single(session.ProviderAttempts));
    }

    [Fact]
    public void Tries_every_provider_in_order_and_keeps_the_reason_why_one_did_not_load()
    {
        using var session = InferenceSession.Load(Graphs.Double(), new SessionOptions());

        Assert.Equal(["cuda", "webgpu", "cpu"], session.ProviderAttempts.Select(attempt => attempt.Provider).Take(3));
    }

    [Fact]
    public void Says_what_was_tried_when_nothing_on_the_list_loads()
    {
        Assert.SkipWhen(File.Exists("/dev/nvidia0"), "This machine has a CUDA device.");

        var refusal = Assert.Throws<OnnxRuntimeException>(() =>
            InferenceSession.Load(Graphs.Double(), new SessionOptions { Providers = [ExecutionProviders.Cuda] })
        );

        Assert.Equal(OrtErrorCode.ExecutionProviderFail, refusal.Code);
        Assert.Contains("cuda: ", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Leaves_a_software_device_alone_when_the_list_also_has_the_faster_cpu()
    {
        _ = Engine.Options(ExecutionProviders.WebGpu);
        Assert.SkipUnless(Devices.Vulkan.All.All(device => device.IsSoftware), "This machine has a GPU.");

        using var session = InferenceSession.Load(
            Graphs.Double(),
            new SessionOptions { Providers = [ExecutionProviders.WebGpu, ExecutionProviders.Cpu] }
        );

        Assert.Equal(ExecutionProviders.Cpu, session.Provider);
        Assert.Contains("software device", session.ProviderAttempts[0].Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Names_every_option_that_is_out_of_range()
    {
        var options = new SessionOptions
        {
            Providers = ["tpu"],
            IntraOpThreads = -1,
            GpuMemoryLimitBytes = 0,
            DeviceId = -1,
        };

        var refusal = Assert.Throws<ArgumentException>(() => InferenceSession.Load(Graphs.Double(), options));

        foreach (var name in new[] { "tpu", "IntraOpThreads", "GpuMemoryLimitBytes", "DeviceId" })
            Assert.Contains(name, refusal.Message, StringComparison.Ordinal);
    }
}
