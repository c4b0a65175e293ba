using System.Buffers;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models.Manifests;
using Pipeline.GpuWorker.Models.Packing;

namespace Pipeline.GpuWorker.Models.Registration;

/// <summary>
/// Inputs to try a model with: those its owner gave, kept beside the manifest, else made up. Made-up text is random letters; made-up
/// tensors are 0 to 1, with 16 wherever the shape is free. The same seed gives the same input.
/// </summary>
internal static class SampleInputs
{
    /// <summary>A stored input that the owner gave at registration.</summary>
    public const string File = "sample.bin";

    /// <summary>Size of every free dimension of a made-up tensor.</summary>
    public const int FreeDimension = 16;

    /// <summary>The owner's sample where there is one, else a short made-up input.</summary>
    public static byte[] First(ModelManifest manifest, string directory)
    {
        var path = Path.Combine(directory, File);
        return System.IO.File.Exists(path) ? System.IO.File.ReadAllBytes(path) : Make(manifest, Math.Min(16, LengthMax(manifest)), seed: 0);
    }

    /// <summary>Tokens of the longest text; 1 for tensors.</summary>
    public static int LengthMax(ModelManifest manifest) => manifest.Tokenizer?.MaxLength ?? 1;

    /// <param name="manifest">A completed manifest.</param>
    /// <param name="length">Tokens of a text.</param>
    /// <param name="seed">Another seed, another input.</param>
    public static byte[] Make(ModelManifest manifest, int length, int seed)
    {
        // Chance, but the same chance every time: a profile must not depend on the day.
        var random = new Random(seed);
        return manifest.Tokenizer is { } tokenizer ? MakeText(tokenizer.Type, length, random) : MakeTensors(manifest, random);
    }

    private static byte[] MakeText(TokenizerType type, int length, Random random)
    {
        // Words of one letter are one token each, known or not; [CLS] and [SEP] come to them.
        var isWordPiece = type == TokenizerType.WordPiece;
        var text = new byte[isWordPiece ? Math.Max(1, 2 * (length - 2)) : length];
        for (var i = 0; i < text.Length; i++)
            text[i] = (isWordPiece ? i % 2 == 1 : i % 6 == 5) ? (byte)' ' : (byte)random.Next('a', 'z' + 1);
        return text;
    }

    private static byte[] MakeTensors(ModelManifest manifest, Random random)
    {
        var pack = new ArrayBufferWriter<byte>();
        PackedTensors.WriteCount(pack, manifest.Inputs.Count);
        foreach (var (name, spec) in manifest.Inputs)
        {
            var type = spec.ElementType();
            long[] shape = [.. spec.TaskShape().Select(dim => dim < 0 ? FreeDimension : dim)];
            PackedTensors.WriteHeader(pack, name, type, shape);
            for (var left = shape.Aggregate(1L, (product, dim) => product * dim); left > 0; left--)
            {
                if (type == TensorElementType.String)
                    PackedTensors.WriteString(pack, "a"u8);
                else
                    pack.Write(PadElement.Create(type, PadElement.IsReal(type.Name()) ? random.NextDouble() : random.Next(2)));
            }
        }
        return pack.WrittenSpan.ToArray();
    }
}
