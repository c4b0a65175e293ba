using System.Security.Cryptography;
using Pipeline.Contracts;
using Pipeline.StarterModels.Onnx;
using static Pipeline.Tests.Support.Models.Manifests;

namespace Pipeline.Tests.Support.Models;

/// <summary>
/// A small encoder that takes the device about a millisecond a text: a job of some thousands then lasts for seconds, so that a test
/// can do something to it in the middle.
/// </summary>
internal static class SlowEncoder
{
    public const string Name = "slow-encoder";
    private const int LengthMax = 128;

    /// <summary>Writes the model and its manifest, ready to be registered.</summary>
    public static void Write(string folder)
    {
        Directory.CreateDirectory(folder);
        var bytes = EncoderModel
            .Create(layers: 4, hidden: 64, heads: 4, feedForward: 256, vocabulary: 256, maxPositions: LengthMax, seed: 7)
            .ToBytes();
        File.WriteAllBytes(Path.Combine(folder, "model.onnx"), bytes);
        var manifest = Describe(
            ModelKind.Text,
            new() { ["input_ids"] = Along(0), ["attention_mask"] = Along(0) },
            new() { ["last_hidden_state"] = Along(0) },
            new TokenizerSpec { Type = TokenizerType.Bytes, MaxLength = LengthMax },
            new ResultSpec
            {
                Type = ResultType.Embedding,
                From = "last_hidden_state",
                Pooling = Pooling.Mean,
                Normalize = true,
            },
            new LimitSpec { BatchRowsMax = 64, PaddedUnitsMax = 8192 },
            Name
        );
        File.WriteAllText(
            Path.Combine(folder, "model.json"),
            (manifest with { Sha256 = Convert.ToHexStringLower(SHA256.HashData(bytes)) }).ToJson()
        );
    }
}
