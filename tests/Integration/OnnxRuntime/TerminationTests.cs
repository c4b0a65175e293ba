using Pipeline.Contracts;
using Pipeline.GpuWorker.OnnxRuntime;
using Xunit;

namespace Pipeline.Tests.Integration.OnnxRuntime;

public sealed class TerminationTests
{
    private const int Side = 128;

    /// <summary>Some ten seconds of work, of which a passing test sees a moment.</summary>
    private const int Products = 20_000;

    [Fact]
    public async Task A_running_run_ends_when_its_options_say_so()
    {
        using var session = Engine.Load(ExecutionProviders.Cpu, Graphs.Long(Side, Products));
        using var started = Tensors.Floats([Side, Side], new float[Side * Side]);
        using var x = Tensors.Floats([Side, Side], new float[Side * Side]);
        using var options = new RunOptions();
        using var binding = session.CreateBinding();
        binding.BindInput("x", x);
        binding.BindOutput("started", started);
        binding.BindOutputToCpu("end");

        var run = Task.Run(() => session.Run(binding, options));
        SpinWait.SpinUntil(() => run.IsCompleted || Volatile.Read(ref started.Elements<float>()[^1]) == 1f);
        options.Terminate();

        var ended = await Assert.ThrowsAsync<OnnxRuntimeException>(() => run);
        Assert.Equal(OrtErrorCode.Fail, ended.Code);
        Assert.Contains("terminate", ended.Message, StringComparison.Ordinal);
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Terminated_options_end_later_runs_until_they_are_reset(string provider)
    {
        using var session = Engine.Load(provider, Graphs.Double());
        using var x = Tensors.Floats([1, 4], 1, 2, 3, 4);
        using var options = new RunOptions();

        options.Terminate();
        Assert.Throws<OnnxRuntimeException>(() => session.Run(["x"], [x], ["y"], options));
        options.Reset();

        using var y = Assert.Single(session.Run(["x"], [x], ["y"], options));
        Assert.Equal([2, 4, 6, 8], y.Floats());
    }

    [Fact]
    public async Task A_session_disposed_while_it_runs_lives_until_the_run_has_ended()
    {
        var session = Engine.Load(ExecutionProviders.Cpu, Graphs.Long(Side, products: 500));
        using var started = Tensors.Floats([Side, Side], new float[Side * Side]);
        using var x = Tensors.Floats([Side, Side], new float[Side * Side]);
        using var binding = session.CreateBinding();
        binding.BindInput("x", x);
        binding.BindOutput("started", started);
        binding.BindOutputToCpu("end");

        var run = Task.Run(() => session.Run(binding));
        SpinWait.SpinUntil(() => run.IsCompleted || Volatile.Read(ref started.Elements<float>()[^1]) == 1f);
        session.Dispose();
        await run;

        Assert.Equal([Side, Side], binding.Outputs()[1].Shape);
    }
}
