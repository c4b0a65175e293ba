using System.Runtime.InteropServices;
using System.Text.Json;
using Pipeline.Contracts;

namespace Pipeline.OpenAi;

/// <summary>A task's output as it is stored.</summary>
internal readonly record struct StoredOutput(byte[] Bytes, string ContentType);

/// <summary>Answers in OpenAI's shapes, alone and in the lines of an output file.</summary>
internal static class ResponseBody
{
    private const double FlaggedMin = 0.5;

    /// <summary>Writes the body that answers <paramref name="request"/>.</summary>
    /// <param name="outputs">One an input, in their order.</param>
    /// <param name="units">What the inputs came to: tokens, for a text model.</param>
    /// <param name="id">Names the answer.</param>
    /// <exception cref="InvalidDataException">An output is not what the endpoint needs.</exception>
    public static void Write(
        Utf8JsonWriter json,
        string endpoint,
        RequestBody request,
        ModelManifest model,
        IReadOnlyList<StoredOutput> outputs,
        long units,
        LatencyClass served,
        string id
    )
    {
        json.WriteStartObject();
        switch (endpoint)
        {
            case Endpoints.Embeddings:
                WriteEmbeddings(json, request, model.Result.Normalize, outputs);
                break;
            case Endpoints.Moderations:
                json.WriteString("id", id);
                WriteModerations(json, model, outputs);
                break;
            default:
                json.WriteString("id", id);
                json.WriteString("object", "inference");
                json.WritePropertyName("output");
                Pipeline.Hosting.ResultJson.WriteOutputValue(json, outputs[0].Bytes, outputs[0].ContentType);
                break;
        }

        json.WriteString("model", model.Ref.ToString());
        json.WriteStartObject("usage");
        json.WriteNumber("prompt_tokens", units);
        json.WriteNumber("total_tokens", units);
        json.WriteEndObject();
        json.WriteString("service_tier", Batches.ServiceTiers.NameOf(served));
        json.WriteEndObject();
    }

    private static void WriteEmbeddings(Utf8JsonWriter json, RequestBody request, bool normalize, IReadOnlyList<StoredOutput> outputs)
    {
        json.WriteString("object", "list");
        json.WriteStartArray("data");
        for (var i = 0; i < outputs.Count; i++)
        {
            json.WriteStartObject();
            json.WriteString("object", "embedding");
            json.WriteNumber("index", i);
            WriteEmbedding(json, outputs[i], request, normalize);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteEmbedding(Utf8JsonWriter json, StoredOutput output, RequestBody request, bool normalize)
    {
        if (
            output.ContentType != PackedTensors.ContentType
            || PackedTensors.Read(output.Bytes) is not [{ Type: TensorElementType.Float32, Shape.Length: 1 } embedding]
        )
        {
            throw new InvalidDataException("The output is not one vector of float32.");
        }

        if (request.Dimensions is { } dimensions && dimensions < embedding.Shape[0])
        {
            embedding = Shortened(embedding, dimensions, normalize);
        }

        if (request.Base64)
        {
            // Stored little-endian, as it is asked for.
            json.WriteBase64String("embedding", embedding.Data.Span);
            return;
        }

        json.WriteStartArray("embedding");
        PackedTensors.WriteElements(json, embedding);
        json.WriteEndArray();
    }

    /// <summary>The front of a vector; what had unit length has it again.</summary>
    private static PackedTensor Shortened(PackedTensor embedding, int dimensions, bool normalize)
    {
        var front = embedding.Data[..(dimensions * sizeof(float))].ToArray();
        if (normalize)
        {
            UnitLength.Scale(MemoryMarshal.Cast<byte, float>(front.AsSpan()));
        }

        return embedding with
        {
            Shape = [dimensions],
            Data = front,
        };
    }

    private static void WriteModerations(Utf8JsonWriter json, ModelManifest model, IReadOnlyList<StoredOutput> outputs)
    {
        json.WriteStartArray("results");
        foreach (var output in outputs)
        {
            using var stored = JsonDocument.Parse(output.Bytes);
            if (!stored.RootElement.TryGetProperty("labels", out var labels))
            {
                throw new InvalidDataException("The output has no labels.");
            }

            var scores = labels
                .EnumerateArray()
                .Select(l => (Label: l.GetProperty("label").GetString()!, Score: l.GetProperty("score").GetDouble()))
                .ToList();
            bool Flags((string Label, double Score) l) => l.Score >= FlaggedMin && model.Result.Flagged?.Contains(l.Label) != false;
            json.WriteStartObject();
            json.WriteBoolean("flagged", scores.Any(Flags));
            json.WriteStartObject("categories");
            scores.ForEach(l => json.WriteBoolean(l.Label, Flags(l)));
            json.WriteEndObject();
            json.WriteStartObject("category_scores");
            scores.ForEach(l => json.WriteNumber(l.Label, l.Score));
            json.WriteEndObject();
            json.WriteStartObject("category_applied_input_types");
            foreach (var (label, _) in scores)
            {
                json.WriteStartArray(label);
                json.WriteStringValue("text");
                json.WriteEndArray();
            }

            json.WriteEndObject();
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }
}
