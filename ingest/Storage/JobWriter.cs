using System.Text;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Ingest.Tasks;
using WorkSize = Pipeline.Scheduler.Policy.WorkSize;

namespace Pipeline.Ingest.Storage;

/// <summary>
/// Packs a job's tasks into chunks and stores them in groups: while one group is packed and written, the next is read. A job that fits
/// into one group is stored when it is queued, in one transaction, with others that come at the same time. What was not queued leaves nothing behind. A task whose input came
/// before in the job is marked as a copy of the first.
/// </summary>
internal sealed class JobWriter(JobOrder ordered, JobStore store, GroupCommit commit, UploadLeases leases, IngestOptions options)
    : IUploadSink
{
    private JobOrder _order = ordered;
    private readonly List<ChunkHeader> _headers = [];
    private readonly Stack<ChunkPayloadWriter> _free = [];
    private List<(ChunkHeader Header, ChunkPayloadWriter Tasks)> _group = [];
    private readonly RepeatedInputs _inputs = new(ordered.Reuse ? options.RepeatedInputsMax : 0);

    /// <summary>Tasks of the group that name a group of their own.</summary>
    private List<GroupedTask> _grouped = [];
    private ChunkPayloadWriter? _chunk;
    private Task _storing = Task.CompletedTask;
    private UploadLease? _lease;
    private long _groupBytes;
    private int _tasks;
    private long _units;
    private bool _queued;

    /// <summary>True when a group is full: call <see cref="StoreAsync"/> before adding more.</summary>
    public bool IsDue => _group.Count >= options.StoreChunksMax || _groupBytes >= options.StoreBytesMax;

    public long Units => _units;

    /// <summary>What of it runs, and what is copied.</summary>
    public WorkSize Size { get; private set; }

    public int Tasks => _tasks;

    /// <summary>The chunks, once the job is queued.</summary>
    public IReadOnlyList<ChunkHeader> Chunks => _headers;

    /// <summary>The job is accepted under another class than it began with.</summary>
    public void Reclass(JobOrder accepted) => _order = accepted;

    public void Add(ReadOnlySpan<byte> customId, ReadOnlySpan<byte> input, int units, ReadOnlySpan<byte> group = default)
    {
        var copyOf = _inputs.FirstOf(input, _tasks);
        if (_chunk is not null && !_chunk.Fits(customId.Length, input.Length, copyOf is not null))
        {
            Seal();
        }

        _chunk ??= _free.TryPop(out var free) ? free : new ChunkPayloadWriter();
        if (!group.IsEmpty)
        {
            _grouped.Add(new GroupedTask(_headers.Count, (short)_chunk.Count, Encoding.ASCII.GetString(group)));
        }

        _chunk.Add(customId, input, units, copyOf);
        _tasks++;
        _units += units;
        Size = Size.With(units, isCopy: copyOf is not null);
    }

    /// <summary>Begins to store the full group, after the one before is stored.</summary>
    /// <exception cref="JobGoneException">The job was cancelled or swept away meanwhile.</exception>
    public async ValueTask StoreAsync(CancellationToken stop)
    {
        await FinishStoringAsync();
        if (_lease is null)
        {
            _lease =
                await leases.TakeAsync(UploadLeases.KeyOf(_order.Id), stop)
                ?? throw new InvalidOperationException($"Somebody else receives job {_order.Id}.");
            await store.BeginAsync(_order, stop);
        }

        var (group, grouped) = (_group, _grouped);
        (_group, _grouped, _groupBytes) = ([], grouped.FindAll(task => task.Chunk == _headers.Count), 0);
        grouped.RemoveAll(task => task.Chunk == _headers.Count);
        _stored = group;
        _storing = Task.Run(() => store.CopyAsync(_order, group, grouped, stop), stop);
    }

    private List<(ChunkHeader Header, ChunkPayloadWriter Tasks)> _stored = [];

    /// <summary>Accepts the job with all that was added.</summary>
    /// <exception cref="JobGoneException">The job was cancelled or swept away meanwhile.</exception>
    public async Task QueueAsync(DateTimeOffset queuedAt, KeptAnswer? answer, CancellationToken stop)
    {
        if (_chunk is { Count: > 0 })
        {
            Seal();
        }

        var totals = new JobTotals(_tasks, _units, _headers.Count);
        if (_lease is null)
        {
            var chunks = _group.ConvertAll(c => (c.Header, c.Tasks.Finish()));
            await commit.StoreAsync(new QueuedJob(_order, totals, chunks, _grouped, queuedAt, answer), onDisk: true, stop);
        }
        else
        {
            if (_group.Count > 0)
            {
                await StoreAsync(stop);
            }

            await FinishStoringAsync();
            if (!await store.QueueAsync(_order, totals, queuedAt, answer, stop))
            {
                throw new JobGoneException();
            }
        }

        _queued = true;
    }

    /// <summary>Takes back what was stored, unless the job was queued.</summary>
    public async ValueTask DisposeAsync()
    {
        await _storing.ContinueWith(
            static _ => { },
            CancellationToken.None,
            TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default
        );
        (_group, _grouped, _stored, _chunk) = ([], [], [], null);
        _free.Clear();
        if (_lease is null)
        {
            return;
        }

        try
        {
            if (!_queued)
            {
                await store.DeleteReceivingAsync(_order.Id, CancellationToken.None);
            }
        }
        catch (NpgsqlException)
        {
            // The server is away; the sweep takes the job back, since its lease ends here.
        }
        finally
        {
            await _lease.DisposeAsync();
            _lease = null;
        }
    }

    private void Seal()
    {
        var chunk = _chunk!;
        var firstSeq = _headers.Count == 0 ? 0 : _headers[^1].FirstSeq + _headers[^1].Tasks;
        var header = new ChunkHeader(_headers.Count, firstSeq, chunk.Count, chunk.UnitsToRun, chunk.UnitsMax);
        _headers.Add(header);
        _group.Add((header, chunk));
        _groupBytes += chunk.BodyBytes;
        _chunk = null;
    }

    private async Task FinishStoringAsync()
    {
        try
        {
            await _storing;
        }
        catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.ForeignKeyViolation)
        {
            throw new JobGoneException();
        }

        foreach (var (_, tasks) in _stored)
        {
            _free.Push(tasks);
        }

        _stored = [];
    }
}

/// <summary>The job was taken away while its body came in: cancelled by its owner, or swept.</summary>
internal sealed class JobGoneException : Exception;
