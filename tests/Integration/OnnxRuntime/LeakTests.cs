using Pipeline.Contracts;
using Pipeline.GpuWorker.OnnxRuntime;
using Xunit;

namespace Pipeline.Tests.Integration.OnnxRuntime;

/// <summary>Runs alone: it watches the memory of the whole process.</summary>
[CollectionDefinition(nameof(LeakTests), DisableParallelization = true)]
[Collection(nameof(LeakTests))]
public sealed class LeakTests
{
    private const int Rounds = 300;

    /// <summary>A session of the model holds its weights, 1 MiB, so those that leak are 300 MiB.</summary>
    private const int Side = 512;

    private const long GrowthBytesMax = 100L << 20;

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Hundreds_of_sessions_and_values_leave_no_memory_behind(string provider)
    {
        var model = Graphs.MatMul(Side);
        for (var round = 0; round < Rounds / 10; round++)
            Turn();
        var before = ResidentBytes();

        for (var round = 0; round < Rounds; round++)
            Turn();

        Assert.InRange(ResidentBytes() - before, long.MinValue, GrowthBytesMax);

        void Turn()
        {
            using var session = Engine.Load(provider, model);
            using var x = Tensors.Floats([1, Side], new float[Side]);
            using var y = Assert.Single(session.RunAll(x));
            using var binding = session.CreateBinding();
            binding.BindInput("x", x);
            binding.BindOutputToCpu("y");
            session.Run(binding);
            using var bound = Assert.Single(binding.Outputs());
            Assert.Equal(y.Shape, bound.Shape);
            using var options = new RunOptions();
        }
    }

    [Fact]
    public void The_model_that_makes_WebGPU_free_its_memory_is_the_smallest_convolution() =>
        Assert.Equal(Graphs.Convolution(), WebGpuMemory.Convolution);

    [Fact]
    public void Values_that_nobody_disposes_are_released_by_the_finaliser()
    {
        using var session = Engine.Load(ExecutionProviders.Cpu, Graphs.MatMul(Side));
        var input = new float[Side * Side];
        Forget(Rounds / 10);
        var before = ResidentBytes();

        Forget(Rounds);

        Assert.InRange(ResidentBytes() - before, long.MinValue, GrowthBytesMax);

        void Forget(int rounds)
        {
            for (var round = 0; round < rounds; round++)
            {
                _ = session.RunAll(Tensors.Floats([Side, Side], input));
                if (round % 10 == 9)
                    Collect();
            }
        }
    }

    private static void Collect()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
    }

    /// <summary>What the process really occupies, from the kernel.</summary>
    private static long ResidentBytes()
    {
        Collect();
        var line = File.ReadLines("/proc/self/status").First(line => line.StartsWith("VmRSS:", StringComparison.Ordinal));
        return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], null) * 1024;
    }
}
