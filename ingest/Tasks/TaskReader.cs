using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Pipeline.Contracts;

namespace Pipeline.Ingest.Tasks;

/// <summary>Takes good tasks, one by one; the spans are valid during the call only.</summary>
internal interface ITaskSink
{
    /// <param name="group">The group the task names; empty where it names none.</param>
    void Add(ReadOnlySpan<byte> customId, ReadOnlySpan<byte> input, int units, ReadOnlySpan<byte> group = default);
}

/// <summary>Where the tasks of one body go, in groups.</summary>
internal interface IUploadSink : ITaskSink, IAsyncDisposable
{
    /// <summary>True when a group is full: call <see cref="StoreAsync"/> before adding more.</summary>
    bool IsDue { get; }

    ValueTask StoreAsync(CancellationToken stop);
}

/// <summary>
/// Reads tasks, <c>{"custom_id": "a-1", "input": …}</c>, straight from the bytes of the body: no document, no strings, nothing allocated
/// for a good one. Every mistake of a task is told, not only the first.
/// </summary>
internal sealed class TaskReader(TaskInput input, Mistakes mistakes)
{
    /// <summary>Bytes of a custom_id at most.</summary>
    public const int CustomIdBytesMax = 512;

    private const string TaskForm = "a JSON object {\"custom_id\": \"…\", \"input\": …}";
    private const string CustomIdForm = "a string of 1 to 512 bytes";
    private readonly CustomIds _ids = new();
    private readonly JsonText _customId = new();
    private readonly JsonText _group = new();

    public int Tasks { get; private set; }

    /// <summary>Reads one task and hands it on, as long as the submission has no mistake.</summary>
    /// <param name="json">One JSON value.</param>
    /// <param name="cutOff">True when the body ended with these bytes, without a line end: then they may be incomplete.</param>
    public void Read(ReadOnlySpan<byte> json, TaskPlace place, ITaskSink sink, bool cutOff = false)
    {
        Tasks++;
        var (kept, total) = (mistakes.Kept.Count, mistakes.Total);
        if (!Utf8.IsValid(json))
        {
            AddInvalidUtf8(json, place);
        }
        else
        {
            TryRead(json, place, sink, cutOff);
        }

        if (mistakes.Total != total && mistakes.Kept.Count > kept)
        {
            mistakes.NameTask(kept, FindCustomId(json));
        }
    }

    private void TryRead(ReadOnlySpan<byte> line, TaskPlace place, ITaskSink sink, bool cutOff)
    {
        var json = new Utf8JsonReader(line);
        try
        {
            ReadObject(ref json, place, sink);
        }
        catch (JsonException e)
        {
            AddInvalidJson(line, e, place, cutOff);
        }
        catch (InvalidOperationException) when (SurrogatePairs.HasHalfPair(line))
        {
            mistakes.Add(null, SurrogatePairs.Paired, SurrogatePairs.HalfPair, place);
        }
    }

    private void ReadObject(scoped ref Utf8JsonReader json, TaskPlace place, ITaskSink sink)
    {
        json.Read();
        if (json.TokenType != JsonTokenType.StartObject)
        {
            mistakes.Add(null, TaskForm, Excerpt.Of(json.ValueSpan.Length > 0 ? json.ValueSpan : "["u8), place);
            json.Skip();
            json.Read();
            return;
        }

        ReadOnlySpan<byte> customId = default;
        ReadOnlySpan<byte> stored = default;
        ReadOnlySpan<byte> group = default;
        var units = 0;
        bool hasId = false,
            goodId = false,
            hasGroup = false,
            hasInput = false;
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            if (json.ValueTextEquals("custom_id"u8) && !hasId)
            {
                hasId = true;
                json.Read();
                goodId = TryReadCustomId(ref json, place, out customId);
                json.Skip();
            }
            else if (json.ValueTextEquals("input"u8) && !hasInput)
            {
                hasInput = true;
                json.Read();
                var start = json;
                if (!input.TryRead(ref json, place, mistakes, out stored, out units))
                {
                    json = start;
                    json.Skip();
                }
            }
            else if (json.ValueTextEquals("group"u8) && !hasGroup)
            {
                hasGroup = true;
                json.Read();
                group = ReadGroup(ref json, place);
                json.Skip();
            }
            else
            {
                AddStrayField(ref json, place);
            }
        }

        // Reads on to the end: what stands after the object is a mistake, and the reader throws it.
        json.Read();
        if (!hasId)
        {
            mistakes.Add("custom_id", CustomIdForm, "nothing", place);
        }
        else if (goodId && !_ids.TryAdd(customId, (int)(place.Line ?? place.Index ?? 0), out var first))
        {
            var where = place.Index is null ? $"line {first}" : $"tasks[{first}]";
            mistakes.Add("custom_id", "one that no other task of the job has", $"\"{Excerpt.Of(customId)}\", used on {where}", place);
        }

        if (!hasInput)
        {
            mistakes.Add("input", "the task's input", "nothing", place);
        }

        if (!mistakes.Any)
        {
            sink.Add(customId, stored, units, group);
        }
    }

    private bool TryReadCustomId(scoped ref Utf8JsonReader json, TaskPlace place, out ReadOnlySpan<byte> customId)
    {
        customId = default;
        if (json.TokenType != JsonTokenType.String)
        {
            mistakes.Add("custom_id", CustomIdForm, Excerpt.Of(json.TokenType.ToString().ToLowerInvariant()), place);
            return false;
        }

        // Six bytes of escape at most stand for one byte of text.
        if (json.ValueSpan.Length > CustomIdBytesMax * 6)
        {
            mistakes.Add("custom_id", CustomIdForm, $"\"{Excerpt.Of(json.ValueSpan)}\"", place);
            return false;
        }

        if (!_customId.TryRead(ref json, out customId))
        {
            mistakes.Add("custom_id", SurrogatePairs.Paired, $"\"{Excerpt.Of(json.ValueSpan)}\"", place);
            return false;
        }

        if (customId.Length is 0 or > CustomIdBytesMax)
        {
            mistakes.Add("custom_id", CustomIdForm, $"{customId.Length} bytes", place);
            return false;
        }

        // It is stored as text in the results, and PostgreSQL's text cannot hold this one character.
        if (customId.Contains((byte)0))
        {
            mistakes.Add("custom_id", "text without U+0000", $"\"{Excerpt.Of(json.ValueSpan)}\"", place);
            return false;
        }

        return true;
    }

    /// <summary>The group's name; empty for null, and after a mistake.</summary>
    private ReadOnlySpan<byte> ReadGroup(scoped ref Utf8JsonReader json, TaskPlace place)
    {
        if (json.TokenType == JsonTokenType.Null)
        {
            return default;
        }

        // Six bytes of escape at most stand for one byte of text.
        if (
            json.TokenType == JsonTokenType.String
            && json.ValueSpan.Length <= GroupName.LengthMax * 6
            && _group.TryRead(ref json, out var name)
            && GroupName.IsValid(name)
        )
        {
            return name;
        }

        var given =
            json.TokenType == JsonTokenType.String
                ? $"\"{Excerpt.Of(json.ValueSpan)}\""
                : Excerpt.Of(json.TokenType.ToString().ToLowerInvariant());
        mistakes.Add("group", $"a string of {GroupName.Form}", given, place);
        return default;
    }

    private void AddStrayField(scoped ref Utf8JsonReader json, TaskPlace place)
    {
        var name = Encoding.UTF8.GetString(json.ValueSpan);
        var twice = name is "custom_id" or "input" or "group";
        mistakes.Add(
            Excerpt.Of(name),
            twice ? "the field once" : "only custom_id, input and group",
            twice ? "twice" : "a field of that name",
            place
        );
        json.Read();
        json.Skip();
    }

    private void AddInvalidUtf8(ReadOnlySpan<byte> line, TaskPlace place)
    {
        var at = 0;
        while (Rune.DecodeFromUtf8(line[at..], out _, out var length) == System.Buffers.OperationStatus.Done)
        {
            at += length;
        }

        var bytes = Convert.ToHexString(line.Slice(at, Math.Min(4, line.Length - at)));
        mistakes.Add(null, "UTF-8", $"the bytes {bytes} at byte {at} of the line", place);
    }

    private void AddInvalidJson(ReadOnlySpan<byte> line, JsonException e, TaskPlace place, bool cutOff)
    {
        var at = (int)Math.Min(e.BytePositionInLine ?? 0, line.Length);
        var rest = line[at..];
        var from = at > 0 && line[at - 1] == '-' ? line[(at - 1)..] : rest;
        if (rest.StartsWith("NaN"u8) || rest.StartsWith("Infinity"u8) || from.StartsWith("-Infinity"u8))
        {
            mistakes.Add("input", "a finite number", $"{Excerpt.Of(from)} at byte {at}", place);
        }
        else if (rest.IsEmpty)
        {
            var end = cutOff ? "the body is cut off in" : "the end of the line after";
            mistakes.Add(null, TaskForm, $"{end} {Excerpt.Of(line)} ({line.Length} bytes)", place);
        }
        else
        {
            mistakes.Add(null, TaskForm, $"not JSON at byte {at}: {Excerpt.Of(rest)}", place);
        }
    }

    /// <summary>The custom_id of a bad task, for the report; null where none can be read.</summary>
    private static string? FindCustomId(ReadOnlySpan<byte> line)
    {
        var json = new Utf8JsonReader(line);
        try
        {
            while (json.Read())
            {
                if (json.CurrentDepth == 1 && json.TokenType == JsonTokenType.PropertyName && json.ValueTextEquals("custom_id"u8))
                {
                    return json.Read() && json.TokenType == JsonTokenType.String ? Excerpt.Of(json.GetString()!) : null;
                }
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // The line is reported as it is.
        }

        return null;
    }
}
