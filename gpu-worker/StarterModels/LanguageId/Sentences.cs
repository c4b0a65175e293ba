namespace Pipeline.StarterModels.LanguageId;

/// <summary>The sentences written for this project: one file per language, one sentence per line, apart for training and for judging.</summary>
internal sealed record Sentences(string[] Languages, string[][] Train, string[][] HeldOut)
{
    /// <summary>Reads <c>train/*.txt</c> and <c>heldout/*.txt</c> under a folder; the languages are the file names, in ordinal order.</summary>
    /// <exception cref="InvalidDataException">The two halves do not hold the same languages.</exception>
    public static Sentences Read(string folder)
    {
        var languages = LanguagesIn(Path.Combine(folder, "train"));
        if (!languages.SequenceEqual(LanguagesIn(Path.Combine(folder, "heldout"))))
            throw new InvalidDataException($"{folder}: train and heldout hold different languages");
        return new(languages, ReadHalf("train"), ReadHalf("heldout"));

        string[][] ReadHalf(string half) =>
            [.. languages.Select(language => File.ReadAllLines(Path.Combine(folder, half, $"{language}.txt")))];
    }

    private static string[] LanguagesIn(string folder) =>
        [.. Directory.GetFiles(folder, "*.txt").Select(file => Path.GetFileNameWithoutExtension(file)).Order(StringComparer.Ordinal)];
}
