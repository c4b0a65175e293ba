using System.Buffers;
using System.Globalization;
using System.Numerics;
using System.Text;
using Pipeline.Contracts;

namespace Pipeline.GpuWorker.Models.Tokenizers;

/// <summary>
/// BERT's tokenisation (Devlin et al., 2019; google-research/bert, tokenization.py): control characters dropped, every CJK ideograph and
/// punctuation mark a word of its own, folded to lower case and without accents where asked; then, word by word, the longest piece of the
/// vocabulary that fits, again and again. A word of more than 100 characters, or with a part that has no piece, is <c>[UNK]</c>.
/// Text that looks like a special token is ordinary text. Ids that came in place of a text are taken as they are.
/// </summary>
internal sealed class WordPieceTokenizer(WordPieceVocabulary vocabulary, bool lowerCase, int maxLength) : ITextTokenizer
{
    private const int WordCharactersMax = 100;

    public int PadId => vocabulary.Pad;

    public int IdMax => vocabulary.Count - 1;

    public TextTask Prepare(ReadOnlyMemory<byte> utf8)
    {
        var ids = TokenIds.AreIn(utf8.Span) ? Framed(TokenIds.Unpack(utf8.Span)) : Tokenize(utf8.Span);
        return new TokenTask(ids) { Units = ids.Length };
    }

    /// <summary>The ids with <c>[CLS]</c> before and <c>[SEP]</c> after, cut at the longest length.</summary>
    public int[] Tokenize(ReadOnlySpan<byte> utf8)
    {
        // A word may begin just before the cut; its pieces are found before they are dropped.
        var room = ArrayPool<int>.Shared.Rent(maxLength + WordCharactersMax);
        var words = new Words(vocabulary, room, maxLength - 1, stackalloc char[2 * (WordCharactersMax + 1)]);
        Span<Rune> parts = stackalloc Rune[BaseCharacters.LengthMax];
        words.Add(vocabulary.Cls);
        while (!utf8.IsEmpty && !words.AreEnough)
        {
            var status = Rune.DecodeFromUtf8(utf8, out var character, out var bytes);
            utf8 = utf8[bytes..];
            if (status != OperationStatus.Done || IsDropped(character))
                continue;
            if (IsSpace(character))
            {
                words.End();
            }
            else if (IsIdeograph(character.Value))
            {
                words.End();
                Append(ref words, character, parts);
                words.End();
            }
            else
            {
                Append(ref words, character, parts);
            }
        }
        words.End();
        var ids = words.Finish(vocabulary.Sep);
        ArrayPool<int>.Shared.Return(room);
        return ids;
    }

    /// <summary>Ids with <c>[CLS]</c> and <c>[SEP]</c> around them, where they did not come with these, cut at the longest length.</summary>
    /// <exception cref="TaskInputException">One is none of the vocabulary.</exception>
    private int[] Framed(ReadOnlySpan<int> ids)
    {
        for (var i = 0; i < ids.Length; i++)
        {
            if (ids[i] < 0 || ids[i] >= vocabulary.Count)
                throw new TaskInputException(
                    $"Token {i}: expected an id of the model's vocabulary, 0 to {vocabulary.Count - 1}, given {ids[i]}."
                );
        }

        if (ids.Length > 1 && ids[0] == vocabulary.Cls && ids[^1] == vocabulary.Sep)
            ids = ids[1..^1];
        return [vocabulary.Cls, .. ids[..Math.Min(ids.Length, maxLength - 2)], vocabulary.Sep];
    }

    private void Append(ref Words words, Rune character, Span<Rune> parts)
    {
        if (!lowerCase)
        {
            words.Append(character, IsPunctuation(character));
            return;
        }
        var count = BaseCharacters.Write(Lower(character), parts);
        foreach (var part in parts[..count])
            // What is left of a capital that has no small form of its own (İ) may be a capital.
            words.Append(Lower(part), IsPunctuation(part));
    }

    private static Rune Lower(Rune character) =>
        character.IsAscii ? new Rune(char.ToLowerInvariant((char)character.Value)) : Rune.ToLowerInvariant(character);

    /// <summary>NUL, the replacement character, and control and format characters other than white space.</summary>
    private static bool IsDropped(Rune character) =>
        character.Value is 0 or 0xFFFD
        || (
            character.Value is not ('\t' or '\n' or '\r')
            && Rune.GetUnicodeCategory(character) is UnicodeCategory.Control or UnicodeCategory.Format
        );

    private static bool IsSpace(Rune character) =>
        character.Value is ' ' or '\t' or '\n' or '\r' || Rune.GetUnicodeCategory(character) == UnicodeCategory.SpaceSeparator;

    /// <summary>The CJK ideographs, not kana or Hangul, whose words are written with spaces or left whole by BERT.</summary>
    private static bool IsIdeograph(int point) =>
        point
            is (>= 0x4E00 and <= 0x9FFF)
                or (>= 0x3400 and <= 0x4DBF)
                or (>= 0x20000 and <= 0x2A6DF)
                or (>= 0x2A700 and <= 0x2B73F)
                or (>= 0x2B740 and <= 0x2B81F)
                or (>= 0x2B820 and <= 0x2CEAF)
                or (>= 0xF900 and <= 0xFAFF)
                or (>= 0x2F800 and <= 0x2FA1F);

    /// <summary>All of ASCII's symbols (even those that Unicode calls no punctuation, as <c>$</c>), and Unicode's punctuation.</summary>
    private static bool IsPunctuation(Rune character) =>
        character.Value is (>= 33 and <= 47) or (>= 58 and <= 64) or (>= 91 and <= 96) or (>= 123 and <= 126)
        || Rune.GetUnicodeCategory(character)
            is UnicodeCategory.ConnectorPunctuation
                or UnicodeCategory.DashPunctuation
                or UnicodeCategory.OpenPunctuation
                or UnicodeCategory.ClosePunctuation
                or UnicodeCategory.InitialQuotePunctuation
                or UnicodeCategory.FinalQuotePunctuation
                or UnicodeCategory.OtherPunctuation;

    /// <summary>The word being read, and the ids of those before it.</summary>
    private ref struct Words(WordPieceVocabulary vocabulary, int[] ids, int idsMax, Span<char> word)
    {
        private readonly Span<char> _word = word;
        private int _ids;
        private int _length;
        private int _characters;

        /// <summary>True when whatever follows would be cut off.</summary>
        public readonly bool AreEnough => _ids >= idsMax;

        public void Add(int id) => ids[_ids++] = id;

        /// <summary>Adds a character to the word, or makes it a word of its own.</summary>
        public void Append(Rune character, bool alone)
        {
            if (alone)
                End();
            if (++_characters <= WordCharactersMax)
                _length += character.EncodeToUtf16(_word[_length..]);
            if (alone)
                End();
        }

        /// <summary>Ends the word and adds its pieces.</summary>
        public void End()
        {
            if (_characters > 0 && !AreEnough)
                AddPieces();
            (_length, _characters) = (0, 0);
        }

        public int[] Finish(int last)
        {
            _ids = Math.Min(_ids, idsMax);
            Add(last);
            return ids.AsSpan(0, _ids).ToArray();
        }

        private void AddPieces()
        {
            var before = _ids;
            var whole = _characters <= WordCharactersMax;
            for (var start = 0; whole && start < _length; )
            {
                var end = Math.Min(_length, start + vocabulary.PieceLengthMax);
                var id = 0;
                while (end > start && !vocabulary.TryFind(_word[start..end], continues: start > 0, out id))
                    end--;
                whole = end > start;
                if (whole)
                    Add(id);
                start = end;
            }
            if (whole)
                return;
            _ids = before;
            Add(vocabulary.Unknown);
        }
    }

    private sealed class TokenTask(int[] ids) : TextTask
    {
        public override int Tokens => ids.Length;

        public override void Write<T>(Span<T> to, int step)
        {
            for (var i = 0; i < ids.Length; i++)
                to[i * step] = T.CreateTruncating(ids[i]);
        }
    }
}
