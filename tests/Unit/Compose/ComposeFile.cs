using System.Globalization;
using System.Text.RegularExpressions;
using YamlDotNet.Core;
using YamlDotNet.Serialization;

namespace Pipeline.Tests.Unit.Compose;

/// <summary>A Compose file as Docker Compose reads it: variables replaced by their defaults, anchors and merges carried out.</summary>
internal sealed partial class ComposeFile
{
    /// <summary>What stands in for a variable that has no default.</summary>
    public const string Given = "given";

    private static readonly string Folder = Path.Combine(TidyTests.Root, "compose");

    private ComposeFile(string text)
    {
        Variables = [.. Variable().Matches(text).Select(m => new ComposeVariable(m.Groups[1].Value, m.Groups[2].Value, m.Groups[3].Value))];
        Document = new Node(
            "",
            new DeserializerBuilder()
                .WithAttemptingUnquotedStringTypeDeserialization()
                .Build()
                .Deserialize<object>(
                    new MergingParser(
                        new Parser(new StringReader(Variable().Replace(text, m => m.Groups[2].Value == ":-" ? m.Groups[3].Value : Given)))
                    )
                )
        );
    }

    public static ComposeFile Read(string name) => new(File.ReadAllText(Path.Combine(Folder, name)));

    /// <summary>Every use of a variable.</summary>
    public IReadOnlyList<ComposeVariable> Variables { get; }

    public Node Document { get; }

    public IEnumerable<Node> Services => Document["services"].Children;

    public Node Service(string name) => Services.Single(service => service.Name == name);

    /// <summary>The settings of <c>.env.example</c>.</summary>
    public static Dictionary<string, string> ExampleSettings() =>
        File.ReadLines(Path.Combine(Folder, ".env.example"))
            .Where(line => line.Length > 0 && line[0] != '#')
            .Select(line => line.Split('=', 2))
            .ToDictionary(pair => pair[0], pair => pair[1]);

    [GeneratedRegex(@"\$\{([A-Za-z_]+)(:[-?])?([^}]*)\}")]
    private static partial Regex Variable();
}

/// <summary>A use of <c>${NAME:-default}</c> or <c>${NAME:?what to do}</c>.</summary>
internal sealed record ComposeVariable(string Name, string Form, string Text)
{
    public bool IsRequired => Form == ":?";
}

/// <summary>A place in a YAML document. What is not there has no children and no value.</summary>
/// <param name="Path">Where it is: <c>services.ingest.image</c>.</param>
internal sealed record Node(string Path, object? Value)
{
    public string Name => Path[(Path.LastIndexOf('.') + 1)..];

    public Node this[string key] => new($"{Path}.{key}".TrimStart('.'), Map?.GetValueOrDefault(key));

    public IReadOnlyDictionary<string, object?>? Map =>
        (Value as IDictionary<object, object?>)?.ToDictionary(
            pair => Convert.ToString(pair.Key, CultureInfo.InvariantCulture)!,
            pair => pair.Value
        );

    public IReadOnlyList<object?>? List => (Value as IEnumerable<object?>)?.ToList();

    public bool Exists => Value is not null;

    /// <summary>The values of a map, or the items of a list.</summary>
    public IEnumerable<Node> Children =>
        Map is { } map ? map.Select(pair => this[pair.Key])
        : List is { } list ? list.Select((item, at) => new Node($"{Path}.{at}", item))
        : [];

    public IReadOnlyList<string> Strings => [.. Children.Select(child => child.Text)];

    public string Text => Convert.ToString(Value, CultureInfo.InvariantCulture) ?? "";

    public override string ToString() => $"{Path} = {Text}";
}
