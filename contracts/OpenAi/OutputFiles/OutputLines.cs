using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.OpenAi.Batches;

namespace Pipeline.OpenAi.OutputFiles;

/// <summary>
/// Writes a batch's lines as OpenAI's output and error files have them:
/// <code>
/// {"id":"batch_req_…","custom_id":"a-1","response":{"status_code":200,"request_id":"req_…","body":{…}},"error":null}
/// </code>
/// A line whose model failed has the error as its response's body; one that never ran has no response, and says why in <c>error</c>.
/// </summary>
internal sealed class OutputLines(JobId job, string endpoint, ModelManifest model, LatencyClass served)
{
    private static readonly Dictionary<string, int> Statuses = Enum.GetValues<FailureKind>()
        .ToDictionary(kind => kind.Info().Code, kind => kind.Info().HttpStatus, StringComparer.Ordinal);

    private readonly ArrayBufferWriter<byte> _line = new(4096);

    /// <summary>Units of the lines that completed.</summary>
    public long Units { get; private set; }

    /// <summary>Renders a line; the bytes are valid until the next.</summary>
    /// <param name="tasks">The ends of its inputs.</param>
    /// <param name="completed">True when it belongs into the output file, false when into the error file.</param>
    public ReadOnlyMemory<byte> Write(BatchLine line, long number, IReadOnlyList<EndedTask> tasks, out bool completed)
    {
        var failed = tasks.FirstOrDefault(task => task.Outcome != TaskOutcome.Succeeded);
        completed = failed is null;
        if (completed)
        {
            try
            {
                return Write(line, number, json => WriteAnswer(json, line, number, tasks), writeError: null);
            }
            catch (InvalidDataException e)
            {
                // One broken output does not keep its owner from all the others.
                completed = false;
                failed = tasks[0] with
                {
                    Outcome = TaskOutcome.Failed,
                    ErrorCode = FailureKind.ModelFailed.Info().Code,
                    ErrorMessage = e.Message,
                };
            }
        }

        return failed!.Outcome switch
        {
            TaskOutcome.Expired => Write(line, number, null, json => WriteReason(json, "batch_expired", failed)),
            TaskOutcome.Cancelled => Write(line, number, null, json => WriteReason(json, "batch_cancelled", failed)),
            _ => Write(line, number, json => WriteFailure(json, number, failed), null),
        };
    }

    private ReadOnlyMemory<byte> Write(
        BatchLine line,
        long number,
        Action<Utf8JsonWriter>? writeResponse,
        Action<Utf8JsonWriter>? writeError
    )
    {
        _line.ResetWrittenCount();
        using (var json = new Utf8JsonWriter(_line, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("id", $"batch_req_{job.Value:N}_{number}");
            json.WriteString("custom_id", line.CustomId);
            WriteOrNull(json, "response", writeResponse);
            WriteOrNull(json, "error", writeError);
            json.WriteEndObject();
        }

        _line.Write("\n"u8);
        return _line.WrittenMemory;
    }

    private static void WriteOrNull(Utf8JsonWriter json, string name, Action<Utf8JsonWriter>? write)
    {
        if (write is null)
        {
            json.WriteNull(name);
            return;
        }

        json.WriteStartObject(name);
        write(json);
        json.WriteEndObject();
    }

    private void WriteAnswer(Utf8JsonWriter json, BatchLine line, long number, IReadOnlyList<EndedTask> tasks)
    {
        var units = tasks.Sum(task => (long)task.Units);
        json.WriteNumber("status_code", 200);
        json.WriteString("request_id", RequestId(number));
        json.WritePropertyName("body");
        StoredOutput[] outputs = [.. tasks.Select(task => new StoredOutput(task.Output!, task.ContentType!))];
        ResponseBody.Write(json, endpoint, line.Body, model, outputs, units, served, $"modr-{job.Value:N}-{number}");
        Units += units;
    }

    private void WriteFailure(Utf8JsonWriter json, long number, EndedTask failed)
    {
        var code = failed.ErrorCode ?? "";
        var status = Statuses.GetValueOrDefault(code, 500);
        json.WriteNumber("status_code", status);
        json.WriteString("request_id", RequestId(number));
        json.WriteStartObject("body");
        json.WriteStartObject("error");
        json.WriteString("message", failed.ErrorMessage);
        json.WriteString("type", status < 500 ? "invalid_request_error" : "server_error");
        json.WriteNull("param");
        json.WriteString("code", code);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void WriteReason(Utf8JsonWriter json, string code, EndedTask failed)
    {
        json.WriteString("code", code);
        json.WriteString("message", failed.ErrorMessage);
    }

    private string RequestId(long number) => $"req_{job.Value:N}_{number}";
}
