using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using Npgsql;
using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Results;

/// <summary>
/// Renders rows of <c>results</c> as lines of NDJSON, in the form of <see cref="ResultJson"/>, with <c>"cursor"</c> at the end of lines that
/// are read as completed. Written for millions of lines: outputs that are JSON are copied as they are.
/// </summary>
internal sealed class ResultLine(LineBuffer to) : IDisposable
{
    /// <summary>
    /// Columns of <see cref="Write"/>. What nearly every row repeats (it succeeded, its output is JSON) comes as NULL: nothing to
    /// send, decode and allocate.
    /// </summary>
    public const string Columns = """
        seq, custom_id, nullif(status, 'succeeded'), output, nullif(content_type, 'application/json'), error_code, error_message,
        model, turns, cost_pico, queued_us, staged_us, device_us, total_us, reused
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
        ResultJson.WriteTask(_json, row.GetString(1), row.GetInt32(0));
        if (row.IsDBNull(2))
        {
            ResultJson.WriteOutput(_json, row.GetFieldValue<byte[]>(3), row.IsDBNull(4) ? null : row.GetString(4));
        }
        else
        {
            ResultJson.WriteError(_json, row.GetString(2), row.GetString(5), row.GetString(6));
        }

        ResultJson.WriteCost(_json, row.GetString(7), row.GetInt16(8), row.IsDBNull(14) ? null : row.GetString(14), row.GetInt64(9));
        ResultJson.WriteLatency(_json, row.GetInt64(10), row.GetInt32(11), row.GetInt32(12), row.GetInt64(13));
        if (cursor is not null)
        {
            _json.WriteString("cursor"u8, cursor);
        }

        _json.WriteEndObject();
        _json.Flush();
        to.Write("\n"u8);
    }

    public void Dispose() => _json.Dispose();
}
