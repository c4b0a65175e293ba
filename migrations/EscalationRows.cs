using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>The chunk that tasks escalate from, and where to.</summary>
/// <param name="Root">Number of the chunk that holds the payload: <paramref name="Key"/>'s own, unless its tasks escalated before.</param>
/// <param name="FirstSeq">The job's number of the run's first task.</param>
/// <param name="Next">The variant that runs them next.</param>
public readonly record struct EscalationFrom(ChunkKey Key, int Root, int FirstSeq, ModelRef Next);

/// <summary>Turns whose answers were not accepted, column by column as they travel to PostgreSQL, beside <see cref="TaskEndRows"/>.</summary>
public sealed class EscalationRows
{
    private readonly List<Guid> _jobs = [];
    private readonly List<int> _seqs = [];
    private readonly List<short> _turns = [];
    private readonly List<int> _chunks = [];
    private readonly List<string> _models = [];
    private readonly List<Guid> _batches = [];
    private readonly List<int> _units = [];
    private readonly List<long> _costs = [];
    private readonly Dictionary<ChunkKey, EscalationFrom> _from = [];

    public int Count => _jobs.Count;

    /// <summary>The chunks that tasks leave.</summary>
    internal IReadOnlyDictionary<ChunkKey, EscalationFrom> From => _from;

    /// <summary>Adds one turn.</summary>
    /// <param name="seq">Number of the task in the job.</param>
    /// <param name="turn">From 1.</param>
    /// <param name="model">The version that ran, <c>name@version</c>.</param>
    /// <param name="units">Its units as the worker counted them.</param>
    /// <param name="costPico">Pico-USD of this turn.</param>
    public void Add(in EscalationFrom from, int seq, int turn, string model, BatchId batch, int units, long costPico)
    {
        _jobs.Add(from.Key.Job.Value);
        _seqs.Add(seq);
        _turns.Add((short)turn);
        _chunks.Add(from.Key.No);
        _models.Add(model);
        _batches.Add(batch.Value);
        _units.Add(units);
        _costs.Add(costPico);
        _from[from.Key] = from;
    }

    public void Clear()
    {
        _jobs.Clear();
        _seqs.Clear();
        _turns.Clear();
        _chunks.Clear();
        _models.Clear();
        _batches.Clear();
        _units.Clear();
        _costs.Clear();
        _from.Clear();
    }

    /// <summary>Chunk, task, turn and units of a row.</summary>
    public (ChunkKey Chunk, int Seq, short Turn, int Units) this[int row] =>
        (new ChunkKey(new JobId(_jobs[row]), _chunks[row]), _seqs[row], _turns[row], _units[row]);

    /// <summary>The columns as arrays, in the order of the INSERT.</summary>
    internal void AddTo(NpgsqlParameterCollection parameters)
    {
        Add(NpgsqlDbType.Uuid, _jobs);
        Add(NpgsqlDbType.Integer, _seqs);
        Add(NpgsqlDbType.Smallint, _turns);
        Add(NpgsqlDbType.Integer, _chunks);
        Add(NpgsqlDbType.Text, _models);
        Add(NpgsqlDbType.Uuid, _batches);
        Add(NpgsqlDbType.Integer, _units);
        Add(NpgsqlDbType.Bigint, _costs);

        void Add<T>(NpgsqlDbType element, List<T> column) =>
            parameters.Add(new NpgsqlParameter<List<T>> { TypedValue = column, NpgsqlDbType = NpgsqlDbType.Array | element });
    }
}

/// <summary>Tasks that left a chunk in one write, all to one new chunk of the next variant.</summary>
/// <param name="Own">Which tasks of the run, as <see cref="TaskBits"/>.</param>
/// <param name="Turn">The turn they take next.</param>
internal sealed record Escalation(EscalationFrom From, byte[] Own, int Tasks, long Units, int UnitsMax, int Turn)
{
    /// <summary>
    /// Makes the chunks, numbered behind those their jobs have; the jobs' rows are locked. They count as announced: the worker's report
    /// tells of them, and the scheduler's sweep finds them should it be lost. Gives the columns of <see cref="Read"/>.
    /// </summary>
    public static NpgsqlBatchCommand Command(IReadOnlyList<Escalation> escalations, DateTimeOffset now)
    {
        return new(
            """
            WITH opened AS (
              SELECT e.*, row_number() OVER (PARTITION BY e.job ORDER BY e.place) - 1 AS nth
              FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) WITH ORDINALITY
                AS e (job, root, first_seq, own, tasks, units, units_max, turn, model, place)
            ), counted AS (
              UPDATE jobs j SET chunks = j.chunks + n.opened, open_chunks = j.open_chunks + n.opened
              FROM (SELECT job, count(*)::int AS opened FROM opened GROUP BY job) AS n
              WHERE j.id = n.job
              RETURNING j.id, j.chunks - n.opened AS first_no, j.tenant, j.class, j.deadline, coalesce(j.queued_at, j.created_at) AS queued_at
            ), made AS (
              INSERT INTO chunks (job, no, first_seq, tasks, root, own, units, units_max, remaining, turn, model, announced_at)
              SELECT o.job, c.first_no + o.nth, o.first_seq, o.tasks, o.root, o.own, o.units, o.units_max, o.tasks, o.turn, o.model, $10
              FROM opened o JOIN counted c ON c.id = o.job
            )
            SELECT o.place::int, (c.first_no + o.nth)::int, c.tenant, c.class, c.deadline, c.queued_at
            FROM opened o JOIN counted c ON c.id = o.job ORDER BY o.place
            """
        )
        {
            Parameters =
            {
                Column(NpgsqlDbType.Uuid, e => e.From.Key.Job.Value),
                Column(NpgsqlDbType.Integer, e => e.From.Root),
                Column(NpgsqlDbType.Integer, e => e.From.FirstSeq),
                Column(NpgsqlDbType.Bytea, e => e.Own),
                Column(NpgsqlDbType.Integer, e => e.Tasks),
                Column(NpgsqlDbType.Bigint, e => e.Units),
                Column(NpgsqlDbType.Integer, e => e.UnitsMax),
                Column(NpgsqlDbType.Smallint, e => (short)e.Turn),
                Column(NpgsqlDbType.Text, e => e.From.Next.ToString()),
                new() { Value = now.ToUniversalTime(), NpgsqlDbType = NpgsqlDbType.TimestampTz },
            },
        };

        NpgsqlParameter Column<T>(NpgsqlDbType element, Func<Escalation, T> value) =>
            new() { Value = escalations.Select(value).ToArray(), NpgsqlDbType = NpgsqlDbType.Array | element };
    }

    /// <summary>The new chunk, as the scheduler is told of it.</summary>
    public static OpenedChunk Read(IReadOnlyList<Escalation> escalations, NpgsqlDataReader reader)
    {
        var escalation = escalations[reader.GetInt32(0) - 1];
        var chunk = new ChunkSubmitted
        {
            Job = escalation.From.Key.Job,
            No = reader.GetInt32(1),
            Tenant = new TenantId(reader.GetGuid(2)),
            Model = escalation.From.Next,
            Class = LatencyClasses.TryParse(reader.GetString(3), out var latencyClass) ? latencyClass : LatencyClass.Bulk,
            Deadline = reader.GetFieldValue<DateTimeOffset>(4),
            QueuedAt = reader.GetFieldValue<DateTimeOffset>(5),
            FirstSeq = escalation.From.FirstSeq,
            Tasks = escalation.Tasks,
            Units = escalation.Units,
            UnitsMax = escalation.UnitsMax,
        };
        return new OpenedChunk(escalation.From.Key, chunk);
    }
}

/// <summary>A chunk that was made for tasks that escalated.</summary>
/// <param name="From">The chunk they left.</param>
public sealed record OpenedChunk(ChunkKey From, ChunkSubmitted Chunk);
