using Pipeline.Tests.EndToEnd;
using Xunit;

[assembly: AssemblyFixture(typeof(QuickToStart))]

namespace Pipeline.Tests.EndToEnd;

/// <summary>
/// Lets the programs that the tests start compile in tiers. In production each method is compiled once and fully, for services that live for
/// days; these live for seconds, start by the hundred, and most of what they run runs once. What they do is the same. Code is
/// compiled again after 8192 calls, not after 30: in services of seconds the second time rarely pays, and took a quarter of the suite's CPU.
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
