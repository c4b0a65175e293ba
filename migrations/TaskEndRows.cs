using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// Ends of tasks, column by column as they travel to PostgreSQL. Collect, hand to <see cref="TaskEnds.WriteAsync"/>, clear, and use again.
/// </summary>
public sealed class TaskEndRows
{
    private readonly List<Guid> _jobs = [];
    private readonly List<int> _seqs = [];
    private readonly List<int> _chunks = [];
    private readonly List<string> _customIds = [];
    private readonly List<string> _outcomes = [];
    private readonly List<byte[]?> _outputs = [];
    private readonly List<string?> _contentTypes = [];
    private readonly List<string?> _errorCodes = [];
    private readonly List<string?> _errorMessages = [];
    private readonly List<string> _models = [];
    private readonly List<short> _turns = [];
    private readonly List<long> _costs = [];
    private readonly List<Guid?> _batches = [];
    private readonly List<long> _queuedUs = [];
    private readonly List<int> _stagedUs = [];
    private readonly List<int> _deviceUs = [];
    private readonly List<long> _totalUs = [];
    private readonly List<int> _units = [];
    private readonly List<string?> _reused = [];
    private readonly List<long?> _savedPico = [];

    /// <summary>The turn of each row's chunk where its job has a route, else 0.</summary>
    private readonly List<short> _routeTurns = [];
    private readonly HashSet<ChunkKey> _keys = [];
    private ChunkKey? _lastKey;

    public int Count => _jobs.Count;

    /// <summary>The chunks the rows belong to.</summary>
    internal IReadOnlyList<ChunkKey> Chunks => [.. _keys];

    /// <summary>True when a row belongs to a job with a route.</summary>
    internal bool AnyRouted { get; private set; }

    /// <summary>Adds one task's end.</summary>
    /// <param name="chunk">Number of its chunk in the job.</param>
    /// <param name="seq">Number of the task in the job.</param>
    /// <param name="output">Bytes of the output; for <see cref="TaskOutcome.Succeeded"/> and for nothing else, as <paramref name="contentType"/>.</param>
    /// <param name="errorCode">Wire name of a <see cref="FailureKind"/>; for anything but success, as <paramref name="errorMessage"/>.</param>
    /// <param name="model">The version that answered, <c>name@version</c>.</param>
    /// <param name="turns">Model executions it took, over all turns.</param>
    /// <param name="costPico">Pico-USD of task work in this chunk, never of waste. What earlier turns cost is added as it is written.</param>
    /// <param name="queuedUs">Microseconds from acceptance to dispatch.</param>
    /// <param name="stagedUs">Microseconds from dispatch to the device.</param>
    /// <param name="deviceUs">Microseconds of its batch on the device.</param>
    /// <param name="totalUs">Microseconds from acceptance to result.</param>
    /// <param name="units">Its units as the worker counted them; those of a task that succeeded are charged for.</param>
    /// <param name="reused">Where a result comes from that was made for another task; it has no cost and no batch then.</param>
    /// <param name="savedPico">Pico-USD that this other task cost.</param>
    /// <param name="routeTurn">The turn of its chunk where its job has a route, else 0.</param>
    public void Add(
        JobId job,
        int chunk,
        int seq,
        TaskOutcome outcome,
        string customId,
        byte[]? output,
        string? contentType,
        string? errorCode,
        string? errorMessage,
        string model,
        short turns,
        long costPico,
        BatchId? batch,
        long queuedUs,
        int stagedUs,
        int deviceUs,
        long totalUs,
        int units = 0,
        ReuseSource? reused = null,
        long savedPico = 0,
        int routeTurn = 0
    )
    {
        _jobs.Add(job.Value);
        _seqs.Add(seq);
        _chunks.Add(chunk);
        _customIds.Add(customId);
        _outcomes.Add(outcome.Name());
        _outputs.Add(output);
        _contentTypes.Add(contentType);
        _errorCodes.Add(errorCode);
        _errorMessages.Add(errorMessage);
        _models.Add(model);
        _turns.Add(turns);
        _costs.Add(costPico);
        _batches.Add(batch?.Value);
        _queuedUs.Add(queuedUs);
        _stagedUs.Add(stagedUs);
        _deviceUs.Add(deviceUs);
        _totalUs.Add(totalUs);
        _units.Add(units);
        _reused.Add(reused?.Name());
        _savedPico.Add(reused is null ? null : savedPico);
        _routeTurns.Add((short)routeTurn);
        AnyRouted |= routeTurn > 0;

        // Rows come chunk after chunk as a rule: one look-up a chunk, not one a row.
        var key = new ChunkKey(job, chunk);
        if (_lastKey != key)
        {
            _lastKey = key;
            _keys.Add(key);
        }
    }

    public void Clear()
    {
        _jobs.Clear();
        _seqs.Clear();
        _chunks.Clear();
        _customIds.Clear();
        _outcomes.Clear();
        _outputs.Clear();
        _contentTypes.Clear();
        _errorCodes.Clear();
        _errorMessages.Clear();
        _models.Clear();
        _turns.Clear();
        _costs.Clear();
        _batches.Clear();
        _queuedUs.Clear();
        _stagedUs.Clear();
        _deviceUs.Clear();
        _totalUs.Clear();
        _units.Clear();
        _reused.Clear();
        _savedPico.Clear();
        _routeTurns.Clear();
        AnyRouted = false;
        _keys.Clear();
        _lastKey = null;
    }

    /// <summary>Job, task and cost of a row.</summary>
    public (JobId Job, int Chunk, int Seq, long CostPico) this[int row] => (new JobId(_jobs[row]), _chunks[row], _seqs[row], _costs[row]);

    /// <summary>How the row's task ended, by its wire name.</summary>
    public string OutcomeOf(int row) => _outcomes[row];

    /// <summary>Where a reused row's result comes from, and what it saved; null for a row that ran.</summary>
    public (string Source, long SavedPico)? ReusedOf(int row) => _reused[row] is { } source ? (source, _savedPico[row]!.Value) : null;

    /// <summary>What the task cost over all its turns.</summary>
    internal void SetCost(int row, long costPico) => _costs[row] = costPico;

    /// <summary>A row as who waits for it is told.</summary>
    /// <param name="outputBytesMax">A longer output is left out.</param>
    public TaskAnswer AnswerOf(int row, int outputBytesMax) =>
        new(
            new JobId(_jobs[row]),
            _seqs[row],
            _customIds[row],
            _outcomes[row],
            _outputs[row]?.Length <= outputBytesMax ? _outputs[row] : null,
            _contentTypes[row],
            _errorCodes[row],
            _errorMessages[row],
            _models[row],
            _turns[row],
            _costs[row],
            _queuedUs[row],
            _stagedUs[row],
            _deviceUs[row],
            _totalUs[row],
            _reused[row]
        );

    /// <summary>True when no task is there twice.</summary>
    internal bool AreDistinct()
    {
        var tasks = new HashSet<(Guid, int)>(Count);
        for (var row = 0; row < Count; row++)
        {
            if (!tasks.Add((_jobs[row], _seqs[row])))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>What the rows come to in each of their chunks.</summary>
    internal IReadOnlyList<ChunkCounts> CountByChunk()
    {
        var byKey = new Dictionary<ChunkKey, ChunkCounts>(_keys.Count);
        ChunkCounts? counts = null;
        for (var row = 0; row < Count; row++)
        {
            var key = new ChunkKey(new JobId(_jobs[row]), _chunks[row]);
            if (counts?.Key != key && !byKey.TryGetValue(key, out counts))
            {
                byKey[key] = counts = new ChunkCounts(key);
            }

            counts.Add(_seqs[row], _outcomes[row], _costs[row], _units[row]);
        }

        return [.. byKey.Values];
    }

    /// <summary>Copies the rows into <c>results</c>, which may have none of them.</summary>
    internal async Task CopyAsync(NpgsqlConnection connection, DateTimeOffset now, CancellationToken stop)
    {
        var finishedAt = now.ToUniversalTime();
        await using var copy = await connection.BeginBinaryImportAsync(
            """
            COPY results (job, seq, chunk, custom_id, status, output, content_type, error_code, error_message, model, turns, cost_pico, batch,
                          queued_us, staged_us, device_us, total_us, units, reused, saved_pico, finished_at) FROM STDIN (FORMAT BINARY)
            """,
            stop
        );
        for (var row = 0; row < Count; row++)
        {
            await copy.StartRowAsync(stop);
            await copy.WriteAsync(_jobs[row], NpgsqlDbType.Uuid, stop);
            await copy.WriteAsync(_seqs[row], NpgsqlDbType.Integer, stop);
            await copy.WriteAsync(_chunks[row], NpgsqlDbType.Integer, stop);
            await copy.WriteAsync(_customIds[row], NpgsqlDbType.Text, stop);
            await copy.WriteAsync(_outcomes[row], NpgsqlDbType.Text, stop);
            await copy.WriteAsync(_outputs[row], NpgsqlDbType.Bytea, stop);
            await copy.WriteAsync(_contentTypes[row], NpgsqlDbType.Text, stop);
            await copy.WriteAsync(_errorCodes[row], NpgsqlDbType.Text, stop);
            await copy.WriteAsync(_errorMessages[row], NpgsqlDbType.Text, stop);
            await copy.WriteAsync(_models[row], NpgsqlDbType.Text, stop);
            await copy.WriteAsync(_turns[row], NpgsqlDbType.Smallint, stop);
            await copy.WriteAsync(_costs[row], NpgsqlDbType.Bigint, stop);
            await copy.WriteAsync(_batches[row], NpgsqlDbType.Uuid, stop);
            await copy.WriteAsync(_queuedUs[row], NpgsqlDbType.Bigint, stop);
            await copy.WriteAsync(_stagedUs[row], NpgsqlDbType.Integer, stop);
            await copy.WriteAsync(_deviceUs[row], NpgsqlDbType.Integer, stop);
            await copy.WriteAsync(_totalUs[row], NpgsqlDbType.Bigint, stop);
            await copy.WriteAsync(_units[row], NpgsqlDbType.Integer, stop);
            await copy.WriteAsync(_reused[row], NpgsqlDbType.Text, stop);
            await copy.WriteAsync(_savedPico[row], NpgsqlDbType.Bigint, stop);
            await copy.WriteAsync(finishedAt, NpgsqlDbType.TimestampTz, stop);
        }

        await copy.CompleteAsync(stop);
    }

    /// <summary>The columns as arrays, in the order of the INSERT.</summary>
    internal void AddTo(NpgsqlParameterCollection parameters)
    {
        Add(NpgsqlDbType.Uuid, _jobs);
        Add(NpgsqlDbType.Integer, _seqs);
        Add(NpgsqlDbType.Integer, _chunks);
        Add(NpgsqlDbType.Text, _customIds);
        Add(NpgsqlDbType.Text, _outcomes);
        Add(NpgsqlDbType.Bytea, _outputs);
        Add(NpgsqlDbType.Text, _contentTypes);
        Add(NpgsqlDbType.Text, _errorCodes);
        Add(NpgsqlDbType.Text, _errorMessages);
        Add(NpgsqlDbType.Text, _models);
        Add(NpgsqlDbType.Smallint, _turns);
        Add(NpgsqlDbType.Bigint, _costs);
        Add(NpgsqlDbType.Uuid, _batches);
        Add(NpgsqlDbType.Bigint, _queuedUs);
        Add(NpgsqlDbType.Integer, _stagedUs);
        Add(NpgsqlDbType.Integer, _deviceUs);
        Add(NpgsqlDbType.Bigint, _totalUs);
        Add(NpgsqlDbType.Integer, _units);
        Add(NpgsqlDbType.Text, _reused);
        Add(NpgsqlDbType.Bigint, _savedPico);
        if (AnyRouted)
        {
            Add(NpgsqlDbType.Smallint, _routeTurns);
        }

        void Add<T>(NpgsqlDbType element, List<T> column) =>
            parameters.Add(new NpgsqlParameter<List<T>> { TypedValue = column, NpgsqlDbType = NpgsqlDbType.Array | element });
    }
}

/// <summary>What rows come to in one chunk.</summary>
internal sealed class ChunkCounts(ChunkKey key)
{
    private static readonly TaskOutcome[] Outcomes = Enum.GetValues<TaskOutcome>();
    private readonly List<int> _seqs = [];
    private readonly int[] _ended = new int[Outcomes.Length];

    public ChunkKey Key { get; } = key;

    public IReadOnlyList<int> Seqs => _seqs;

    public long CostPico { get; private set; }

    /// <summary>Units of those that succeeded.</summary>
    public long UnitsDone { get; private set; }

    public int Of(TaskOutcome outcome) => _ended[(int)outcome];

    public void Add(int seq, string outcome, long costPico, int units)
    {
        _seqs.Add(seq);
        CostPico += costPico;
        var ended = Array.FindIndex(Outcomes, o => o.Name() == outcome);
        _ended[ended]++;
        UnitsDone += ended == (int)TaskOutcome.Succeeded ? units : 0;
    }
}
