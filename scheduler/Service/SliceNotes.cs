using System.Collections.Concurrent;
using Pipeline.Contracts;

namespace Pipeline.Scheduler.Service;

/// <summary>
/// What came with a chunk and is no business of the policy: who waits for its results, a copy of its payload, and its trace. Kept beside the index until
/// a dispatch takes it along. All of it may be lost, by a take-over or because there is too much: then the worker reads the row, and who
/// waits reads the results. A spare keeps none.
/// </summary>
internal sealed class SliceNotes(SchedulerOptions options)
{
    private readonly ConcurrentDictionary<ChunkKey, Note> _notes = new();
    private readonly ConcurrentQueue<ChunkKey> _order = new();
    private long _payloadBytes;
    private volatile bool _isOpen;

    /// <summary>Notes held now.</summary>
    public int Count => _notes.Count;

    /// <summary>A term begins: what comes from now on may be dispatched here.</summary>
    public void Open() => _isOpen = true;

    /// <summary>The term is over: all notes go.</summary>
    public void Close()
    {
        _isOpen = false;
        while (_order.TryDequeue(out var oldest))
        {
            Forget(oldest);
        }
    }

    /// <summary>Keeps what came with the chunk, if anything did; the oldest notes go where there are too many.</summary>
    public void Take(ChunkSubmitted chunk)
    {
        if (!_isOpen || chunk.ReplyTo is null && chunk.Payload is null && chunk.Traceparent is null)
        {
            return;
        }

        var payload = chunk.Payload;
        if (payload is not null && Interlocked.Add(ref _payloadBytes, payload.Length) > options.NotedBytesMax)
        {
            Interlocked.Add(ref _payloadBytes, -payload.Length);
            payload = null;
        }

        var key = new ChunkKey(chunk.Job, chunk.No);
        if (!_notes.TryAdd(key, new Note(chunk, payload)))
        {
            Release(payload);
            return;
        }

        _order.Enqueue(key);
        while (_order.Count > options.NotesMax && _order.TryDequeue(out var oldest))
        {
            Forget(oldest);
        }
    }

    /// <summary>
    /// The dispatch with what is known of its slices. A payload travels once, with the whole chunk: what is planned again may lack only some
    /// results, and which ones the rows tell.
    /// </summary>
    public Dispatch AddTo(Dispatch dispatch)
    {
        if (_notes.IsEmpty)
        {
            return dispatch;
        }

        List<SliceNote>? notes = null;
        var bytes = 0;
        for (var i = 0; i < dispatch.Slices.Count; i++)
        {
            var slice = dispatch.Slices[i];
            if (!_notes.TryGetValue(slice.Chunk, out var note))
            {
                continue;
            }

            var payload = note.TakePayload();
            Release(payload);
            if (slice.First != 0 || slice.Count != note.Tasks || bytes + payload?.Length > options.DispatchBytesMax)
            {
                payload = null;
            }

            bytes += payload?.Length ?? 0;
            (notes ??= []).Add(new SliceNote(i, note.ReplyTo, note.FirstSeq, note.QueuedAt, payload, note.Step, note.Traceparent));
        }

        return notes is null ? dispatch : dispatch with { Notes = notes };
    }

    /// <summary>Lets go of chunks that are done.</summary>
    public void Take(DispatchFinished report)
    {
        if (_notes.IsEmpty)
        {
            return;
        }

        foreach (var slice in report.Slices)
        {
            if (slice.Outcome == SliceOutcome.Done)
            {
                Forget(new ChunkKey(slice.Job, slice.No));
            }
        }
    }

    private void Forget(ChunkKey chunk)
    {
        if (_notes.TryRemove(chunk, out var note))
        {
            Release(note.TakePayload());
        }
    }

    private void Release(byte[]? payload) => Interlocked.Add(ref _payloadBytes, -(payload?.Length ?? 0));

    private sealed class Note(ChunkSubmitted chunk, byte[]? payload)
    {
        private byte[]? _payload = payload;

        public Guid? ReplyTo { get; } = chunk.ReplyTo;

        public int FirstSeq { get; } = chunk.FirstSeq;

        public DateTimeOffset QueuedAt { get; } = chunk.QueuedAt;

        public int Tasks { get; } = chunk.Tasks;

        public RouteStep? Step { get; } = chunk.Step;

        public string? Traceparent { get; } = chunk.Traceparent;

        public byte[]? TakePayload() => Interlocked.Exchange(ref _payload, null);
    }
}
