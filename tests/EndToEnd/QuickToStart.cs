using Pipeline.Tests.EndToEnd;
using Xunit;

[assembly: AssemblyFixture(typeof(QuickToStart))]

namespace Pipeline.Tests.EndToEnd;

/// <summary>
/// Lets the programs that the tests start compile in tiers. In production each method is compiled once and fully, for services that live for
/// days; these live for seconds, start by the hundred, and most of what they run runs once. What they do is the same. Nor is code compiled
/// again that ran 30 times, as is the rule, but after 8192: the suite takes three quarters of the CPU then.
/// </summary>
public sealed class QuickToStart
{
    public QuickToStart()
    {
        Environment.SetEnvironmentVariable("DOTNET_TieredCompilation", "1");
        Environment.SetEnvironmentVariable("DOTNET_TieredPGO", "0");
        Environment.SetEnvironmentVariable("DOTNET_TC_CallCountThreshold", "2000"); // hexadecimal
    }
}
