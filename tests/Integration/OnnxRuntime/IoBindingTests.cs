using Pipeline.Contracts;
using Pipeline.GpuWorker.OnnxRuntime;
using Xunit;

namespace Pipeline.Tests.Integration.OnnxRuntime;

public sealed class IoBindingTests
{
    [Theory]
    [ClassData(typeof(EachProvider))]
    public void A_binding_made_once_reads_and_fills_its_buffers_run_after_run(string provider)
    {
        using var session = Engine.Load(provider, Graphs.Double());
        using var pool = new TensorBufferPool();
        using var input = pool.Rent(4 * sizeof(float));
        using var output = pool.Rent(4 * sizeof(float));
        using var x = input.AsValue(TensorElementType.Float32, [1, 4]);
        using var y = output.AsValue(TensorElementType.Float32, [1, 4]);
        using var binding = session.CreateBinding();
        binding.BindInput("x", x);
        binding.BindOutput("y", y);

        for (var run = 1; run <= 3; run++)
        {
            input.Elements<float>()[..4].Fill(run);
            session.Run(binding);
            Assert.Equal(Enumerable.Repeat(run * 2f, 4), output.Elements<float>()[..4].ToArray());
        }
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Outputs_left_to_the_library_follow_each_batch_and_stay_when_the_next_one_runs(string provider)
    {
        using var session = Engine.Load(provider, Graphs.Double());
        using var binding = session.CreateBinding();
        binding.BindOutputToCpu("y");
        var outputs = new List<OrtValue>();

        foreach (var rows in new[] { 1, 3, 2 })
        {
            using var x = Tensors.Floats([rows, 4], Enumerable.Repeat((float)rows, rows * 4).ToArray());
            binding.BindInput("x", x);
            session.Run(binding);
            outputs.AddRange(binding.Outputs());
        }
        binding.Dispose();

        Assert.Equal([4, 12, 8], outputs.Select(output => output.Floats().Length));
        Assert.Equal([2, 6, 4], outputs.Select(output => output.Floats()[0]));
        outputs.ForEach(output => output.Dispose());
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Values_may_go_while_they_are_bound(string provider)
    {
        using var session = Engine.Load(provider, Graphs.SumAndProduct());
        using var binding = session.CreateBinding();
        Bind("a", Tensors.Floats([1, 2], 1, 2));
        Bind("b", Tensors.Floats([1, 2], 3, 4));
        Bind("scale", Tensors.Floats([], 1));
        using (var product = Tensors.Floats([1, 2], 0, 0))
            binding.BindOutput("product", product);
        binding.BindOutputToCpu("sum");

        session.Run(binding);

        Assert.Equal(["product", "sum"], binding.OutputNames);
        var outputs = binding.Outputs();
        binding.Clear();
        Assert.Equal([3, 8], outputs[0].Floats());
        Assert.Equal([4, 6], outputs[1].Floats());
        Array.ForEach(outputs, output => output.Dispose());

        void Bind(string name, OrtValue value)
        {
            using (value)
                binding.BindInput(name, value);
        }
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Refuses_an_output_buffer_of_another_shape(string provider)
    {
        using var session = Engine.Load(provider, Graphs.Double());
        using var binding = session.CreateBinding();
        using var x = Tensors.Floats([2, 4], new float[8]);
        using var y = Tensors.Floats([1, 4], new float[4]);
        binding.BindInput("x", x);
        binding.BindOutput("y", y);

        Assert.Throws<OnnxRuntimeException>(() => session.Run(binding));
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public void Refuses_names_that_the_model_does_not_have(string provider)
    {
        using var session = Engine.Load(provider, Graphs.Double());
        using var binding = session.CreateBinding();
        using var x = Tensors.Floats([1, 4], 1, 2, 3, 4);

        Assert.Equal(OrtErrorCode.InvalidArgument, Assert.Throws<OnnxRuntimeException>(() => binding.BindInput("z", x)).Code);
        Assert.Equal(OrtErrorCode.InvalidArgument, Assert.Throws<OnnxRuntimeException>(() => binding.BindOutputToCpu("z")).Code);
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public async Task Several_bindings_run_on_one_session_at_once(string provider)
    {
        using var session = Engine.Load(provider, Graphs.Double());

        await Task.WhenAll(Enumerable.Range(1, 4).Select(thread => Task.Run(() => RunOften(thread))));

        void RunOften(int thread)
        {
            using var binding = session.CreateBinding();
            using var x = Tensors.Floats([thread, 4], Enumerable.Repeat((float)thread, thread * 4).ToArray());
            using var y = Tensors.Floats([thread, 4], new float[thread * 4]);
            binding.BindInput("x", x);
            binding.BindOutput("y", y);
            for (var run = 0; run < 50; run++)
            {
                y.Elements<float>().Clear();
                session.Run(binding);
                Assert.All(y.Floats(), element => Assert.Equal(thread * 2f, element));
            }
        }
    }
}
