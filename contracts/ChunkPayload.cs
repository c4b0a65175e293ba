using System.Buffers;
using System.IO.Compression;

namespace Pipeline.Contracts;

/// <summary>
/// The tasks of a chunk as stored in <c>chunks.payload</c>: small on disk, quick to read.
/// <code>
/// byte format (1, or 2 where tasks are copies), byte codec (0 as is, 1 Brotli), varint tasks, varint body length, body
/// body, per task: varint length + UTF-8 custom_id, varint units, varint length + input bytes
///       format 2, then: varint copies, per copy: varint task, varint seq of its original
/// </code>
/// A text task's input is its UTF-8 text; a tensor task's is a <see cref="PackedTensors"/> pack. A copy has the same input as a task
/// before it in the job, its original; it carries it all the same, so that it can run where its original has no result to give.
/// </summary>
public sealed class ChunkPayload : IDisposable
{
    /// <summary>Tasks a chunk holds at most.</summary>
    public const int TasksMax = 512;

    /// <summary>Bytes of a chunk's body at most, unless one larger task is alone in it.</summary>
    public const int BodyBytesMax = 1024 * 1024;

    /// <summary>Bytes no body reaches, since one task has at most some MiB: a larger length is a broken one.</summary>
    private const int BodyBytesLimit = 256 * 1024 * 1024;

    internal const byte Format = 1;
    internal const byte FormatWithCopies = 2;
    internal const byte CodecNone = 0;
    internal const byte CodecBrotli = 1;

    private readonly (int CustomId, int CustomIdLength, int Input, int InputLength, int Units)[] _tasks;
    private readonly Dictionary<int, int>? _originals;
    private byte[]? _body;

    private ChunkPayload(byte[] body, (int, int, int, int, int)[] tasks, Dictionary<int, int>? originals)
    {
        _body = body;
        _tasks = tasks;
        _originals = originals;
    }

    public int Count => _tasks.Length;

    public ReadOnlyMemory<byte> CustomId(int task) => Body.AsMemory(_tasks[task].CustomId, _tasks[task].CustomIdLength);

    public ReadOnlyMemory<byte> Input(int task) => Body.AsMemory(_tasks[task].Input, _tasks[task].InputLength);

    /// <summary>Units as estimated at the door.</summary>
    public int Units(int task) => _tasks[task].Units;

    /// <summary>True when some of its tasks are copies.</summary>
    public bool HasCopies => _originals is not null;

    /// <summary>The job's number of the first task with the same input; null for a task that is no copy.</summary>
    public int? CopyOf(int task) => _originals is not null && _originals.TryGetValue(task, out var seq) ? seq : null;

    private byte[] Body => _body ?? throw new ObjectDisposedException(nameof(ChunkPayload));

    /// <summary>Unpacks; the memory it hands out is pooled and lives until <see cref="Dispose"/>.</summary>
    /// <exception cref="InvalidDataException">The bytes are not a chunk's payload.</exception>
    public static ChunkPayload Read(ReadOnlySpan<byte> packed)
    {
        if (packed.Length < 2 || packed[0] is not (Format or FormatWithCopies) || packed[1] > CodecBrotli)
        {
            throw Broken();
        }

        var head = 2;
        var count = Number(packed, ref head);
        var length = Number(packed, ref head);
        if (length > BodyBytesLimit)
        {
            throw Broken();
        }

        var body = ArrayPool<byte>.Shared.Rent(Math.Max(1, length));
        try
        {
            Unpack(packed[1], packed[head..], body.AsSpan(0, length));
            var at = 0;
            var tasks = Index(body.AsSpan(0, length), count, ref at);
            var originals = packed[0] == FormatWithCopies ? Originals(body.AsSpan(0, length), count, ref at) : null;
            return at == length ? new ChunkPayload(body, tasks, originals) : throw Broken();
        }
        catch
        {
            ArrayPool<byte>.Shared.Return(body);
            throw;
        }
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _body, null) is { } body)
        {
            ArrayPool<byte>.Shared.Return(body);
        }
    }

    private static void Unpack(byte codec, ReadOnlySpan<byte> from, Span<byte> to)
    {
        if (codec == CodecNone)
        {
            if (from.Length != to.Length)
            {
                throw Broken();
            }

            from.CopyTo(to);
        }
        else if (!BrotliDecoder.TryDecompress(from, to, out var written) || written != to.Length)
        {
            throw Broken();
        }
    }

    private static (int, int, int, int, int)[] Index(ReadOnlySpan<byte> body, int count, ref int at)
    {
        if (count > body.Length)
        {
            throw Broken();
        }

        var tasks = new (int, int, int, int, int)[count];
        for (var i = 0; i < count; i++)
        {
            var idLength = Number(body, ref at);
            var id = Skip(body, ref at, idLength);
            var units = Number(body, ref at);
            var inputLength = Number(body, ref at);
            var input = Skip(body, ref at, inputLength);
            tasks[i] = (id, idLength, input, inputLength, units);
        }

        return tasks;
    }

    private static Dictionary<int, int> Originals(ReadOnlySpan<byte> body, int count, ref int at)
    {
        var copies = Number(body, ref at);
        if (copies > count)
        {
            throw Broken();
        }

        var originals = new Dictionary<int, int>(copies);
        for (var i = 0; i < copies; i++)
        {
            var task = Number(body, ref at);
            if (task >= count || !originals.TryAdd(task, Number(body, ref at)))
            {
                throw Broken();
            }
        }

        return originals;
    }

    private static int Skip(ReadOnlySpan<byte> body, ref int at, int length)
    {
        if (length > body.Length - at)
        {
            throw Broken();
        }

        at += length;
        return at - length;
    }

    private static int Number(ReadOnlySpan<byte> span, ref int at) =>
        Varint.TryRead(span, ref at, out var value) && value <= int.MaxValue ? (int)value : throw Broken();

    private static InvalidDataException Broken() => new("These bytes are not a chunk's payload.");
}

/// <summary>Collects tasks until the chunk is full, then packs them. One instance serves chunk after chunk.</summary>
public sealed class ChunkPayloadWriter
{
    private readonly ArrayBufferWriter<byte> _body = new(64 * 1024);
    private readonly List<(int Task, int Original)> _copies = [];
    private long _unitsToRun;

    public int Count { get; private set; }

    public long Units { get; private set; }

    /// <summary>Units of the tasks that are no copies, 1 at least: what a device is needed for, and hence what is scheduled.</summary>
    public long UnitsToRun => Math.Max(_unitsToRun, Math.Min(1, Count));

    /// <summary>Units of the longest task that is no copy, 1 at least.</summary>
    public int UnitsMax { get; private set; }

    public int BodyBytes => _body.WrittenCount;

    /// <summary>True when a task with these lengths may still join; an empty chunk takes any one task.</summary>
    /// <param name="isCopy">True where an earlier task of the job has the same input.</param>
    public bool Fits(int customIdBytes, int inputBytes, bool isCopy = false) =>
        Count == 0
        || (
            Count < ChunkPayload.TasksMax
            && _body.WrittenCount + customIdBytes + inputBytes + (3 * Varint.BytesMax) + CopiesBytesMax(isCopy) <= ChunkPayload.BodyBytesMax
        );

    private int CopiesBytesMax(bool oneMore) =>
        _copies.Count + (oneMore ? 1 : 0) is var copies and > 0 ? ((2 * copies) + 1) * Varint.BytesMax : 0;

    /// <param name="copyOf">The job's number of the first task with this input; null where none came before.</param>
    public void Add(ReadOnlySpan<byte> customId, ReadOnlySpan<byte> input, int units, int? copyOf = null)
    {
        Varint.Write(_body, (ulong)customId.Length);
        _body.Write(customId);
        Varint.Write(_body, (ulong)units);
        Varint.Write(_body, (ulong)input.Length);
        _body.Write(input);
        if (copyOf is { } original)
        {
            _copies.Add((Count, original));
        }
        else
        {
            _unitsToRun += units;
        }

        UnitsMax = Math.Max(UnitsMax, copyOf is null ? units : 1);
        Units += units;
        Count++;
    }

    /// <summary>Packs what was added and starts anew. Brotli at its quickest; kept as is where that saves nothing.</summary>
    public byte[] Finish()
    {
        AddCopies();
        var body = _body.WrittenSpan;
        Span<byte> head = stackalloc byte[2 + (2 * Varint.BytesMax)];
        head[0] = _copies.Count == 0 ? ChunkPayload.Format : ChunkPayload.FormatWithCopies;
        var headLength = 2;
        headLength += Varint.Write(head[headLength..], (ulong)Count);
        headLength += Varint.Write(head[headLength..], (ulong)body.Length);

        var room = ArrayPool<byte>.Shared.Rent(headLength + Math.Max(body.Length, 16));
        try
        {
            var packed =
                BrotliEncoder.TryCompress(body, room.AsSpan(headLength, body.Length), out var written, quality: 1, window: 18)
                && written < body.Length;
            head[1] = packed ? ChunkPayload.CodecBrotli : ChunkPayload.CodecNone;
            head[..headLength].CopyTo(room);
            if (!packed)
            {
                body.CopyTo(room.AsSpan(headLength));
                written = body.Length;
            }

            return room.AsSpan(0, headLength + written).ToArray();
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(room);
            _body.ResetWrittenCount();
            _copies.Clear();
            (Count, Units, UnitsMax, _unitsToRun) = (0, 0, 0, 0);
        }
    }

    private void AddCopies()
    {
        if (_copies.Count == 0)
        {
            return;
        }

        Varint.Write(_body, (ulong)_copies.Count);
        foreach (var (task, original) in _copies)
        {
            Varint.Write(_body, (ulong)task);
            Varint.Write(_body, (ulong)original);
        }
    }
}
