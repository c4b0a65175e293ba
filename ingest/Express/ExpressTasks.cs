using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Pipeline.Contracts;
using Pipeline.Ingest.Storage;
using Pipeline.Ingest.Tasks;
using WorkSize = Pipeline.Scheduler.Policy.WorkSize;

namespace Pipeline.Ingest.Express;

/// <summary>The inputs of one request that is waited for, checked as its model wants them and packed into chunks.</summary>
/// <param name="reuse">False where an input that comes twice is to run twice.</param>
internal sealed class ExpressTasks(ModelManifest model, IngestOptions options, Mistakes mistakes, bool reuse = true)
{
    private readonly TaskInput _input = TaskInput.For(model, options.TaskBytesMax);
    private readonly List<(ChunkHeader Header, byte[] Payload)> _full = [];
    private readonly ChunkPayloadWriter _chunk = new();
    private readonly RepeatedInputs _inputs = new(reuse ? options.RepeatedInputsMax : 0);
    private readonly bool _isText = model.Kind == ModelKind.Text;
    private long _bytes;

    public int Count { get; private set; }

    /// <summary>Units of all tasks, as estimated at the door.</summary>
    public long Units { get; private set; }

    /// <summary>What of it runs, and what is copied.</summary>
    public WorkSize Size { get; private set; }

    /// <summary>Reads one input, a JSON value as in a task's <c>input</c>, and adds it; or tells what is wrong with it.</summary>
    /// <param name="customId">1 to 512 bytes of UTF-8.</param>
    /// <param name="value">One JSON value.</param>
    /// <param name="place">Where it stands in the request.</param>
    public void Add(string customId, ReadOnlySpan<byte> value, TaskPlace place)
    {
        if (!Utf8.IsValid(value))
        {
            mistakes.Add("input", "UTF-8", "bytes that are not", place);
            return;
        }

        var json = new Utf8JsonReader(value);
        try
        {
            json.Read();
            if (!_input.TryRead(ref json, place, mistakes, out var stored, out var units))
            {
                return;
            }

            if (_isText && stored.IsEmpty)
            {
                mistakes.Add("input", "text that is not empty", "\"\"", place);
                return;
            }

            Span<byte> id = stackalloc byte[TaskReader.CustomIdBytesMax];
            id = id[..Encoding.UTF8.GetBytes(customId, id)];
            if (!TryStore(id, stored, units))
            {
                mistakes.Add("input", TogetherMax(options), "more", place);
            }
        }
        catch (JsonException e)
        {
            mistakes.Add("input", "a JSON value", $"not JSON at byte {e.BytePositionInLine}", place);
        }
    }

    /// <summary>Adds an input that was checked, as it is stored. False when the inputs together are too large for one request.</summary>
    public bool TryAddStored(string customId, ReadOnlySpan<byte> stored, int units) =>
        TryStore(Encoding.UTF8.GetBytes(customId), stored, units);

    /// <summary>Adds a text as it is, for callers that have no JSON in hand.</summary>
    public void AddText(string customId, string text, TaskPlace place) => Add(customId, JsonSerializer.SerializeToUtf8Bytes(text), place);

    /// <summary>What the inputs of one request may come to, as a message says it.</summary>
    public static string TogetherMax(IngestOptions options) => $"at most {options.ExpressBodyBytesMax} bytes of inputs together";

    /// <summary>The chunks, packed: one for the few inputs that are usual.</summary>
    public IReadOnlyList<(ChunkHeader Header, byte[] Payload)> Finish()
    {
        if (_chunk.Count > 0)
        {
            Seal();
        }

        return _full;
    }

    private bool TryStore(ReadOnlySpan<byte> id, ReadOnlySpan<byte> stored, int units)
    {
        _bytes += id.Length + stored.Length;
        if (_bytes > options.ExpressBodyBytesMax)
        {
            return false;
        }

        var copyOf = _inputs.FirstOf(stored, Count);
        if (!_chunk.Fits(id.Length, stored.Length, copyOf is not null))
        {
            Seal();
        }

        _chunk.Add(id, stored, units, copyOf);
        Count++;
        Units += units;
        Size = Size.With(units, isCopy: copyOf is not null);
        return true;
    }

    private void Seal()
    {
        var header = new ChunkHeader(_full.Count, Count - _chunk.Count, _chunk.Count, _chunk.UnitsToRun, _chunk.UnitsMax);
        _full.Add((header, _chunk.Finish()));
    }
}
