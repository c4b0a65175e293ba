using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Pipeline.Contracts;
using Pipeline.Ingest.Tasks;

namespace Pipeline.Ingest.Body;

/// <summary>
/// The small form of a submission, one JSON object: <c>{"model": "…", "class": "…", "tasks": [{"custom_id": "…", "input": …}, …]}</c>.
/// Finds the parameters and where each task stands; the tasks themselves are read as lines are.
/// </summary>
internal static class InlineBody
{
    private const string Form = "a JSON object {\"model\": \"…\", \"tasks\": [{\"custom_id\": \"…\", \"input\": …}, …]}";

    /// <summary>Gives the tasks' places in the body; none where there is a mistake.</summary>
    public static List<(int Start, int Length)> Find(ReadOnlySpan<byte> body, JobParameters parameters, Mistakes mistakes)
    {
        var tasks = new List<(int, int)>();
        if (!Utf8.IsValid(body))
        {
            mistakes.Add(null, "UTF-8", "bytes that are not");
            return tasks;
        }

        try
        {
            var json = new Utf8JsonReader(body);
            Read(ref json, parameters, mistakes, tasks);
        }
        catch (JsonException e)
        {
            var hint = tasks.Count == 0 && mistakes.Any ? " (one task a line is sent as application/x-ndjson)" : "";
            mistakes.Add(null, Form, $"not JSON at byte {e.BytePositionInLine} of the line{hint}", new TaskPlace(e.LineNumber + 1));
        }
        catch (InvalidOperationException) when (SurrogatePairs.HasHalfPair(body))
        {
            mistakes.Add(null, SurrogatePairs.Paired, SurrogatePairs.HalfPair);
        }

        return tasks;
    }

    private static void Read(
        scoped ref Utf8JsonReader json,
        JobParameters parameters,
        Mistakes mistakes,
        List<(int Start, int Length)> tasks
    )
    {
        json.Read();
        if (json.TokenType != JsonTokenType.StartObject)
        {
            mistakes.Add(null, Form, json.TokenType == JsonTokenType.StartArray ? "an array" : Excerpt.Of(json.ValueSpan));
            return;
        }

        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            if (json.ValueTextEquals("tasks"u8))
            {
                json.Read();
                FindTasks(ref json, mistakes, tasks);
            }
            else
            {
                var name = Encoding.UTF8.GetString(json.ValueSpan);
                json.Read();
                parameters.Take(name, JsonElement.ParseValue(ref json), default, mistakes);
            }
        }

        // What stands after the object is a mistake, and the reader throws it.
        json.Read();
    }

    private static void FindTasks(scoped ref Utf8JsonReader json, Mistakes mistakes, List<(int Start, int Length)> tasks)
    {
        if (json.TokenType != JsonTokenType.StartArray)
        {
            mistakes.Add("tasks", "an array of tasks", json.TokenType.ToString().ToLowerInvariant());
            json.Skip();
            return;
        }

        while (json.Read() && json.TokenType != JsonTokenType.EndArray)
        {
            var start = (int)json.TokenStartIndex;
            json.Skip();
            tasks.Add((start, (int)json.BytesConsumed - start));
        }
    }
}
