using System.Buffers;
using System.Buffers.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Npgsql;
using Pipeline.Contracts;

namespace Pipeline.ResultsApi.Results;

/// <summary>
/// Renders rows of <c>results</c> as lines of NDJSON:
/// <code>
/// {"custom_id":"a-1","seq":0,"status":"succeeded","output":{…},"model":"language-id@1.0.0","turns":1,"cost_pico_usd":556000,
///  "latency_ms":{"queued":12.1,"staged":0.8,"device":0.4,"total":15}}
/// </code>
/// with <c>"error":{"code":…,"message":…}</c> in place of the output of a task that did not succeed, and <c>"cursor"</c> at the
/// end of lines that are read as completed. Written for millions of lines: names are encoded once, outputs that are JSON are
/// copied as they are.
/// </summary>
internal sealed class ResultLine(LineBuffer to) : IDisposable
{
    /// <summary>
    /// Columns of <see cref="Write"/>. What nearly every row repeats (it succeeded, its output is JSON) comes as NULL: nothing to
    /// send, decode and allocate.
    /// </summary>
    public const string Columns = """
        seq, custom_id, nullif(status, 'succeeded'), output, nullif(content_type, 'application/json'), error_code, error_message,
        model, turns, cost_pico, queued_us, staged_us, device_us, total_us
        """;

    private readonly Utf8JsonWriter _json = new(
        to,
        // The writer itself is trusted; the outputs were written by a JSON writer before they were stored.
        new JsonWriterOptions { SkipValidation = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }
    );

    /// <param name="row">Stands on a row of <see cref="Columns"/>.</param>
    /// <param name="cursor">Where to read on after this line, for an order that is not told by <c>seq</c>.</param>
    public void Write(NpgsqlDataReader row, string? cursor = null)
    {
        _json.Reset(to);
        _json.WriteStartObject();
        _json.WriteString(Name.CustomId, row.GetString(1));
        _json.WriteNumber(Name.Seq, row.GetInt32(0));
        if (row.IsDBNull(2))
        {
            _json.WriteString(Name.Status, Name.Succeeded);
            _json.WritePropertyName(Name.Output);
            WriteOutput(row);
        }
        else
        {
            _json.WriteString(Name.Status, row.GetString(2));
            _json.WriteStartObject(Name.Error);
            _json.WriteString(Name.Code, row.GetString(5));
            _json.WriteString(Name.Message, row.GetString(6));
            _json.WriteEndObject();
        }

        _json.WriteString(Name.Model, row.GetString(7));
        _json.WriteNumber(Name.Turns, row.GetInt16(8));
        _json.WriteNumber(Name.Cost, row.GetInt64(9));
        _json.WriteStartObject(Name.Latency);
        WriteMilliseconds(Name.Queued, row.GetInt64(10));
        WriteMilliseconds(Name.Staged, row.GetInt32(11));
        WriteMilliseconds(Name.Device, row.GetInt32(12));
        WriteMilliseconds(Name.Total, row.GetInt64(13));
        _json.WriteEndObject();
        if (cursor is not null)
        {
            _json.WriteString(Name.Cursor, cursor);
        }

        _json.WriteEndObject();
        _json.Flush();
        to.Write("\n"u8);
    }

    public void Dispose() => _json.Dispose();

    private void WriteOutput(NpgsqlDataReader row)
    {
        var output = row.GetFieldValue<byte[]>(3);
        if (row.IsDBNull(4))
        {
            // A line break outside of a string is white space to JSON, and the end of the line to NDJSON.
            output.AsSpan().Replace((byte)'\n', (byte)' ');
            output.AsSpan().Replace((byte)'\r', (byte)' ');
            _json.WriteRawValue(output, skipInputValidation: true);
        }
        else if (row.GetString(4) is var type && type == PackedTensors.ContentType && TryRead(output) is { } tensors)
        {
            WriteTensors(output, tensors);
        }
        else
        {
            _json.WriteStartObject();
            _json.WriteString(Name.ContentType, type);
            _json.WriteBase64String(Name.Base64, output);
            _json.WriteEndObject();
        }
    }

    /// <summary>One vector called "embedding" is shown as the array alone, any other tensors with their types and shapes.</summary>
    private void WriteTensors(byte[] output, IReadOnlyList<PackedTensor> tensors)
    {
        if (tensors is not [{ Name: "embedding", Type: TensorElementType.Float32, Shape.Length: 1 } embedding])
        {
            PackedTensors.WriteJson(_json, output);
            return;
        }

        _json.WriteStartObject();
        _json.WriteStartArray(Name.Embedding);
        PackedTensors.WriteElements(_json, embedding);
        _json.WriteEndArray();
        _json.WriteEndObject();
    }

    /// <returns>The tensors, or null for bytes that are none: one broken row does not keep its owner from all the others.</returns>
    private static IReadOnlyList<PackedTensor>? TryRead(byte[] output)
    {
        try
        {
            return PackedTensors.Read(output);
        }
        catch (InvalidDataException)
        {
            return null;
        }
    }

    /// <summary>Microseconds as milliseconds, 12100 as 12.1, without the detour over binary fractions.</summary>
    private void WriteMilliseconds(JsonEncodedText name, long microseconds)
    {
        Span<byte> text = stackalloc byte[24];
        var (whole, part) = Math.DivRem(Math.Max(0, microseconds), 1000);
        Utf8Formatter.TryFormat(whole, text, out var length);
        if (part > 0)
        {
            text[length++] = (byte)'.';
            for (var unit = 100L; part > 0; part %= unit, unit /= 10)
            {
                text[length++] = (byte)('0' + (part / unit));
            }
        }

        _json.WritePropertyName(name);
        _json.WriteRawValue(text[..length], skipInputValidation: true);
    }

    private static class Name
    {
        public static readonly JsonEncodedText CustomId = JsonEncodedText.Encode("custom_id");
        public static readonly JsonEncodedText Seq = JsonEncodedText.Encode("seq");
        public static readonly JsonEncodedText Status = JsonEncodedText.Encode("status");
        public static readonly JsonEncodedText Succeeded = JsonEncodedText.Encode("succeeded");
        public static readonly JsonEncodedText Output = JsonEncodedText.Encode("output");
        public static readonly JsonEncodedText ContentType = JsonEncodedText.Encode("content_type");
        public static readonly JsonEncodedText Base64 = JsonEncodedText.Encode("base64");
        public static readonly JsonEncodedText Embedding = JsonEncodedText.Encode("embedding");
        public static readonly JsonEncodedText Error = JsonEncodedText.Encode("error");
        public static readonly JsonEncodedText Code = JsonEncodedText.Encode("code");
        public static readonly JsonEncodedText Message = JsonEncodedText.Encode("message");
        public static readonly JsonEncodedText Model = JsonEncodedText.Encode("model");
        public static readonly JsonEncodedText Turns = JsonEncodedText.Encode("turns");
        public static readonly JsonEncodedText Cost = JsonEncodedText.Encode("cost_pico_usd");
        public static readonly JsonEncodedText Latency = JsonEncodedText.Encode("latency_ms");
        public static readonly JsonEncodedText Queued = JsonEncodedText.Encode("queued");
        public static readonly JsonEncodedText Staged = JsonEncodedText.Encode("staged");
        public static readonly JsonEncodedText Device = JsonEncodedText.Encode("device");
        public static readonly JsonEncodedText Total = JsonEncodedText.Encode("total");
        public static readonly JsonEncodedText Cursor = JsonEncodedText.Encode("cursor");
    }
}
