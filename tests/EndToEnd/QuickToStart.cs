using Pipeline.Tests.EndToEnd;
using Xunit;

[assembly: AssemblyFixture(typeof(QuickToStart))]

namespace Pipeline.Tests.EndToEnd;

/// <summary>
/// Lets the programs that the tests start compile in tiers. In production each method is compiled once and fully, for services that live for
/// days; these live for seconds, start by the hundred, and most of what they run runs once. What they do is the same.
/// </summary>
public sealed class QuickToStart
{
    public QuickToStart()
    {
        Environment.SetEnvironmentVariable("DOTNET_TieredCompilation", "1");
        Environment.SetEnvironmentVariable("DOTNET_TieredPGO", "0");
    }
}
