using Pipeline.StarterModels;
using Pipeline.StarterModels.LanguageId;
using Xunit;

namespace Pipeline.Tests.Unit.StarterModels;

public sealed class LanguageIdTrainerTests
{
    [Theory]
    [InlineData("language-id-small")]
    [InlineData("language-id-large")]
    public void Training_gives_the_committed_files_byte_for_byte(string name)
    {
        var committed = Path.Combine(SourceFolder.Find(), name);

        Assert.Empty(ModelFolder.Differences(committed, ModelFolder.Files(TrainedModels.Named(name))));
    }

    [Fact]
    public void Its_exponential_agrees_with_the_libraries_to_twelve_digits()
    {
        for (var x = 0.0; x > -50; x -= 0.37)
            Assert.Equal(1, LanguageIdTrainer.ExpOfNegative(x) / Math.Exp(x), 12);
        Assert.Equal(0, LanguageIdTrainer.ExpOfNegative(-1000));
    }
}
