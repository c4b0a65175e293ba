using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;
using Pipeline.GpuWorker.OnnxRuntime;
using Pipeline.Tests.Integration.OnnxRuntime;
using Pipeline.Tests.Support.Models;
using Xunit;

namespace Pipeline.Tests.Integration.Models;

public sealed class PublishedModelTests
{
    public static TheoryData<string> Names() => [.. PublishedManifests.Names];

    [Theory]
    [MemberData(nameof(Names))]
    public void Gives_the_published_answers_in_one_batch_and_alone(string name)
    {
        using var files = Files(name);
        var model = files.Load();
        var cases = PublishedModel.Find(name).Cases();

        // Tasks of one shape share a batch, as the worker cuts them.
        var prepared = cases.Select(one => model.Prepare(Input(model, one))).ToList();
        foreach (var batch in BatchCutter.Cut(prepared, new BatchLimits(32, 1_000_000, model.FixedRows)))
            AssertAnswers(model, [.. batch.Tasks.Select(i => cases[i])]);
        AssertAnswers(model, [cases[0]]);
    }

    [Theory]
    [InlineData("mnist-cnn-dynamic")]
    [InlineData("mnist-cntk-fixed1")]
    [InlineData("tinybert-dynamic")]
    public void Gives_the_published_answers_on_a_gpu(string name)
    {
        using var files = Files(name);
        var model = files.Load(ExecutionProviders.WebGpu);
        Assert.Equal(ExecutionProviders.WebGpu, model.Provider);

        var cases = PublishedModel.Find(name).Cases(countMax: 4);
        foreach (var batch in cases.Chunk(model.FixedRows > 0 ? model.FixedRows : 4))
            AssertAnswers(model, batch);
    }

    [Fact]
    public void Fills_shorter_texts_up_and_cuts_the_padding_off_again()
    {
        using var files = Files("tinybert-dynamic");
        var model = files.Load();
        var cases = PublishedModel.Find("tinybert-dynamic").Cases();
        var inputs = cases.Select(one => Input(model, one)).ToArray();
        Assert.True(cases.Select(one => one.Inputs["input_ids"].Shape[1]).Distinct().Count() > 1);

        Assert.All(inputs, input => Assert.Equal(0, model.Prepare(input).ShapeKey));
        using var batch = model.Pack([.. inputs.Select(input => model.Prepare(input))]);
        var longest = cases.Max(one => one.Inputs["input_ids"].Shape[1]);
        Assert.Equal(3 * longest * cases.Count, batch.PaddedUnits);
        Assert.Equal(cases.Sum(one => 3 * one.Inputs["input_ids"].Shape[1]), batch.Units);

        var outputs = model.RunTogether(inputs);
        Assert.All(
            cases.Zip(outputs),
            pair => Assert.Equal([pair.First.Inputs["input_ids"].Shape[1], 50], pair.Second.Tensor("output_0").Shape)
        );
    }

    [Fact]
    public void Keeps_apart_what_brings_another_shared_input()
    {
        using var files = Files("silero-vad-16k");
        var model = files.Load();
        var one = PublishedModel.Find("silero-vad-16k").Cases(countMax: 1)[0];

        var usual = model.Prepare(Input(model, one));
        var again = model.Prepare(Input(model, one));
        var other = model.Prepare(Input(model, one, ("sr", BitConverter.GetBytes(8000L))));

        Assert.Equal(usual.ShapeKey, again.ShapeKey);
        Assert.NotEqual(usual.ShapeKey, other.ShapeKey);
        Assert.Equal(576 + 256, usual.Units);
        Assert.Throws<ArgumentException>(() => model.Pack([usual, other]));
    }

    internal static ModelFiles Files(string name) => new(File.ReadAllBytes(PublishedModel.Find(name).Path), PublishedManifests.Of(name));

    /// <summary>A case as a task's input: its tensors without the batch axis; a shared input is what the graph declares.</summary>
    internal static byte[] Input(OnnxModel model, PublishedCase one, params (string Name, byte[] Data)[] changes) =>
        Packs.Of([
            .. one.Inputs.Select(input =>
            {
                var spec = model.Manifest.Inputs[input.Key];
                long[] shape = spec.BatchAxis is { } axis ? [.. input.Value.Shape.Where((_, i) => i != axis)] : [.. spec.Shape!];
                var changed = changes.FirstOrDefault(change => change.Name == input.Key).Data;
                return (input.Key, input.Value.ElementType, shape, changed ?? input.Value.Bytes);
            }),
        ]);

    private static void AssertAnswers(OnnxModel model, IReadOnlyList<PublishedCase> cases)
    {
        var outputs = model.RunTogether([.. cases.Select(one => Input(model, one))]);
        foreach (var (one, output) in cases.Zip(outputs))
        {
            Assert.Equal(PackedTensors.ContentType, output.ContentType);
            foreach (var (name, expected) in one.Expected)
            {
                var given = output.Tensor(name);
                Assert.Equal(expected.ElementType, given.Type);
                Assert.Equal(expected.Shape.Where((_, i) => i != model.Manifest.Outputs[name].BatchAxis), given.Shape);
                foreach (var (index, value) in expected.Elements)
                {
                    var difference = Math.Abs(PublishedTensor.Read(given.Data.Span, given.Type, index) - value);
                    // The published tolerance is absolute; logits of hundreds have fewer digits behind the point.
                    Assert.True(
                        difference <= one.Tolerance + (1e-5 * Math.Abs(value)),
                        $"{one.Id}, {name}[{index}]: {difference} off, {one.Tolerance} allowed."
                    );
                }
            }
        }
    }
}
