using System.Numerics;
using Pipeline.Contracts;

namespace Pipeline.GpuWorker.Models.Tokenizers;

/// <summary>Turns text into the numbers a model reads.</summary>
internal interface ITextTokenizer
{
    /// <summary>What fills a shorter row up.</summary>
    int PadId { get; }

    /// <summary>The largest number it gives.</summary>
    int IdMax { get; }

    /// <summary>Counts the tokens and keeps what is needed to write them.</summary>
    /// <param name="utf8">The text; must stay alive until the tokens are written.</param>
    TextTask Prepare(ReadOnlyMemory<byte> utf8);
}

/// <summary>A text whose tokens are known.</summary>
internal abstract class TextTask : PreparedTask
{
    /// <summary>Tokens without padding; 0 for an empty text.</summary>
    public abstract int Tokens { get; }

    /// <summary>Writes the tokens, one every <paramref name="step"/> elements.</summary>
    public abstract void Write<T>(Span<T> to, int step)
        where T : unmanaged, IBinaryInteger<T>;
}

internal static class TextTokenizers
{
    /// <exception cref="InvalidModelException">The vocabulary lacks what the tokenizer needs.</exception>
    public static ITextTokenizer Create(TokenizerSpec spec, IReadOnlyList<string> vocabulary) =>
        spec.Type == TokenizerType.Bytes
            ? new ByteTokenizer(spec.MaxLength)
            : new WordPieceTokenizer(new WordPieceVocabulary(spec.Vocab!, vocabulary), spec.LowerCase, spec.MaxLength);
}
