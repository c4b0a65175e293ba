using Pipeline.Tests.EndToEnd;
using Xunit;

[assembly: AssemblyFixture(typeof(QuickToStart))]

namespace Pipeline.Tests.EndToEnd;

/// <summary>
/// Lets the programs that the tests start compile less: these live for seconds, start by the hundred, and most of what they run runs once.
/// How code runs is not watched, and it is compiled again after 8192 calls, not after 30: the second time rarely pays within seconds, and
/// took a quarter of the suite's CPU. What the programs do is the same.
/// </summary>
public sealed class QuickToStart
{
    public QuickToStart()
    {
        Environment.SetEnvironmentVariable("DOTNET_TieredPGO", "0");
        Environment.SetEnvironmentVariable("DOTNET_TC_CallCountThreshold", "2000"); // hexadecimal
    }
}
