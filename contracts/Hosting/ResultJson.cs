using System.Buffers.Text;
using System.Text.Json;
using Pipeline.Contracts;

namespace Pipeline.Hosting;

/// <summary>
/// A task's result as every answer shows it, member by member, so that rows and messages are rendered alike:
/// <code>
/// {"custom_id":"a-1","seq":0,"status":"succeeded","output":{…},"model":"language-id@1.0.0","turns":1,"cost_pico_usd":556000,
///  "latency_ms":{"queued":12.1,"staged":0.8,"device":0.4,"total":15}}
/// </code>
/// with <c>"error":{"code":…,"message":…}</c> in place of the output of a task that did not succeed, and <c>"reused":"job"</c> or
/// <c>"cache"</c> after the turns where the result was made for another task. Names are encoded once.
/// </summary>
public static class ResultJson
{
    private const string Json = "application/json";

    /// <summary>Writes a whole result, as an object.</summary>
    public static void Write(Utf8JsonWriter json, TaskAnswer answer)
    {
        json.WriteStartObject();
        WriteTask(json, answer.CustomId, answer.Seq);
        if (answer.Output is { } output)
        {
            WriteOutput(json, [.. output], answer.ContentType == Json ? null : answer.ContentType);
        }
        else
        {
            WriteError(json, answer.Status, answer.ErrorCode ?? "", answer.ErrorMessage ?? "");
        }

        WriteCost(json, answer.Model, answer.Turns, answer.Reused, answer.CostPico);
        WriteLatency(json, answer.QueuedUs, answer.StagedUs, answer.DeviceUs, answer.TotalUs);
        json.WriteEndObject();
    }

    public static void WriteTask(Utf8JsonWriter json, string customId, int seq)
    {
        json.WriteString(Name.CustomId, customId);
        json.WriteNumber(Name.Seq, seq);
    }

    /// <summary>Status and output of a task that succeeded.</summary>
    /// <param name="output">As stored; line breaks in it may be overwritten.</param>
    /// <param name="contentType">Null for JSON.</param>
    public static void WriteOutput(Utf8JsonWriter json, byte[] output, string? contentType)
    {
        json.WriteString(Name.Status, Name.Succeeded);
        json.WritePropertyName(Name.Output);
        WriteOutputValue(json, output, contentType);
    }

    /// <summary>The output alone, as a value.</summary>
    /// <param name="output">As stored; line breaks in it may be overwritten.</param>
    /// <param name="contentType">Null for JSON.</param>
    public static void WriteOutputValue(Utf8JsonWriter json, byte[] output, string? contentType)
    {
        if (contentType is null or Json)
        {
            // A line break outside of a string is white space to JSON, and the end of the line to NDJSON.
            output.AsSpan().Replace((byte)'\n', (byte)' ');
            output.AsSpan().Replace((byte)'\r', (byte)' ');
            json.WriteRawValue(output, skipInputValidation: true);
        }
        else if (contentType == PackedTensors.ContentType && TryRead(output) is { } tensors)
        {
            WriteTensors(json, output, tensors);
        }
        else
        {
            json.WriteStartObject();
            json.WriteString(Name.ContentType, contentType);
            json.WriteBase64String(Name.Base64, output);
            json.WriteEndObject();
        }
    }

    /// <summary>Status and reason of a task that did not succeed.</summary>
    public static void WriteError(Utf8JsonWriter json, string status, string code, string message)
    {
        json.WriteString(Name.Status, status);
        json.WriteStartObject(Name.Error);
        json.WriteString(Name.Code, code);
        json.WriteString(Name.Message, message);
        json.WriteEndObject();
    }

    /// <param name="reused">Null for what ran.</param>
    public static void WriteCost(Utf8JsonWriter json, string model, int turns, string? reused, long costPico)
    {
        json.WriteString(Name.Model, model);
        json.WriteNumber(Name.Turns, turns);
        if (reused is not null)
        {
            json.WriteString(Name.Reused, reused);
        }

        json.WriteNumber(Name.Cost, costPico);
    }

    /// <summary>Microseconds, shown as milliseconds.</summary>
    public static void WriteLatency(Utf8JsonWriter json, long queuedUs, long stagedUs, long deviceUs, long totalUs)
    {
        json.WriteStartObject(Name.Latency);
        WriteMilliseconds(json, Name.Queued, queuedUs);
        WriteMilliseconds(json, Name.Staged, stagedUs);
        WriteMilliseconds(json, Name.Device, deviceUs);
        WriteMilliseconds(json, Name.Total, totalUs);
        json.WriteEndObject();
    }

    /// <summary>One vector called "embedding" is shown as the array alone, any other tensors with their types and shapes.</summary>
    private static void WriteTensors(Utf8JsonWriter json, byte[] output, IReadOnlyList<PackedTensor> tensors)
    {
        if (tensors is not [{ Name: "embedding", Type: TensorElementType.Float32, Shape.Length: 1 } embedding])
        {
            PackedTensors.WriteJson(json, output);
            return;
        }

        json.WriteStartObject();
        json.WriteStartArray(Name.Embedding);
        PackedTensors.WriteElements(json, embedding);
        json.WriteEndArray();
        json.WriteEndObject();
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
    private static void WriteMilliseconds(Utf8JsonWriter json, JsonEncodedText name, long microseconds)
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

        json.WritePropertyName(name);
        json.WriteRawValue(text[..length], skipInputValidation: true);
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
        public static readonly JsonEncodedText Reused = JsonEncodedText.Encode("reused");
        public static readonly JsonEncodedText Cost = JsonEncodedText.Encode("cost_pico_usd");
        public static readonly JsonEncodedText Latency = JsonEncodedText.Encode("latency_ms");
        public static readonly JsonEncodedText Queued = JsonEncodedText.Encode("queued");
        public static readonly JsonEncodedText Staged = JsonEncodedText.Encode("staged");
        public static readonly JsonEncodedText Device = JsonEncodedText.Encode("device");
        public static readonly JsonEncodedText Total = JsonEncodedText.Encode("total");
    }
}
