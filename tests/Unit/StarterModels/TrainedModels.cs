using Pipeline.StarterModels;
using Pipeline.StarterModels.LanguageId;

namespace Pipeline.Tests.Unit.StarterModels;

/// <summary>Both language identifiers, trained once per run; nothing in them ever changes.</summary>
internal static class TrainedModels
{
    private static readonly Lazy<Sentences> ReadSentences = new(() => Sentences.Read(Path.Combine(SourceFolder.Find(), "Sentences")));
    private static readonly Lazy<LanguageIdModel> TrainedSmall = new(() => LanguageIdTrainer.Train(LanguageIdSpec.Small, Sentences));
    private static readonly Lazy<LanguageIdModel> TrainedLarge = new(() => LanguageIdTrainer.Train(LanguageIdSpec.Large, Sentences));

    public static Sentences Sentences => ReadSentences.Value;

    public static LanguageIdModel Small => TrainedSmall.Value;

    public static LanguageIdModel Large => TrainedLarge.Value;

    public static LanguageIdModel Named(string name) => name == LanguageIdSpec.Small.Name ? Small : Large;
}
