using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public class RandomLifeTests
{
    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 40)];

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Everything_ends_and_only_culprits_fail(int seed)
    {
        var life = new RandomLife(seed, disasters: false);
        life.Run(busy: TimeSpan.FromSeconds(60), atMost: TimeSpan.FromHours(2));

        Assert.True(life.IsOver, $"seed {seed}");
        Assert.True(life.Crashes <= 4 * life.Poisonous, $"seed {seed}: {life.Crashes} crashes over {life.Poisonous} poisonous tasks");
        Assert.All(life.Chunks, OnlyTheCulpritFailed);
    }

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Everything_ends_whoever_is_killed_or_replaced(int seed)
    {
        var life = new RandomLife(seed, disasters: true);
        life.Run(busy: TimeSpan.FromSeconds(60), atMost: TimeSpan.FromHours(2));

        Assert.True(life.IsOver, $"seed {seed}");
    }

    private static void OnlyTheCulpritFailed(RandomLife.TrueChunk chunk) =>
        Assert.All(
            Enumerable.Range(0, chunk.Results.Length),
            task => Assert.True(chunk.Results[task] != TaskOutcome.Failed || task == chunk.Poison, $"task {task} of {chunk.Key} failed")
        );
}
