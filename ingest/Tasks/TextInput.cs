using System.Text.Json;
using Pipeline.Contracts;

namespace Pipeline.Ingest.Tasks;

/// <summary>A text model's input: a JSON string, stored as its UTF-8.</summary>
internal sealed class TextInput(TokenizerSpec? tokenizer, int bytesMax) : TaskInput
{
    private readonly JsonText _text = new();

    public override bool TryRead(
        scoped ref Utf8JsonReader json,
        TaskPlace place,
        Mistakes mistakes,
        out ReadOnlySpan<byte> input,
        out int units
    )
    {
        input = default;
        units = 0;
        if (json.TokenType != JsonTokenType.String)
        {
            mistakes.Add("input", "a string", Given(in json), place);
            return false;
        }

        if (!_text.TryRead(ref json, out input))
        {
            mistakes.Add("input", SurrogatePairs.Paired, Given(in json), place);
            return false;
        }

        if (input.Length > bytesMax)
        {
            mistakes.Add("input", $"at most {bytesMax} bytes", $"{input.Length} bytes", place);
            return false;
        }

        units = Units(input.Length);
        return true;
    }

    /// <summary>
    /// Tokens. Bytes are counted exactly; word pieces are estimated (English has about four bytes a piece, and two special ones stand
    /// around them): the worker counts the real ones.
    /// </summary>
    private int Units(int bytes) =>
        tokenizer?.Type switch
        {
            TokenizerType.WordPiece => Math.Clamp((bytes / 4) + 2, 1, tokenizer.MaxLength),
            TokenizerType.Bytes => Math.Clamp(bytes, 1, tokenizer.MaxLength),
            _ => Math.Max(bytes, 1),
        };
}
