namespace Pipeline.GpuWorker.Models.Tokenizers;

/// <summary>A BERT vocabulary: word starts, and continuations, which the file marks with <c>##</c>. A token's id is its line, from 0.</summary>
internal sealed class WordPieceVocabulary
{
    private const string Mark = "##";

    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _starts;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _continuations;

    /// <exception cref="InvalidModelException">A special token is missing.</exception>
    public WordPieceVocabulary(string file, IReadOnlyList<string> lines)
    {
        var starts = new Dictionary<string, int>(lines.Count, StringComparer.Ordinal);
        var continuations = new Dictionary<string, int>(StringComparer.Ordinal);
        for (var id = 0; id < lines.Count; id++)
        {
            var isContinuation = lines[id].StartsWith(Mark, StringComparison.Ordinal) && lines[id].Length > Mark.Length;
            var (piece, pieces) = isContinuation ? (lines[id][Mark.Length..], continuations) : (lines[id], starts);
            pieces.TryAdd(piece, id);
            PieceLengthMax = Math.Max(PieceLengthMax, piece.Length);
        }

        _starts = starts.GetAlternateLookup<ReadOnlySpan<char>>();
        _continuations = continuations.GetAlternateLookup<ReadOnlySpan<char>>();
        Count = lines.Count;
        Cls = Special("[CLS]");
        Sep = Special("[SEP]");
        Unknown = Special("[UNK]");
        Pad = Special("[PAD]");

        int Special(string token) =>
            starts.TryGetValue(token, out var id)
                ? id
                : throw new InvalidModelException(new ModelMistake(file, "", $"the tokens [CLS], [SEP], [UNK] and [PAD]", $"no {token}"));
    }

    public int Count { get; }

    public int Cls { get; }

    public int Sep { get; }

    public int Unknown { get; }

    public int Pad { get; }

    /// <summary>UTF-16 units of the longest piece.</summary>
    public int PieceLengthMax { get; }

    /// <summary>Finds a piece that starts a word, or one that continues it.</summary>
    public bool TryFind(ReadOnlySpan<char> piece, bool continues, out int id) =>
        (continues ? _continuations : _starts).TryGetValue(piece, out id);
}
