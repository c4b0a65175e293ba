using System.Globalization;
using YamlDotNet.RepresentationModel;

namespace Pipeline.ResultsApi.Sla.Objectives;

/// <summary>What is wrong with an OpenSLO file, and where.</summary>
/// <param name="Line">Counted from 1.</param>
internal sealed record OpenSloMistake(string File, long Line, string Field, string Expected, string Given)
{
    public override string ToString() => $"{File}:{Line}: {Field} expects {Expected}, given {Given}";
}

/// <summary>
/// A mapping of a file, read member by member. What is missing, of another form or unknown is noted with its line, and reading goes on: so
/// all mistakes of a file are told at once.
/// </summary>
internal sealed class OpenSloNode(string file, string path, YamlMappingNode mapping, List<OpenSloMistake> mistakes)
{
    private readonly HashSet<string> _asked = new(StringComparer.Ordinal);

    public string File => file;

    public bool Has(string name) => mapping.Children.ContainsKey(new YamlScalarNode(name));

    /// <summary>A member's text; null where it is not there, which is a mistake if it is required.</summary>
    public string? Text(string name, string expected, bool required = true)
    {
        if (Find(name, expected, required) is not { } node)
        {
            return null;
        }

        if (node is YamlScalarNode { Value: { Length: > 0 } text })
        {
            return text;
        }

        Refuse(name, expected, node);
        return null;
    }

    /// <summary>The same, of which <paramref name="parse"/> makes a value; null is a mistake.</summary>
    public T? Value<T>(string name, string expected, Func<string, T?> parse, bool required = true)
        where T : struct
    {
        if (Text(name, expected, required) is not { } text)
        {
            return null;
        }

        var value = parse(text);
        if (value is null)
        {
            Refuse(name, expected, mapping.Children[new YamlScalarNode(name)]);
        }

        return value;
    }

    public double? Number(string name, string expected, Func<double, bool> isGood, bool required = true) =>
        Value<double>(
            name,
            expected,
            text =>
                double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number)
                && double.IsFinite(number)
                && isGood(number)
                    ? number
                    : null,
            required
        );

    /// <summary>A word of a few.</summary>
    public string? Word(string name, IReadOnlyList<string> words, bool required = true)
    {
        var expected = words.Count == 1 ? words[0] : $"one of {string.Join(", ", words)}";
        var text = Text(name, expected, required);
        if (text is not null && !words.Contains(text))
        {
            Refuse(name, expected, mapping.Children[new YamlScalarNode(name)]);
            return null;
        }

        return text;
    }

    public OpenSloNode? Map(string name, string expected, bool required = true)
    {
        if (Find(name, expected, required) is not { } node)
        {
            return null;
        }

        if (node is YamlMappingNode inner)
        {
            return new OpenSloNode(file, Path(name), inner, mistakes);
        }

        Refuse(name, expected, node);
        return null;
    }

    /// <summary>A list of mappings.</summary>
    public IReadOnlyList<OpenSloNode> List(string name, string expected, int max, bool required = true)
    {
        if (Find(name, expected, required) is not { } node)
        {
            return [];
        }

        if (
            node is not YamlSequenceNode list
            || list.Children.Count == 0
            || list.Children.Count > max
            || list.Any(n => n is not YamlMappingNode)
        )
        {
            Refuse(name, expected, node);
            return [];
        }

        return [.. list.Select((item, i) => new OpenSloNode(file, $"{Path(name)}[{i}]", (YamlMappingNode)item, mistakes))];
    }

    /// <summary>Reads a member that means nothing here.</summary>
    public void Skip(params ReadOnlySpan<string> names)
    {
        foreach (var name in names)
        {
            _asked.Add(name);
        }
    }

    /// <summary>Notes the members that nobody asked for: a misspelt one would otherwise be left out in silence.</summary>
    public void RefuseOthers()
    {
        foreach (var (key, _) in mapping.Children)
        {
            if (key is not YamlScalarNode { Value: { } name } || !_asked.Contains(name))
            {
                var known = string.Join(", ", _asked.Order(StringComparer.Ordinal));
                mistakes.Add(new OpenSloMistake(file, key.Start.Line, Path(key.ToString()), $"one of {known}", $"the unknown field {key}"));
            }
        }
    }

    /// <summary>Notes a mistake in a member's value, or in this mapping where it has no such member.</summary>
    public void Refuse(string name, string expected, string given) =>
        mistakes.Add(new OpenSloMistake(file, LineOf(name), Path(name), expected, given));

    private void Refuse(string name, string expected, YamlNode given) =>
        mistakes.Add(
            new OpenSloMistake(
                file,
                given.Start.Line,
                Path(name),
                expected,
                given switch
                {
                    YamlScalarNode { Value: { Length: > 0 } text } => $"\"{(text.Length > 80 ? text[..80] + "…" : text)}\"",
                    YamlScalarNode => "nothing",
                    YamlSequenceNode list => $"a list of {list.Children.Count}",
                    _ => "a mapping",
                }
            )
        );

    private YamlNode? Find(string name, string expected, bool required)
    {
        _asked.Add(name);
        if (mapping.Children.TryGetValue(new YamlScalarNode(name), out var node))
        {
            return node;
        }

        if (required)
        {
            Refuse(name, expected, "nothing");
        }

        return null;
    }

    private long LineOf(string name) =>
        mapping.Children.TryGetValue(new YamlScalarNode(name), out var node) ? node.Start.Line : mapping.Start.Line;

    private string Path(string name) => path.Length == 0 ? name : $"{path}.{name}";
}
