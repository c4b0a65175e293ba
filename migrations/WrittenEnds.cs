using System.Numerics;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// Which tasks of chunks one writer has ended itself. Where a locked chunk counts as many ended tasks as these, nobody else has ended any:
/// what is not among them has no result yet.
/// </summary>
public sealed class WrittenEnds
{
    /// <summary>Chunks that are remembered; beyond that all are forgotten, and their next tasks are looked for.</summary>
    private const int ChunksMax = 16_384;

    private readonly Dictionary<ChunkKey, byte[]> _tasks = [];

    /// <summary>Remembers what a write has ended, once it is committed.</summary>
    public void Take(EndedTasks ended)
    {
        foreach (var part in ended.Chunks)
        {
            if (part.Closed)
            {
                _tasks.Remove(part.Key);
            }
            else if (_tasks.TryGetValue(part.Key, out var known))
            {
                for (var i = 0; i < known.Length; i++)
                {
                    known[i] |= part.Tasks[i];
                }
            }
            else
            {
                if (_tasks.Count == ChunksMax)
                {
                    _tasks.Clear();
                }

                _tasks[part.Key] = [.. part.Tasks];
            }
        }
    }

    /// <summary>True when it is sure that none of these tasks of a locked chunk has ended.</summary>
    /// <param name="firstSeq">Number of the chunk's first task in the job.</param>
    /// <param name="ended">How many of the chunk's tasks have ended.</param>
    /// <param name="seqs">Numbers of the tasks in the job.</param>
    internal bool Excludes(ChunkKey chunk, int firstSeq, int ended, IReadOnlyList<int> seqs) =>
        ended == 0
        || (
            _tasks.TryGetValue(chunk, out var known)
            && known.Sum(bits => BitOperations.PopCount(bits)) == ended
            && seqs.All(seq => seq >= firstSeq && seq - firstSeq < known.Length * 8 && !TaskBits.Has(known, seq - firstSeq))
        );
}
