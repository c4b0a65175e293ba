using System.Security.Cryptography;
using System.Text;

namespace Pipeline.Contracts;

/// <summary>
/// What a cached result is kept under: SHA-256 of the model and the input, each by the bytes that decide the output.
/// <list type="bullet">
/// <item>The model, by its completed manifest: name, version, SHA-256 of the model file, tokenizer, form of the result. Another version,
/// another file, or another manifest under the same version has other keys.</item>
/// <item>The input, as it is stored: the UTF-8 of a text, the <see cref="PackedTensors"/> of a tensor task. So the same input has one key
/// however it was written: escapes in JSON, base64 or numbers, the order of the inputs.</item>
/// </list>
/// Nothing else decides an output: tasks have no options. Should they get some, they belong in here.
/// </summary>
public static class CacheKey
{
    /// <summary>Goes up when an output would mean something else though model and input are the same.</summary>
    private const byte Form = 1;

    /// <summary>The model's part of a key.</summary>
    public static byte[] OfModel(ModelManifest manifest) => SHA256.HashData(Encoding.UTF8.GetBytes(manifest.ToJson()));

    /// <param name="model">As <see cref="OfModel"/> gives it.</param>
    /// <param name="input">As <see cref="ChunkPayload.Input"/> gives it.</param>
    public static byte[] Of(ReadOnlySpan<byte> model, ReadOnlySpan<byte> input)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData([Form]);
        hash.AppendData(model);
        hash.AppendData(input);
        return hash.GetHashAndReset();
    }
}
