using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;
using Pipeline.GpuWorker.OnnxRuntime;
using Xunit;

namespace Pipeline.Tests.EndToEnd;

/// <summary>A registered model, run here without the pipeline around it: what it says of a text alone is the right answer.</summary>
internal sealed class DirectModel : IDisposable
{
    // A row's numbers move a little with the batch it is in: other batch sizes take other ways through the kernels.
    private const double Tolerance = 1e-4;

    private readonly TensorBufferPool _pool = new();
    private readonly OnnxModel _model;
    private readonly Dictionary<string, double[]> _vectors = [];
    private readonly Dictionary<string, (string Label, double Score)[]> _labels = [];

    public DirectModel(string modelsFolder, string name) =>
        _model = OnnxModel.Load(
            Path.Combine(modelsFolder, name, "1.0.0"),
            new SessionOptions { Providers = [ExecutionProviders.Cpu] },
            _pool
        );

    public void AssertSame(string text, JsonElement given)
    {
        if (_model.Manifest.Result.Type == ResultType.Embedding)
        {
            AssertVector(text, given);
        }
        else
        {
            AssertLabels(text, given);
        }
    }

    public void Dispose()
    {
        _model.Dispose();
        _pool.Dispose();
    }

    private void AssertVector(string text, JsonElement given)
    {
        if (!_vectors.TryGetValue(text, out var expected))
        {
            var data = PackedTensors.Read(Run(text).Bytes)[0].Data.Span;
            expected = new double[data.Length / sizeof(float)];
            for (var i = 0; i < expected.Length; i++)
            {
                expected[i] = BinaryPrimitives.ReadSingleLittleEndian(data[(i * sizeof(float))..]);
            }

            _vectors[text] = expected;
        }

        var at = 0;
        foreach (var value in given.GetProperty("embedding").EnumerateArray())
        {
            AssertClose(expected[at++], value.GetDouble(), text);
        }

        Assert.Equal(expected.Length, at);
    }

    private void AssertLabels(string text, JsonElement given)
    {
        if (!_labels.TryGetValue(text, out var expected))
        {
            using var output = JsonDocument.Parse(Run(text).Bytes);
            expected = _labels[text] = Labels(output.RootElement);
        }

        var labels = Labels(given);
        Assert.Equal(expected.Length, labels.Length);
        for (var i = 0; i < labels.Length; i++)
        {
            AssertClose(expected[i].Score, labels[i].Score, text);
        }

        // Labels of equal score may change places.
        Assert.True(
            expected[0].Label == labels[0].Label || expected[0].Score - expected[1].Score < Tolerance,
            $"\"{text}\" is {expected[0].Label}, given {labels[0].Label}."
        );
    }

    private TaskOutput Run(string text)
    {
        using var ran = _model.Run(_model.Pack([_model.Prepare(Encoding.UTF8.GetBytes(text))]), CancellationToken.None);
        return ran.Result(0);
    }

    private static (string Label, double Score)[] Labels(JsonElement output) =>
        [
            .. output
                .GetProperty("labels")
                .EnumerateArray()
                .Select(label => (label.GetProperty("label").GetString()!, label.GetProperty("score").GetDouble())),
        ];

    private static void AssertClose(double expected, double given, string text) =>
        Assert.True(Math.Abs(expected - given) <= Tolerance, $"\"{text}\" gives {expected}, given {given}.");
}
