using System.Text;

namespace Pipeline.StarterModels.LanguageId;

/// <summary>
/// Softmax regression over counts of hashed byte runs, by AdaGrad, on random pieces of the training sentences.
/// One thread, plain double arithmetic, an own exponential and a seeded generator: the same sentences give the same bytes on every machine.
/// </summary>
internal sealed class LanguageIdTrainer
{
    private const ulong Seed = 20;
    private const int Epochs = 40;
    private const int PiecesPerSentence = 4;
    private const int ShortestPiece = 5;
    private const int LongestPiece = 29;
    private const double LearningRate = 0.05;

    private readonly LanguageIdSpec _spec;
    private readonly string[] _languages;
    private readonly (int Language, byte[] Text)[] _examples;
    private readonly double[] _weights;
    private readonly double[] _squares;
    private readonly Prng _prng = new(Seed);
    private readonly List<int> _rows = [];

    private LanguageIdTrainer(LanguageIdSpec spec, Sentences sentences)
    {
        _spec = spec;
        _languages = sentences.Languages;
        _examples = [.. sentences.Train.SelectMany((lines, language) => lines.Select(line => (language, Encoding.UTF8.GetBytes(line))))];
        _weights = new double[spec.Rows * _languages.Length];
        _squares = new double[_weights.Length];
    }

    public static LanguageIdModel Train(LanguageIdSpec spec, Sentences sentences)
    {
        var trainer = new LanguageIdTrainer(spec, sentences);
        for (var epoch = 0; epoch < Epochs; epoch++)
            trainer.Pass();
        return trainer.Quantise();
    }

    private void Pass()
    {
        _prng.Shuffle(_examples);
        foreach (var (language, text) in _examples)
        {
            Step(language, text);
            for (var piece = 0; piece < PiecesPerSentence; piece++)
                Step(language, Piece(text));
        }
    }

    /// <summary>A random stretch of the text that begins and ends between characters.</summary>
    private ReadOnlySpan<byte> Piece(byte[] text)
    {
        var length = Math.Min(text.Length, ShortestPiece + _prng.Below(LongestPiece - ShortestPiece + 1));
        var start = _prng.Below(text.Length - length + 1);
        var end = start + length;
        while (start > 0 && IsContinuation(text[start]))
            start--;
        while (end < text.Length && IsContinuation(text[end]))
            end++;
        return text.AsSpan(start, end - start);
    }

    private void Step(int language, ReadOnlySpan<byte> text)
    {
        _rows.Clear();
        ByteRuns.Collect(_spec, text, _rows);
        var errors = Probabilities();
        errors[language] -= 1;
        foreach (var row in _rows)
        {
            if (row == ByteRuns.NoRow)
                continue;
            for (var column = 0; column < errors.Length; column++)
            {
                var at = row * errors.Length + column;
                _squares[at] += errors[column] * errors[column];
                _weights[at] -= LearningRate * errors[column] / (Math.Sqrt(_squares[at]) + 1e-3);
            }
        }
    }

    private double[] Probabilities()
    {
        var scores = new double[_languages.Length];
        foreach (var row in _rows)
        {
            for (var column = 0; column < scores.Length; column++)
                scores[column] += _weights[row * scores.Length + column];
        }
        var highest = scores.Max();
        var total = 0.0;
        for (var column = 0; column < scores.Length; column++)
            total += scores[column] = ExpOfNegative(scores[column] - highest);
        for (var column = 0; column < scores.Length; column++)
            scores[column] /= total;
        return scores;
    }

    /// <summary>Rounds the weights to eight bits, so that the largest of them becomes 127.</summary>
    private LanguageIdModel Quantise()
    {
        var step = _weights.Max(Math.Abs) / 127;
        return new(_spec, _languages, [.. _weights.Select(weight => (sbyte)Math.Round(weight / step))], (float)step);
    }

    /// <summary>
    /// e^x for x ≤ 0 from operations that IEEE 754 fixes to the bit (the C library's exponential is not one): halve x until it is
    /// small, sum the Taylor series, square back.
    /// </summary>
    internal static double ExpOfNegative(double x)
    {
        if (x < -60)
            return 0;
        var halvings = 0;
        for (; x < -0.25; x /= 2)
            halvings++;
        var sum = 1.0;
        for (var term = 12; term >= 1; term--)
            sum = 1 + x / term * sum;
        for (; halvings > 0; halvings--)
            sum *= sum;
        return sum;
    }

    private static bool IsContinuation(byte value) => (value & 0xC0) == 0x80;
}
