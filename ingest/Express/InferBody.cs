using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Pipeline.Contracts;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Tasks;

namespace Pipeline.Ingest.Express;

/// <summary>
/// The body of <c>POST /v1/infer</c>: <c>{"model": "…", "input": …}</c> or <c>{"model": "…", "inputs": […]}</c>, and parameters beside them.
/// Finds the parameters and where each input stands; the inputs are read when the model is known.
/// </summary>
internal sealed class InferBody
{
    private const string Form = "a JSON object {\"model\": \"…\", \"input\": …} or {\"model\": \"…\", \"inputs\": […]}";

    private readonly List<(int Start, int Length)> _inputs = [];

    /// <summary>Places of the inputs in the body.</summary>
    public IReadOnlyList<(int Start, int Length)> Inputs => _inputs;

    /// <summary>True when they came as <c>inputs</c>.</summary>
    public bool IsArray { get; private set; }

    /// <summary>Reads the body; what is wrong with it is told.</summary>
    /// <param name="inputsMax">Inputs a request may have.</param>
    public static InferBody Read(ReadOnlySpan<byte> body, JobParameters parameters, int inputsMax, Mistakes mistakes)
    {
        var read = new InferBody();
        if (!Utf8.IsValid(body))
        {
            mistakes.Add(null, "UTF-8", "bytes that are not");
            return read;
        }

        try
        {
            var json = new Utf8JsonReader(body);
            read.ReadObject(ref json, parameters, inputsMax, mistakes);
        }
        catch (JsonException e)
        {
            var given = body.IsEmpty ? "an empty body" : $"not JSON at byte {e.BytePositionInLine} of line {e.LineNumber + 1}";
            mistakes.Add(null, Form, given);
        }
        catch (InvalidOperationException) when (SurrogatePairs.HasHalfPair(body))
        {
            mistakes.Add(null, SurrogatePairs.Paired, SurrogatePairs.HalfPair);
        }

        return read;
    }

    private void ReadObject(scoped ref Utf8JsonReader json, JobParameters parameters, int inputsMax, Mistakes mistakes)
    {
        json.Read();
        if (json.TokenType != JsonTokenType.StartObject)
        {
            mistakes.Add(null, Form, TaskInput.Given(ref json));
            return;
        }

        var given = 0;
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            if (json.ValueTextEquals("input"u8))
            {
                given++;
                json.Read();
                _inputs.Add(Place(ref json));
            }
            else if (json.ValueTextEquals("inputs"u8))
            {
                given++;
                json.Read();
                ReadInputs(ref json, inputsMax, mistakes);
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
        if (given != 1)
        {
            mistakes.Add("input", "input or inputs, once", given == 0 ? "nothing" : "several");
        }
    }

    private void ReadInputs(scoped ref Utf8JsonReader json, int inputsMax, Mistakes mistakes)
    {
        IsArray = true;
        if (json.TokenType != JsonTokenType.StartArray)
        {
            mistakes.Add("inputs", "an array of inputs", TaskInput.Given(ref json));
            json.Skip();
            return;
        }

        var count = 0;
        while (json.Read() && json.TokenType != JsonTokenType.EndArray)
        {
            var place = Place(ref json);
            if (count++ < inputsMax)
            {
                _inputs.Add(place);
            }
        }

        if (count == 0 || count > inputsMax)
        {
            var more = count > inputsMax ? "; send more as a job, POST /v1/jobs" : "";
            mistakes.Add("inputs", $"1 to {inputsMax} inputs{more}", $"{count}");
        }
    }

    /// <summary>Where the value stands that the reader is on; the reader goes to its end.</summary>
    private static (int Start, int Length) Place(scoped ref Utf8JsonReader json)
    {
        var start = (int)json.TokenStartIndex;
        json.Skip();
        return (start, (int)json.BytesConsumed - start);
    }
}
