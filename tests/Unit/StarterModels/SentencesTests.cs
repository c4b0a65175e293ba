using Xunit;

namespace Pipeline.Tests.Unit.StarterModels;

public sealed class SentencesTests
{
    private const int TemplateWords = 4;

    [Fact]
    public void Ten_languages_have_sentences_enough_to_train_and_to_judge()
    {
        Assert.Equal(["de", "en", "es", "fr", "it", "nl", "pl", "pt", "sv", "tr"], TrainedModels.Sentences.Languages);
        Assert.All(TrainedModels.Sentences.Train, lines => Assert.InRange(lines.Length, 120, 1000));
        Assert.All(TrainedModels.Sentences.HeldOut, lines => Assert.InRange(lines.Length, 45, 1000));
    }

    [Fact]
    public void No_sentence_stands_twice()
    {
        var all = TrainedModels.Sentences.Train.Concat(TrainedModels.Sentences.HeldOut).SelectMany(lines => lines).ToArray();

        Assert.Equal(all.Length, all.Distinct(StringComparer.Ordinal).Count());
    }

    [Fact]
    public void Held_out_sentences_share_no_run_of_four_words_with_training()
    {
        var trained = TrainedModels.Sentences.Train.SelectMany(lines => lines).SelectMany(Runs).ToHashSet(StringComparer.Ordinal);
        var shared = TrainedModels.Sentences.HeldOut.SelectMany(lines => lines).SelectMany(Runs).Where(trained.Contains);

        Assert.Empty(shared);
    }

    private static IEnumerable<string> Runs(string sentence)
    {
        var words = sentence
            .ToLowerInvariant()
            .Split(' ', StringSplitOptions.RemoveEmptyEntries)
            .Select(word => word.Trim('.', ',', '?', '!', '¿', '¡', ':', ';'))
            .Where(word => word.Length > 0)
            .ToArray();
        return Enumerable
            .Range(0, Math.Max(0, words.Length - TemplateWords + 1))
            .Select(first => string.Join(' ', words.Skip(first).Take(TemplateWords)));
    }
}
