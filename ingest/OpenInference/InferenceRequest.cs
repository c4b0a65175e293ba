using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Pipeline.Contracts;
using Pipeline.Ingest.Tasks;

namespace Pipeline.Ingest.OpenInference;

/// <summary>One tensor of a request; its elements stand in the body, as JSON or behind it.</summary>
/// <param name="Json">Place of <c>data</c>; null where the elements are binary.</param>
/// <param name="Binary">Place of the raw elements.</param>
internal sealed record RequestInput(
    string Name,
    string Datatype,
    long[] Shape,
    (int Start, int Length)? Json,
    (int Start, int Length)? Binary
);

/// <summary>One output that was asked for.</summary>
/// <param name="Binary">Whether it is wanted as binary data; null where nothing was said.</param>
internal sealed record RequestOutput(string Name, bool? Binary);

/// <summary>
/// The body of <c>infer</c> (Open Inference Protocol, "Inference Request JSON Object"), perhaps followed by raw tensors (Triton's binary
/// tensor data extension). Finds what was asked for and where the elements are; they are read when the model is known.
/// </summary>
/// <remarks>Members and parameters nobody knows here are left, as other servers do, except those that would change what the answer means.</remarks>
internal sealed class InferenceRequest
{
    private const string Form = "a JSON object {\"inputs\": [{\"name\": …, \"shape\": […], \"datatype\": …, \"data\": […]}]}";
    private const int TensorsMax = 1024;
    private const int RankMax = 32;

    /// <summary>Parameters that ask for what is not here, and what that is.</summary>
    private static readonly Dictionary<string, string> Missing = new(StringComparer.Ordinal)
    {
        ["shared_memory_region"] = "tensors in shared memory are not read or written here",
        ["classification"] = "outputs come as the model gives them",
        ["sequence_id"] = "requests stand for themselves here",
        ["sequence_start"] = "requests stand for themselves here",
        ["sequence_end"] = "requests stand for themselves here",
    };

    private readonly List<RequestInput> _inputs = [];
    private readonly List<RequestOutput> _outputs = [];
    private readonly Mistakes _mistakes;
    private readonly int _jsonBytes;
    private readonly int _bodyBytes;
    private long _binaryAt;

    private InferenceRequest(Mistakes mistakes, int jsonBytes, int bodyBytes) =>
        (_mistakes, _jsonBytes, _bodyBytes, _binaryAt) = (mistakes, jsonBytes, bodyBytes, jsonBytes);

    /// <summary>Returned in the answer, where it was given.</summary>
    public string? Id { get; private set; }

    /// <summary><c>parameters.priority</c> (Triton's schedule policy extension): 1 is the highest, 0 the default.</summary>
    public long Priority { get; private set; }

    /// <summary><c>parameters.timeout</c> in microseconds, as Triton counts it; 0 for none.</summary>
    public long TimeoutUs { get; private set; }

    /// <summary><c>parameters.group</c>: what the rows belong to, beyond the protocol; null for none.</summary>
    public string? Group { get; private set; }

    /// <summary>Whether outputs are wanted as binary data where they do not say.</summary>
    public bool BinaryOutput { get; private set; }

    public IReadOnlyList<RequestInput> Inputs => _inputs;

    /// <summary>The outputs asked for; empty means all of them.</summary>
    public IReadOnlyList<RequestOutput> Outputs => _outputs;

    /// <summary>Reads the body; what is wrong with it is told.</summary>
    /// <param name="jsonBytes">How many bytes of it are the JSON object (<c>Inference-Header-Content-Length</c>).</param>
    public static InferenceRequest Read(ReadOnlySpan<byte> body, int jsonBytes, Mistakes mistakes)
    {
        var request = new InferenceRequest(mistakes, jsonBytes, body.Length);
        var text = body[..jsonBytes];
        if (!Utf8.IsValid(text))
        {
            mistakes.Add(null, "UTF-8", "bytes that are not");
            return request;
        }

        try
        {
            var json = new Utf8JsonReader(text);
            request.ReadObject(ref json);
            request.CheckBinary();
        }
        catch (JsonException e)
        {
            var given = text.IsEmpty ? "an empty body" : $"not JSON at byte {e.BytePositionInLine} of line {e.LineNumber + 1}";
            mistakes.Add(null, Form, given);
        }
        catch (InvalidOperationException)
        {
            // Only the text of names and values can be at fault: half of a surrogate pair.
            mistakes.Add("parameters", SurrogatePairs.Paired, SurrogatePairs.HalfPair);
        }

        return request;
    }

    /// <summary>
    /// A body that is one raw tensor and nothing else ("Raw Binary Request" of Triton's extension): one row of a model with one input, whose shape
    /// the number of bytes tells; BYTES are one element, without its length before it.
    /// </summary>
    /// <param name="bodyBytes">Bytes of the tensor as <see cref="TensorData.TryReadBinary"/> takes it.</param>
    public static InferenceRequest Raw(int bodyBytes, ModelTensors model, Mistakes mistakes)
    {
        const string Field = InferenceAnswer.JsonLengthHeader;
        var request = new InferenceRequest(mistakes, 0, bodyBytes) { BinaryOutput = true };
        if (model.Inputs is not [var tensor])
        {
            mistakes.Add(Field, "JSON before the tensors, since the model has several inputs", "0");
            return request;
        }

        long[] shape = [.. tensor.Shape.Select((dim, axis) => axis == tensor.BatchAxis ? 1 : dim)];
        var open = Array.IndexOf(shape, -1);
        if (tensor.Type == TensorElementType.String ? shape.Any(dim => dim != 1) : shape.Count(dim => dim < 0) > 1)
        {
            mistakes.Add(Field, $"JSON before the tensor, since bytes alone do not tell a shape like {tensor.ShapeText}", "0");
            return request;
        }

        if (open >= 0)
        {
            shape[open] = 1;
            shape[open] = Math.Max(1, bodyBytes / Math.Max(1, TensorForm.Product(shape) * tensor.Type.Size()));
        }

        request._inputs.Add(new RequestInput(tensor.Name, tensor.Type.Datatype(), shape, null, (0, bodyBytes)));
        return request;
    }

    private void ReadObject(scoped ref Utf8JsonReader json)
    {
        json.Read();
        if (json.TokenType != JsonTokenType.StartObject)
        {
            _mistakes.Add(null, Form, TaskInput.Given(ref json));
            json.Skip();
        }

        var hasInputs = false;
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            if (json.ValueTextEquals("id"u8))
            {
                json.Read();
                Id = ReadText("id", ref json);
            }
            else if (json.ValueTextEquals("parameters"u8))
            {
                json.Read();
                TakeParameters(ReadParameters("parameters", ref json));
            }
            else if (json.ValueTextEquals("inputs"u8))
            {
                hasInputs = true;
                json.Read();
                ReadTensors("inputs", ref json, isInput: true);
            }
            else if (json.ValueTextEquals("outputs"u8))
            {
                json.Read();
                ReadTensors("outputs", ref json, isInput: false);
            }
            else
            {
                json.Read();
                json.Skip();
            }
        }

        // What stands after the object is a mistake, and the reader throws it.
        json.Read();
        if (!hasInputs && !_mistakes.Any)
        {
            _mistakes.Add("inputs", "an array of tensors", "nothing");
        }
    }

    private void ReadTensors(string field, scoped ref Utf8JsonReader json, bool isInput)
    {
        if (json.TokenType != JsonTokenType.StartArray)
        {
            // Some clients write what they do not give as null.
            if (isInput || json.TokenType != JsonTokenType.Null)
            {
                _mistakes.Add(field, "an array of objects", TaskInput.Given(ref json));
            }

            json.Skip();
            return;
        }

        for (var i = 0; json.Read() && json.TokenType != JsonTokenType.EndArray; i++)
        {
            var place = $"{field}[{i}]";
            if (i == TensorsMax)
            {
                _mistakes.Add(field, $"at most {TensorsMax} tensors", "more");
            }

            if (json.TokenType != JsonTokenType.StartObject)
            {
                _mistakes.Add(place, "an object with a name", TaskInput.Given(ref json));
                json.Skip();
            }
            else
            {
                ReadTensor(place, ref json, isInput);
            }
        }
    }

    private void ReadTensor(string place, scoped ref Utf8JsonReader json, bool isInput)
    {
        string? name = null,
            datatype = null;
        long[]? shape = null;
        (int, int)? data = null;
        JsonElement? parameters = null;
        var before = _mistakes.Total;
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            if (json.ValueTextEquals("name"u8))
            {
                json.Read();
                name = ReadText($"{place}.name", ref json);
            }
            else if (json.ValueTextEquals("datatype"u8))
            {
                json.Read();
                datatype = ReadText($"{place}.datatype", ref json);
            }
            else if (json.ValueTextEquals("shape"u8) && isInput)
            {
                json.Read();
                shape = ReadShape($"{place}.shape", ref json);
            }
            else if (json.ValueTextEquals("data"u8) && isInput)
            {
                json.Read();
                data = Place(ref json);
            }
            else if (json.ValueTextEquals("parameters"u8))
            {
                json.Read();
                parameters = ReadParameters($"{place}.parameters", ref json);
            }
            else
            {
                json.Read();
                json.Skip();
            }
        }

        if (_mistakes.Total != before)
        {
            return;
        }

        if (name is null)
        {
            _mistakes.Add($"{place}.name", "a string", "nothing");
        }
        else if (isInput)
        {
            AddInput(place, name, datatype, shape, data, parameters);
        }
        else if (_outputs.Any(output => output.Name == name))
        {
            _mistakes.Add($"{place}.name", "every output once", $"\"{Excerpt.Of(name)}\" twice");
        }
        else
        {
            _outputs.Add(new RequestOutput(name, Flag($"{place}.parameters", parameters, "binary_data")));
        }
    }

    private void AddInput(string place, string name, string? datatype, long[]? shape, (int, int)? data, JsonElement? parameters)
    {
        if (datatype is null || shape is null)
        {
            _mistakes.Add(
                $"{place}.{(datatype is null ? "datatype" : "shape")}",
                datatype is null ? "a string" : "an array of whole numbers",
                "nothing"
            );
            return;
        }

        var size = Whole($"{place}.parameters", parameters, "binary_data_size", _bodyBytes, "the bytes of the body");
        if (data is null == size is null)
        {
            _mistakes.Add($"{place}.data", "data, or binary_data_size in parameters", data is null ? "nothing" : "both");
            return;
        }

        (int, int)? binary = size is { } bytes ? ((int)Math.Min(_binaryAt, _bodyBytes), (int)bytes) : null;
        _binaryAt += size ?? 0;
        _inputs.Add(new RequestInput(name, datatype, shape, data, binary));
    }

    /// <summary>The sizes of all raw tensors together are what stands behind the JSON.</summary>
    private void CheckBinary()
    {
        if (_binaryAt != _bodyBytes && !_mistakes.Any)
        {
            _mistakes.Add(
                "binary_data_size",
                $"{_bodyBytes - _jsonBytes} bytes for all inputs together, as many as follow the JSON",
                $"{_binaryAt - _jsonBytes}"
            );
        }
    }

    private void TakeParameters(JsonElement? parameters)
    {
        const string Field = "parameters";
        Priority =
            Whole(Field, parameters, "priority", 2, "express (1), standard (2) and the default (0); bulk work is a job, POST /v1/jobs")
            ?? 0;
        TimeoutUs = Whole(Field, parameters, "timeout", long.MaxValue, "microseconds") ?? 0;
        BinaryOutput = Flag(Field, parameters, "binary_data_output") ?? false;
        Group = Name(Field, parameters, "group");
    }

    private JsonElement? ReadParameters(string field, scoped ref Utf8JsonReader json)
    {
        var parameters = JsonElement.ParseValue(ref json);
        if (parameters.ValueKind != JsonValueKind.Object)
        {
            if (parameters.ValueKind != JsonValueKind.Null)
            {
                _mistakes.Add(field, "an object", Kind(parameters));
            }

            return null;
        }

        foreach (var member in parameters.EnumerateObject())
        {
            // An id of 0 means that there is no sequence.
            if (Missing.TryGetValue(member.Name, out var why) && member.Value.GetRawText() is not ("0" or "false" or "null" or "\"\""))
            {
                _mistakes.Add($"{field}.{member.Name}", $"to be absent: {why}", Excerpt.Of(member.Value.GetRawText()));
            }
        }

        return parameters;
    }

    private long? Whole(string field, JsonElement? parameters, string name, long max, string of)
    {
        if (parameters?.TryGetProperty(name, out var value) is not true || value.ValueKind == JsonValueKind.Null)
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out var whole) && whole >= 0 && whole <= max)
        {
            return whole;
        }

        var upTo = max == long.MaxValue ? "0 or more" : $"0 to {max}";
        _mistakes.Add($"{field}.{name}", $"a whole number, {upTo}: {of}", Excerpt.Of(value.GetRawText()));
        return null;
    }

    private string? Name(string field, JsonElement? parameters, string name)
    {
        if (parameters?.TryGetProperty(name, out var value) is not true || value.ValueKind == JsonValueKind.Null)
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.String && GroupName.IsValid(value.GetString()))
        {
            return value.GetString();
        }

        _mistakes.Add($"{field}.{name}", $"a string of {GroupName.Form}", Excerpt.Of(value.GetRawText()));
        return null;
    }

    private bool? Flag(string field, JsonElement? parameters, string name)
    {
        if (parameters?.TryGetProperty(name, out var value) is not true || value.ValueKind == JsonValueKind.Null)
        {
            return null;
        }

        if (value.ValueKind is JsonValueKind.True or JsonValueKind.False)
        {
            return value.ValueKind == JsonValueKind.True;
        }

        _mistakes.Add($"{field}.{name}", "true or false", Excerpt.Of(value.GetRawText()));
        return null;
    }

    private string? ReadText(string field, scoped ref Utf8JsonReader json)
    {
        if (json.TokenType == JsonTokenType.String)
        {
            var text = new JsonText();
            if (text.TryRead(ref json, out var utf8))
            {
                return Encoding.UTF8.GetString(utf8);
            }
        }
        else if (json.TokenType == JsonTokenType.Null)
        {
            return null;
        }

        _mistakes.Add(field, "a string", TaskInput.Given(ref json));
        json.Skip();
        return null;
    }

    private long[]? ReadShape(string field, scoped ref Utf8JsonReader json)
    {
        if (json.TokenType != JsonTokenType.StartArray)
        {
            _mistakes.Add(field, "an array of whole numbers", TaskInput.Given(ref json));
            json.Skip();
            return null;
        }

        var dims = new List<long>();
        var before = _mistakes.Total;
        while (json.Read() && json.TokenType != JsonTokenType.EndArray)
        {
            if (
                json.TokenType == JsonTokenType.Number
                && json.TryGetInt64(out var dim)
                && dim is >= 0 and <= int.MaxValue
                && dims.Count < RankMax
            )
            {
                dims.Add(dim);
                continue;
            }

            if (_mistakes.Total == before)
            {
                _mistakes.Add($"{field}[{dims.Count}]", $"a whole number, 0 or more; at most {RankMax} of them", TaskInput.Given(ref json));
            }

            json.Skip();
        }

        return _mistakes.Total == before ? [.. dims] : null;
    }

    private static (int Start, int Length) Place(scoped ref Utf8JsonReader json)
    {
        var start = (int)json.TokenStartIndex;
        json.Skip();
        return (start, (int)json.BytesConsumed - start);
    }

    private static string Kind(JsonElement element) => element.ValueKind.ToString().ToLowerInvariant();
}
