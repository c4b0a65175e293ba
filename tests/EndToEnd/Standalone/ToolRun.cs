using System.Diagnostics;
using Pipeline.Standalone;
using Xunit;

namespace Pipeline.Tests.EndToEnd.Standalone;

/// <summary>One run of the <c>pipeline</c> tool, as a process of its own, from start to end.</summary>
/// <param name="ExitCode">What it told the shell.</param>
/// <param name="Output">Its standard output.</param>
/// <param name="Error">Its standard error.</param>
internal sealed record ToolRun(int ExitCode, string Output, string Error)
{
    public static string Program { get; } = Path.Combine(AppContext.BaseDirectory, "pipeline.dll");

    public string[] Lines => Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>Runs a command to its end; <c>pipeline submit …</c> is <c>RunAsync("submit", …)</c>.</summary>
    public static async Task<ToolRun> RunAsync(params IEnumerable<string> arguments)
    {
        var (code, output, error) = await Tool.TryRunAsync(
            new ProcessStartInfo("dotnet", [Program, .. arguments]),
            TestContext.Current.CancellationToken
        );
        return new ToolRun(code, output, error);
    }

    /// <summary>Ends with the expected code, or shows what it said.</summary>
    public ToolRun Ended(int code)
    {
        Assert.True(ExitCode == code, $"Expected exit code {code}, given {ExitCode}.\n{Output}\n{Error}");
        return this;
    }
}
