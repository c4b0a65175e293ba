using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Unit;

/// <summary>The repository checks itself: the promises of its style that a test can keep.</summary>
public sealed partial class TidyTests
{
    internal static readonly string Root = FindRoot();

    [Fact]
    public void Package_versions_stand_only_in_the_central_file()
    {
        var strays = Projects()
            .SelectMany(path =>
                XDocument
                    .Load(path)
                    .Descendants("PackageReference")
                    .Where(p => p.Attribute("Version") is not null)
                    .Select(p => $"{path}: {p}")
            );
        Assert.Empty(strays);
    }

    [Fact]
    public void Every_project_is_in_the_solution()
    {
        var solution = File.ReadAllText(Path.Combine(Root, "Pipeline.sln"));
        Assert.All(
            Projects(),
            path => Assert.Contains(Path.GetRelativePath(Root, path).Replace('/', '\\'), solution, StringComparison.Ordinal)
        );
    }

    [Fact]
    public void The_shared_words_and_the_policy_need_no_packages()
    {
        string[] pure = ["contracts/Pipeline.Contracts.csproj", "scheduler/Policy/Pipeline.Scheduler.Policy.csproj"];
        Assert.All(pure, path => Assert.Empty(XDocument.Load(Path.Combine(Root, path)).Descendants("PackageReference")));
    }

    [Fact]
    public void The_policy_takes_time_and_chance_by_the_front_door()
    {
        var policy = Sources().Where(path => path.StartsWith(Path.Combine(Root, "scheduler", "Policy"), StringComparison.Ordinal));
        Assert.All(policy, path => Assert.DoesNotMatch(ClockOrChance(), File.ReadAllText(path)));
    }

    [Fact]
    public void Every_command_of_the_front_door_is_explained_above_itself()
    {
        var script = File.ReadAllText(Path.Combine(Root, "pipeline"));
        var commands = CommandFunction().Matches(script).Select(m => m.Groups[1].Value).ToArray();
        Assert.NotEmpty(commands);
        Assert.All(commands, command => Assert.Contains($"\n# {command}: ", script, StringComparison.Ordinal));
    }

    [Fact]
    public void Nothing_sleeps_where_a_signal_can_be_awaited() =>
        Assert.All(
            Sources().Where(path => !path.EndsWith("TidyTests.cs", StringComparison.Ordinal)),
            path => Assert.DoesNotContain("Thread.Sleep(", File.ReadAllText(path), StringComparison.Ordinal)
        );

    [Fact]
    public void Every_source_file_says_its_purpose_before_its_first_type()
    {
        var silent = Sources()
            .Where(path => !IsTestOrProgram(path))
            .Where(path =>
                TypeDeclaration().Match(File.ReadAllText(path)) is { Success: true } type
                && !Before(path, type).Contains("//", StringComparison.Ordinal)
            );
        Assert.Empty(silent.Select(path => Path.GetRelativePath(Root, path)));
    }

    [Fact]
    public void The_database_checks_the_states_that_the_code_knows()
    {
        var schema = string.Concat(
            Directory.GetFiles(Path.Combine(Root, "migrations"), "*.cs", SearchOption.AllDirectories).Select(File.ReadAllText)
        );
        Assert.All(Enum.GetValues<JobState>(), state => Assert.Contains($"'{state.Name()}'", schema, StringComparison.Ordinal));
        Assert.All(Enum.GetValues<TaskOutcome>(), outcome => Assert.Contains($"'{outcome.Name()}'", schema, StringComparison.Ordinal));
        Assert.All(Enum.GetValues<LedgerAccount>(), account => Assert.Contains($"'{account.Name()}'", schema, StringComparison.Ordinal));
    }

    private static string Before(string path, Match type) => File.ReadAllText(path)[..type.Index];

    private static bool IsTestOrProgram(string path) =>
        path.EndsWith("Program.cs", StringComparison.Ordinal)
        || path.Contains($"{Path.DirectorySeparatorChar}Versions{Path.DirectorySeparatorChar}", StringComparison.Ordinal)
        || path.StartsWith(Path.Combine(Root, "tests"), StringComparison.Ordinal);

    private static IEnumerable<string> Projects() => Files("*.csproj");

    private static IEnumerable<string> Sources() => Files("*.cs");

    private static IEnumerable<string> Files(string pattern) =>
        Directory
            .EnumerateFiles(Root, pattern, SearchOption.AllDirectories)
            .Where(path => !BuildFolder().IsMatch(Path.GetRelativePath(Root, path)));

    private static string FindRoot([CallerFilePath] string here = "")
    {
        var folder = Path.GetDirectoryName(here);
        while (folder is not null && !File.Exists(Path.Combine(folder, "Pipeline.sln")))
        {
            folder = Path.GetDirectoryName(folder);
        }

        return folder ?? throw new InvalidOperationException("The tests run away from their sources.");
    }

    [GeneratedRegex(@"(^|/)(bin|obj|node_modules|\.git)/")]
    private static partial Regex BuildFolder();

    [GeneratedRegex(
        @"DateTime(Offset)?\.(Utc)?Now|Stopwatch|Random\.Shared|new Random\(|TimeProvider|Guid\.(NewGuid|CreateVersion7\(\))|Task\.Delay"
    )]
    private static partial Regex ClockOrChance();

    [GeneratedRegex(@"^command_([a-z-]+)\(\)", RegexOptions.Multiline)]
    private static partial Regex CommandFunction();

    [GeneratedRegex(@"^(\[.*\]\s*\n)*(public|internal|file)\s.*\b(class|struct|record|interface|enum)\b", RegexOptions.Multiline)]
    private static partial Regex TypeDeclaration();
}
