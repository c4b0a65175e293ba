namespace Pipeline.StarterModels.LanguageId;

/// <summary>
/// How often an identifier names the right language, on pieces of the held-out sentences, by length. A sentence is cut into pieces of
/// whole words once for each length; a piece ends with the word that brings it to the length, and a shorter rest is left out.
/// </summary>
/// <param name="Lengths">One row per length, shortest first.</param>
internal sealed record Accuracy(IReadOnlyList<Accuracy.AtLength> Lengths)
{
    private static readonly (string Name, Func<string, IEnumerable<string>> Cut)[] Cuts =
    [
        ("10 characters", line => Pieces(line, 10)),
        ("20 characters", line => Pieces(line, 20)),
        ("40 characters", line => Pieces(line, 40)),
        ("whole sentence", line => [line]),
    ];

    /// <summary>The headline: every length counts the same, though there are more short pieces than long ones.</summary>
    public double Mean => Lengths.Average(length => length.Share);

    public static Accuracy Measure(LanguageIdModel model, Sentences sentences) =>
        new([.. Cuts.Select(cut => Measure(model, sentences, cut.Name, cut.Cut))]);

    private static AtLength Measure(LanguageIdModel model, Sentences sentences, string name, Func<string, IEnumerable<string>> cut)
    {
        var (right, pieces) = (0, 0);
        for (var language = 0; language < sentences.Languages.Length; language++)
        {
            foreach (var piece in sentences.HeldOut[language].SelectMany(cut))
            {
                pieces++;
                right += model.Classify(piece) == language ? 1 : 0;
            }
        }
        return new(name, right, pieces);
    }

    private static IEnumerable<string> Pieces(string line, int length)
    {
        var piece = "";
        foreach (var word in line.Split(' '))
        {
            piece = piece.Length == 0 ? word : $"{piece} {word}";
            if (piece.Length < length)
                continue;
            yield return piece;
            piece = "";
        }
    }

    /// <summary>The share of right answers among the pieces of one length.</summary>
    internal sealed record AtLength(string Name, int Right, int Pieces)
    {
        public double Share => (double)Right / Pieces;
    }
}
