using Npgsql;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>What <see cref="TaskEnds"/> really wrote.</summary>
public sealed class EndedTasks
{
    private readonly bool[] _inserted;
    private readonly bool[] _left;

    private EndedTasks(bool[] inserted, bool[] left)
    {
        (_inserted, _left) = (inserted, left);
        Count = inserted.Count(i => i);
    }

    internal static EndedTasks None { get; } = new([], []);

    /// <summary>The chunks in which tasks ended.</summary>
    internal IReadOnlyList<ChunkPart> Chunks { get; private init; } = [];

    /// <summary>The chunks from which tasks escalated.</summary>
    internal IReadOnlyList<ChunkPart> LeftChunks { get; private init; } = [];

    /// <summary>The tasks that escalated, by the chunks they left.</summary>
    internal IReadOnlyList<Escalation> Escalations { get; private init; } = [];

    /// <summary>The chunks that were made for them; there once the second round trip was read (<see cref="ReadOpenedAsync"/>).</summary>
    public IReadOnlyList<OpenedChunk> Opened { get; private set; } = [];

    /// <summary>Results really inserted.</summary>
    public int Count { get; }

    /// <summary>False for a row whose task had ended before, or gone on to the next variant: its cost is waste.</summary>
    public bool WasInserted(int row) => _inserted[row];

    /// <summary>The same for a row of <see cref="EscalationRows"/>.</summary>
    public bool HasEscalated(int row) => _left[row];

    /// <summary>Reads the new chunks where the reader stands on them, among the results of <see cref="TaskEnds.AddCounts"/>.</summary>
    /// <returns>False where it stands on something else.</returns>
    public async Task<bool> ReadOpenedAsync(NpgsqlDataReader reader, CancellationToken stop)
    {
        if (Escalations.Count == 0 || Opened.Count > 0 || reader.FieldCount < 2)
        {
            return false;
        }

        var opened = new List<OpenedChunk>();
        while (await reader.ReadAsync(stop))
        {
            opened.Add(Escalation.Read(Escalations, reader));
        }

        Opened = opened;
        return true;
    }

    internal static EndedTasks From(TaskEndRows rows, List<ChunkPart> ended, EscalationRows escalations, List<ChunkPart> left)
    {
        var inserted = new bool[rows.Count];
        var byKey = ended.ToDictionary(c => c.Key);
        for (var row = 0; row < inserted.Length; row++)
        {
            var (job, chunk, seq, _) = rows[row];
            inserted[row] = byKey.TryGetValue(new ChunkKey(job, chunk), out var part) && part.Take(seq);
            if (inserted[row] && part!.CostOf(seq) is { } cost)
            {
                rows.SetCost(row, cost);
            }
        }

        return new EndedTasks(inserted, Take(escalations, left, out var gone))
        {
            Chunks = ended,
            LeftChunks = left,
            Escalations = gone,
        };
    }

    private static bool[] Take(EscalationRows rows, List<ChunkPart> left, out List<Escalation> escalations)
    {
        var taken = new bool[rows.Count];
        var byKey = left.ToDictionary(c => c.Key);
        var sums = new Dictionary<ChunkKey, (int Tasks, long Units, int UnitsMax, int Turn)>();
        for (var row = 0; row < taken.Length; row++)
        {
            var (chunk, seq, turn, units) = rows[row];
            taken[row] = byKey.TryGetValue(chunk, out var part) && part.Take(seq);
            if (taken[row])
            {
                var sum = sums.GetValueOrDefault(chunk);
                sums[chunk] = (sum.Tasks + 1, sum.Units + units, Math.Max(sum.UnitsMax, units), turn + 1);
            }
        }

        escalations =
        [
            .. left.Select(part =>
            {
                var (tasks, units, unitsMax, turn) = sums[part.Key];
                return new Escalation(rows.From[part.Key], part.Tasks, tasks, units, unitsMax, turn);
            }),
        ];
        return taken;
    }
}

/// <summary>One chunk's part of a write: the tasks that ended in it or left it, as the bitmap that <c>endings</c> stores.</summary>
internal sealed class ChunkPart
{
    private readonly int _firstSeq;
    private readonly byte[] _untaken;
    private readonly Dictionary<int, long>? _costs;

    private ChunkPart(
        ChunkKey key,
        int firstSeq,
        byte[] tasks,
        bool closed,
        JobState jobState,
        bool hasBudget,
        Dictionary<int, long>? costs
    )
    {
        (Key, Tasks, Closed, JobState, HasBudget) = (key, tasks, closed, jobState, hasBudget);
        (_firstSeq, _untaken, _costs) = (firstSeq, [.. tasks], costs);
    }

    public ChunkKey Key { get; }

    /// <summary>The tasks of the chunk's run, as <see cref="TaskBits"/>.</summary>
    public byte[] Tasks { get; }

    /// <summary>True when nothing of the chunk is left after this write.</summary>
    public bool Closed { get; }

    /// <summary>The job's state before this write.</summary>
    public JobState JobState { get; }

    /// <summary>True when the job may cost no more than so much.</summary>
    public bool HasBudget { get; }

    public static ChunkKey KeyOf(NpgsqlDataReader reader) => new(new JobId(reader.GetGuid(0)), reader.GetInt32(1));

    /// <summary>Reads a row of: job, chunk, the run's first and length, tasks left, state, has a budget, numbers of the tasks, and perhaps costs.</summary>
    /// <param name="given">Numbers of the tasks where the row does not have them.</param>
    /// <exception cref="InvalidOperationException">There is no such chunk, or a task lies outside of it.</exception>
    public static ChunkPart Read(NpgsqlDataReader reader, IReadOnlyList<int>? given = null)
    {
        var key = KeyOf(reader);
        if (reader.IsDBNull(2))
        {
            throw new InvalidOperationException($"Results were given for chunk {key}, which does not exist.");
        }

        var (seqs, firstSeq, span) = (given ?? reader.GetFieldValue<int[]>(7), reader.GetInt32(2), reader.GetInt32(3));
        var tasks = new byte[(span + 7) / 8];
        foreach (var seq in seqs)
        {
            if (seq < firstSeq || seq >= firstSeq + span)
            {
                throw new InvalidOperationException(
                    $"Chunk {key} has tasks {firstSeq} to {firstSeq + span - 1}, given a result for task {seq}."
                );
            }

            tasks[(seq - firstSeq) / 8] |= (byte)(1 << ((seq - firstSeq) % 8));
        }

        Dictionary<int, long>? costs = null;
        if (reader.FieldCount > 8)
        {
            costs = seqs.Zip(reader.GetFieldValue<long[]>(8)).ToDictionary(t => t.First, t => t.Second);
        }

        var state = JobStates.ParseJobState(reader.GetString(5));
        return new ChunkPart(key, firstSeq, tasks, reader.GetInt32(4) == 0, state, reader.GetBoolean(6), costs);
    }

    /// <summary>True once for each task of this write: a second row for it was not inserted.</summary>
    public bool Take(int seq)
    {
        var i = seq - _firstSeq;
        if (i < 0 || i / 8 >= _untaken.Length || (_untaken[i / 8] & (1 << (i % 8))) == 0)
        {
            return false;
        }

        _untaken[i / 8] &= (byte)~(1 << (i % 8));
        return true;
    }

    /// <summary>What a task cost over all its turns; null where only its last is known, and it has no other.</summary>
    public long? CostOf(int seq) => _costs?[seq];
}
