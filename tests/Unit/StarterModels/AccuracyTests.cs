using Pipeline.StarterModels.LanguageId;
using Xunit;

namespace Pipeline.Tests.Unit.StarterModels;

public sealed class AccuracyTests
{
    [Fact]
    public void The_small_model_is_right_on_93_of_100_held_out_pieces() =>
        Assert.InRange(Accuracy.Measure(TrainedModels.Small, TrainedModels.Sentences).Mean, 0.93, 1);

    [Fact]
    public void The_large_model_is_better_by_at_least_three_points()
    {
        var small = Accuracy.Measure(TrainedModels.Small, TrainedModels.Sentences);
        var large = Accuracy.Measure(TrainedModels.Large, TrainedModels.Sentences);

        Assert.InRange(large.Mean - small.Mean, 0.03, 1);
    }

    [Theory]
    [InlineData("language-id-small")]
    [InlineData("language-id-large")]
    public void Whole_sentences_are_named_right_in_98_of_100_cases(string name) =>
        Assert.InRange(Accuracy.Measure(TrainedModels.Named(name), TrainedModels.Sentences).Lengths[^1].Share, 0.98, 1);
}
