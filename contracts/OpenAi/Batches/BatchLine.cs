using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Pipeline.Contracts;

namespace Pipeline.OpenAi.Batches;

/// <summary>
/// A line of a batch's input file: <c>{"custom_id": "a-1", "method": "POST", "url": "/v1/embeddings", "body": {…}}</c>. Its inputs are as many
/// tasks of the job, one after the other; who writes the results reads the file again and finds them by that.
/// </summary>
internal sealed class BatchLine : IDisposable
{
    /// <summary>Bytes of a custom_id at most, as for any task.</summary>
    public const int CustomIdBytesMax = 512;

    private static readonly string[] Fields = ["custom_id", "method", "url", "body"];
    private readonly JsonDocument _document;

    private BatchLine(JsonDocument document, string customId, RequestBody body) => (_document, CustomId, Body) = (document, customId, body);

    public string CustomId { get; }

    public RequestBody Body { get; }

    /// <summary>Reads a line; every mistake is told.</summary>
    /// <param name="endpoint">The batch's, which the line has to name.</param>
    /// <returns>Null when there was one.</returns>
    public static BatchLine? Read(ReadOnlySpan<byte> line, string endpoint, TellMistake tell)
    {
        if (!Utf8.IsValid(line))
        {
            tell("invalid_json_line", null, "The line expects UTF-8, given bytes that are not.");
            return null;
        }

        if (SurrogatePairs.HasHalfPair(line))
        {
            tell("invalid_json_line", null, $"The line expects {SurrogatePairs.Paired}, given {SurrogatePairs.HalfPair}.");
            return null;
        }

        JsonDocument document;
        try
        {
            var json = new Utf8JsonReader(line);
            document = JsonDocument.ParseValue(ref json);
            if (json.Read())
            {
                document.Dispose();
                throw new JsonException();
            }
        }
        catch (JsonException e)
        {
            var beginning = Encoding.UTF8.GetString(line[..Math.Min(line.Length, 40)]);
            tell(
                "invalid_json_line",
                null,
                $"The line expects one JSON object, given what is not JSON at byte {e.BytePositionInLine ?? line.Length}: {beginning}"
            );
            return null;
        }

        var read = Read(document, endpoint, tell);
        if (read is null)
        {
            document.Dispose();
        }

        return read;
    }

    public void Dispose() => _document.Dispose();

    private static BatchLine? Read(JsonDocument document, string endpoint, TellMistake tell)
    {
        var root = document.RootElement;
        if (root.ValueKind != JsonValueKind.Object)
        {
            tell("invalid_json_line", null, $"The line expects a JSON object, given {RequestBody.Kind(root)}.");
            return null;
        }

        var good = true;
        TellMistake note = (code, param, message) =>
        {
            good = false;
            tell(code, param, message);
        };
        foreach (var member in root.EnumerateObject().Where(member => !Fields.Contains(member.Name)))
        {
            note(
                "unknown_parameter",
                member.Name,
                $"{member.Name}: expected only {string.Join(", ", Fields)}, given a field of that name."
            );
        }

        var customId = ReadCustomId(root, note);
        Expect(root, "method", "POST", "invalid_method", note);
        Expect(root, "url", endpoint, "invalid_url", note);
        RequestBody? body = null;
        if (root.TryGetProperty("body", out var given))
        {
            body = RequestBody.Read(
                given,
                endpoint,
                (code, param, message) => note(code, param is "body" or null ? param : $"body.{param}", message)
            );
        }
        else
        {
            note("missing_required_parameter", "body", "body: expected the request's body, given nothing.");
        }

        return good && body is not null ? new BatchLine(document, customId!, body) : null;
    }

    private static string? ReadCustomId(JsonElement root, TellMistake tell)
    {
        const string Form = "a string of 1 to 512 bytes without U+0000";
        if (!root.TryGetProperty("custom_id", out var value))
        {
            tell("missing_required_parameter", "custom_id", $"custom_id: expected {Form}, given nothing.");
            return null;
        }

        var text = value.ValueKind == JsonValueKind.String ? value.GetString() : null;
        if (text is { Length: > 0 } && !text.Contains('\0') && Encoding.UTF8.GetByteCount(text) <= CustomIdBytesMax)
        {
            return text;
        }

        tell("invalid_custom_id", "custom_id", $"custom_id: expected {Form}, given {RequestBody.Kind(value)}.");
        return null;
    }

    private static void Expect(JsonElement root, string name, string expected, string code, TellMistake tell)
    {
        if (!root.TryGetProperty(name, out var value))
        {
            tell("missing_required_parameter", name, $"{name}: expected {expected}, given nothing.");
        }
        else if (value.ValueKind != JsonValueKind.String || !value.ValueEquals(expected))
        {
            tell(code, name, $"{name}: expected {expected}, given {RequestBody.Kind(value)}.");
        }
    }
}
