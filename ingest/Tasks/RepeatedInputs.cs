using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Pipeline.Ingest.Tasks;

/// <summary>
/// The distinct inputs of a job, to find the tasks whose input came before: their copies need no device. An input is compared as it is
/// stored (the UTF-8 of a text, the packed tensors of a tensor task), so however it was written in JSON, and by 128 bits of its SHA-256.
/// Once <paramref name="inputsMax"/> distinct ones are remembered, later ones are only compared with those.
/// </summary>
/// <param name="inputsMax">0: nothing is compared.</param>
internal sealed class RepeatedInputs(int inputsMax)
{
    private readonly FirstPlaces? _places = inputsMax > 0 ? new() : null;

    /// <summary>The first task with this input; null where this one is it, or none is remembered.</summary>
    /// <param name="seq">The task's own number in the job.</param>
    public int? FirstOf(ReadOnlySpan<byte> input, int seq)
    {
        if (_places is null)
        {
            return null;
        }

        var hash = Hash(input);
        var isRepeated = _places.Count < inputsMax ? !_places.TryAdd(hash, seq, out var first) : _places.TryGet(hash, out first);
        return isRepeated ? first : null;
    }

    internal static UInt128 Hash(ReadOnlySpan<byte> input)
    {
        Span<byte> sha = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(input, sha);
        var hash = BinaryPrimitives.ReadUInt128LittleEndian(sha);
        return hash == UInt128.Zero ? UInt128.One : hash;
    }
}
