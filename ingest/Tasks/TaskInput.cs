using System.Text.Json;
using Pipeline.Contracts;

namespace Pipeline.Ingest.Tasks;

/// <summary>Reads and checks the value of <c>input</c> as one model wants it. Keeps buffers: one instance serves one submission.</summary>
internal abstract class TaskInput
{
    /// <summary>The reader for a model's tasks.</summary>
    /// <param name="manifest">Completed by registration.</param>
    /// <param name="bytesMax">Bytes of one task's input as stored; the manifest's own limit counts too.</param>
    public static TaskInput For(ModelManifest manifest, int bytesMax)
    {
        var limit = Math.Min(bytesMax, manifest.Limits.InputBytesMax);
        return manifest.Kind == ModelKind.Text ? new TextInput(manifest.Tokenizer, limit) : new TensorInput(manifest.Inputs, limit);
    }

    /// <summary>Reads the value the reader stands on, up to its last token.</summary>
    /// <param name="input">The input as stored; valid until the next call.</param>
    /// <param name="units">What it will cost the device, as estimated at the door; at least 1.</param>
    /// <returns>False when the value does not suit the model; then the mistake is told and the reader may stand anywhere.</returns>
    /// <exception cref="JsonException">The text is not JSON.</exception>
    public abstract bool TryRead(
        scoped ref Utf8JsonReader json,
        TaskPlace place,
        Mistakes mistakes,
        out ReadOnlySpan<byte> input,
        out int units
    );

    /// <summary>Shows what a token is and says: <c>the number 7</c>.</summary>
    internal static string Given(ref readonly Utf8JsonReader json) =>
        json.TokenType switch
        {
            JsonTokenType.StartObject => "an object",
            JsonTokenType.StartArray => "an array",
            JsonTokenType.Number => $"the number {Excerpt.Of(json.ValueSpan)}",
            JsonTokenType.String => $"the string \"{Excerpt.Of(json.ValueSpan)}\"",
            JsonTokenType.True => "true",
            JsonTokenType.False => "false",
            _ => "null",
        };
}
