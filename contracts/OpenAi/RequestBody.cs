using System.Text;
using System.Text.Json;
using Pipeline.Contracts;

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
    /// <summary>The metadata key that names the group what is sent belongs to (<see cref="GroupName"/>), here and in the metadata of a batch.</summary>
    public const string GroupKey = "pipeline_group";

    private const string Metadata = "metadata";

    /// <summary>Inputs of one request at most, as OpenAI has it.</summary>
    public const int InputsMax = 2048;

    private static readonly string[] EmbeddingFields =
    [
        "model",
        "input",
        "encoding_format",
        "dimensions",
        "user",
        "service_tier",
        Metadata,
    ];
    private static readonly string[] OtherFields = ["model", "input", "service_tier", Metadata];

    /// <summary>The group the inputs belong to; null where none is named.</summary>
    public string? Group { get; private init; }

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
        var group = body.TryGetProperty(Metadata, out var metadata) ? ReadGroup(metadata, note) : null;
        return good ? new RequestBody(model!, inputs, isList, base64, dimensions, tier) { Group = group } : null;
    }

    /// <summary>The group that metadata names; what is wrong with it is told.</summary>
    /// <param name="mayHaveOthers">True where other keys are their owner's to choose.</param>
    public static string? ReadGroup(JsonElement metadata, TellMistake tell, bool mayHaveOthers = false)
    {
        if (metadata.ValueKind != JsonValueKind.Object)
        {
            if (metadata.ValueKind != JsonValueKind.Null)
            {
                tell("invalid_value", Metadata, $"{Metadata}: expected an object, given {Kind(metadata)}.");
            }

            return null;
        }

        foreach (var member in metadata.EnumerateObject().Where(member => !mayHaveOthers && member.Name != GroupKey))
        {
            tell(
                "unknown_parameter",
                $"{Metadata}.{member.Name}",
                $"{Metadata}.{member.Name}: expected only {GroupKey}, given a field of that name."
            );
        }

        if (!metadata.TryGetProperty(GroupKey, out var group))
        {
            return null;
        }

        if (group.ValueKind == JsonValueKind.String && GroupName.IsValid(group.GetString()))
        {
            return group.GetString();
        }

        tell(
            "invalid_value",
            $"{Metadata}.{GroupKey}",
            $"{Metadata}.{GroupKey}: expected a string of {GroupName.Form}, given {Kind(group)}."
        );
        return null;
    }

    /// <summary>The ids of an input that is an array of tokens, checked against the vocabulary as far as its size is known.</summary>
    /// <param name="vocabulary">Number of ids; <see cref="int.MaxValue"/> where only the worker knows.</param>
    public static int[]? ReadTokens(JsonElement input, int vocabulary, string param, TellMistake tell)
    {
        var ids = new int[input.GetArrayLength()];
        var at = 0;
        foreach (var token in input.EnumerateArray())
        {
            if (token.ValueKind != JsonValueKind.Number || !token.TryGetInt32(out var id) || id < 0 || id >= vocabulary)
            {
                var expected = vocabulary == int.MaxValue ? "a token of the model's vocabulary" : $"a token from 0 to {vocabulary - 1}";
                tell("invalid_token", param, $"{param}[{at}]: expected {expected}, given {Excerpt(token)}.");
                return null;
            }

            ids[at++] = id;
        }

        return ids;
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
