using Pipeline.Contracts;
using Pipeline.GpuWorker.OnnxRuntime;
using Pipeline.StarterModels.Onnx;
using Xunit;

namespace Pipeline.Tests.Integration.StarterModels;

public sealed class EncoderModelTests
{
    private const int Hidden = 24;

    [Fact]
    public void Gives_each_token_a_normalised_vector()
    {
        using var session = LoadSmall();

        var vectors = Run(session, [3, 1, 4, 1], [1, 1, 1, 1]).Chunk(Hidden).ToArray();

        Assert.Equal(4, vectors.Length);
        Assert.All(vectors, vector => Assert.Equal(1, vector.Average(value => value * value), 3));
        Assert.NotEqual(vectors[1], vectors[3]);
    }

    [Fact]
    public void Padding_behind_the_mask_changes_no_token()
    {
        using var session = LoadSmall();

        var alone = Run(session, [3, 1, 4], [1, 1, 1]);
        var padded = Run(session, [3, 1, 4, 0, 0], [1, 1, 1, 0, 0]);

        Assert.Equal(alone, padded.AsSpan(0, alone.Length).ToArray(), (a, b) => Math.Abs(a - b) < 1e-5);
    }

    private static InferenceSession LoadSmall() =>
        GraphRun.Load(
            EncoderModel.Create(layers: 2, Hidden, heads: 3, feedForward: 48, vocabulary: 10, maxPositions: 8, seed: 1).ToBytes()
        );

    private static float[] Run(InferenceSession session, long[] ids, long[] mask) =>
        session.Run(
            ("input_ids", TensorElementType.Int64, ids, [1, ids.Length]),
            ("attention_mask", TensorElementType.Int64, mask, [1, mask.Length])
        );
}
