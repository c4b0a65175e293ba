using System.Text.RegularExpressions;

namespace Pipeline.Tests.Unit.Compose;

/// <summary>The stages of <c>compose/Dockerfile</c>.</summary>
internal sealed partial class Dockerfile
{
    private Dockerfile(IReadOnlyList<Stage> stages) => Stages = stages;

    public IReadOnlyList<Stage> Stages { get; }

    public static Dockerfile Read()
    {
        var text = LineEnd().Replace(Comment().Replace(File.ReadAllText(Path.Combine(TidyTests.Root, "compose", "Dockerfile")), ""), " ");
        var stages = new List<Stage>();
        foreach (var line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (From().Match(line) is { Success: true } from)
            {
                stages.Add(new Stage(from.Groups[2].Value, from.Groups[1].Value, []));
            }
            else if (stages.Count > 0)
            {
                stages[^1].Lines.Add(line);
            }
        }

        return new Dockerfile(stages);
    }

    public Stage Target(string name) => Stages.Single(stage => stage.Name == name);

    /// <summary>A stage and those it is made from, for a source of ONNX Runtime.</summary>
    public IEnumerable<Stage> Ancestry(string name, string source)
    {
        for (var at = Stages.SingleOrDefault(s => s.Name == name); at is not null; )
        {
            yield return at;
            var from = at.From.Replace("${ONNX_RUNTIME_SOURCE}", source, StringComparison.Ordinal);
            at = Stages.SingleOrDefault(s => s.Name == from);
        }
    }

    [GeneratedRegex("^ *#.*\n", RegexOptions.Multiline)]
    private static partial Regex Comment();

    [GeneratedRegex(@"\\\n *")]
    private static partial Regex LineEnd();

    [GeneratedRegex("^FROM (\\S+) AS (\\S+)$")]
    private static partial Regex From();
}

internal sealed record Stage(string Name, string From, List<string> Lines)
{
    /// <summary>What a kind of line says: <c>USER</c>, <c>ENTRYPOINT</c>, <c>COPY</c>, ….</summary>
    public IEnumerable<string> Of(string instruction) =>
        Lines
            .Where(line => line.StartsWith($"{instruction} ", StringComparison.Ordinal))
            .Select(line => line[(instruction.Length + 1)..].Trim());
}
