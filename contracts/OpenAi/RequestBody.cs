using System.Text;
using System.Text.Json;

namespace Pipeline.OpenAi;

/// <summary>Takes what is wrong with a request: <c>(code, param, message)</c>.</summary>
internal delegate void TellMistake(string code, string? param, string message);

/// <summary>Endpoints whose requests are understood, alone and as lines of a batch.</summary>
internal static class Endpoints
{
    public const string Embeddings = "/v1/embeddings";
    public const string Moderations = "/v1/moderations";
    public const string Infer = "/v1/infer";

    public static readonly IReadOnlyList<string> All = [Embeddings, Moderations, Infer];
}

/// <summary>
/// The body of a request for embeddings, moderation or plain inference. What it says of the model is checked by whoever knows the model.
/// </summary>
/// <param name="Inputs">One a task: a string, an array of token ids, or, for plain inference, whatever the model takes.</param>
/// <param name="IsList">True when the request gave a list of inputs.</param>
/// <param name="Base64">Embeddings are wanted as base64 of little-endian float32.</param>
internal sealed record RequestBody(
    string Model,
    IReadOnlyList<JsonElement> Inputs,
    bool IsList,
    bool Base64,
    int? Dimensions,
    string? ServiceTier
)
{
    /// <summary>Inputs of one request at most, as OpenAI has it.</summary>
    public const int InputsMax = 2048;

    private static readonly string[] EmbeddingFields = ["model", "input", "encoding_format", "dimensions", "user", "service_tier"];
    private static readonly string[] OtherFields = ["model", "input", "service_tier"];

    /// <summary>Reads a body; every mistake is told.</summary>
    /// <returns>Null when there was one.</returns>
    public static RequestBody? Read(JsonElement body, string endpoint, TellMistake tell)
    {
        if (body.ValueKind != JsonValueKind.Object)
        {
            tell("invalid_body", "body", $"body: expected a JSON object, given {Kind(body)}.");
            return null;
        }

        var good = true;
        TellMistake note = (code, param, message) =>
        {
            good = false;
            tell(code, param, message);
        };
        var fields = endpoint == Endpoints.Embeddings ? EmbeddingFields : OtherFields;
        foreach (var member in body.EnumerateObject().Where(member => !fields.Contains(member.Name)))
        {
            note(
                "unknown_parameter",
                member.Name,
                $"{member.Name}: expected only {string.Join(", ", fields)}, given a field of that name."
            );
        }

        var model = ReadText(body, "model", null, note);
        if (model is null && good)
        {
            note("missing_required_parameter", "model", "model: expected the name of a model, given nothing.");
        }

        var base64 = ReadText(body, "encoding_format", ["float", "base64"], note) == "base64";
        var tier = ReadText(body, "service_tier", ["priority", "default", "auto", "flex"], note);
        var dimensions = ReadDimensions(body, note);
        var inputs = ReadInputs(body, endpoint, out var isList, note);
        return good ? new RequestBody(model!, inputs, isList, base64, dimensions, tier) : null;
    }

    /// <summary>The ids of an input that is an array of tokens, checked against the vocabulary.</summary>
    /// <param name="vocabulary">Number of ids.</param>
    public static byte[]? ReadByteTokens(JsonElement input, int vocabulary, string param, TellMistake tell)
    {
        var bytes = new byte[input.GetArrayLength()];
        var at = 0;
        foreach (var token in input.EnumerateArray())
        {
            if (!token.TryGetInt32(out var id) || id < 0 || id >= vocabulary)
            {
                tell("invalid_token", param, $"{param}[{at}]: expected a token from 0 to {vocabulary - 1}, given {Excerpt(token)}.");
                return null;
            }

            bytes[at++] = (byte)id;
        }

        return bytes;
    }

    public static string Kind(JsonElement value) =>
        value.ValueKind switch
        {
            JsonValueKind.Undefined => "nothing",
            JsonValueKind.Object => "an object",
            JsonValueKind.Array => "an array",
            JsonValueKind.String => $"the string {Excerpt(value)}",
            _ => Excerpt(value),
        };

    /// <summary>A value in a message: short.</summary>
    public static string Excerpt(JsonElement value)
    {
        const int Max = 60;
        var text = value.GetRawText();
        return text.Length > Max ? $"{text[..Max]}…" : text;
    }

    private static string? ReadText(JsonElement body, string name, string[]? allowed, TellMistake tell)
    {
        if (!body.TryGetProperty(name, out var value) || value.ValueKind == JsonValueKind.Null)
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.String && (allowed is null || allowed.Contains(value.GetString())))
        {
            return value.GetString();
        }

        tell(
            "invalid_value",
            name,
            $"{name}: expected {(allowed is null ? "a string" : string.Join(" or ", allowed))}, given {Kind(value)}."
        );
        return null;
    }

    private static int? ReadDimensions(JsonElement body, TellMistake tell)
    {
        if (!body.TryGetProperty("dimensions", out var value) || value.ValueKind == JsonValueKind.Null)
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out var dimensions) && dimensions > 0)
        {
            return dimensions;
        }

        tell("invalid_value", "dimensions", $"dimensions: expected a whole number above 0, given {Kind(value)}.");
        return null;
    }

    private static IReadOnlyList<JsonElement> ReadInputs(JsonElement body, string endpoint, out bool isList, TellMistake tell)
    {
        isList = false;
        if (!body.TryGetProperty("input", out var input) || input.ValueKind == JsonValueKind.Null)
        {
            tell("missing_required_parameter", "input", "input: expected the input, given nothing.");
            return [];
        }

        if (endpoint == Endpoints.Infer)
        {
            return [input];
        }

        if (input.ValueKind == JsonValueKind.Array && input.GetArrayLength() > 0 && input[0].ValueKind != JsonValueKind.Number)
        {
            isList = true;
            if (input.GetArrayLength() > InputsMax)
            {
                tell("too_many_inputs", "input", $"input: expected at most {InputsMax} inputs, given {input.GetArrayLength()}.");
                return [];
            }
        }

        IReadOnlyList<JsonElement> inputs = isList ? [.. input.EnumerateArray()] : [input];
        for (var i = 0; i < inputs.Count; i++)
        {
            CheckInput(inputs[i], endpoint, isList ? $"input[{i}]" : "input", tell);
        }

        return inputs;
    }

    private static void CheckInput(JsonElement input, string endpoint, string param, TellMistake tell)
    {
        var tokens = endpoint == Endpoints.Embeddings;
        if (input.ValueKind == JsonValueKind.String)
        {
            if (input.ValueEquals(""u8))
            {
                tell("empty_input", param, $"{param}: expected text that is not empty, given \"\".");
            }
        }
        else if (!tokens || input.ValueKind != JsonValueKind.Array)
        {
            tell("invalid_value", param, $"{param}: expected a string{(tokens ? " or an array of tokens" : "")}, given {Kind(input)}.");
        }
        else if (input.GetArrayLength() == 0)
        {
            tell("empty_input", param, $"{param}: expected at least one token, given an empty array.");
        }
    }
}
