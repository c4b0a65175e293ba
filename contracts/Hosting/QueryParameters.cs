using System.Globalization;
using Microsoft.AspNetCore.Http;
using Pipeline.Contracts;

namespace Pipeline.Hosting;

/// <summary>
/// Reads a request's query. What is not understood is remembered, and <see cref="Refusal"/> tells all of it at once: a parameter that
/// nobody asked for is a mistake too, since a misspelt filter would otherwise answer with everything.
/// </summary>
public sealed class QueryParameters(IQueryCollection query)
{
    private readonly HashSet<string> _asked = new(StringComparer.Ordinal);
    private readonly List<Mistake> _mistakes = [];

    /// <returns>The parameter's text, or null when it is absent.</returns>
    public string? Text(string name)
    {
        _asked.Add(name);
        var values = query[name];
        if (values.Count > 1)
        {
            Refuse(name, "the parameter once", string.Join(", ", values.ToArray()));
        }

        return values.Count == 1 ? values[0] : null;
    }

    /// <summary>Reads a value; <paramref name="parse"/> returns null for what it does not understand.</summary>
    public T? Value<T>(string name, string expected, Func<string, T?> parse)
        where T : struct
    {
        if (Text(name) is not { } text)
        {
            return null;
        }

        var value = parse(text);
        if (value is null)
        {
            Refuse(name, expected, text);
        }

        return value;
    }

    public int? Whole(string name, int min, int max) =>
        Value<int>(
            name,
            $"a whole number from {min} to {max}",
            text =>
                int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= min && number <= max
                    ? number
                    : null
        );

    public bool Flag(string name) =>
        Value<bool>(
            name,
            "true or false",
            text =>
                text switch
                {
                    "true" => true,
                    "false" => false,
                    _ => null,
                }
        ) ?? false;

    public DateTimeOffset? Time(string name) =>
        Value<DateTimeOffset>(
            name,
            "a time as in RFC 3339 (2026-01-02T03:04:05Z)",
            text =>
                DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time)
                    ? time.ToUniversalTime()
                    : null
        );

    /// <summary>Reads a list of words, separated by commas, each of them one of <paramref name="allowed"/>.</summary>
    public string[]? Words(string name, IReadOnlyCollection<string> allowed)
    {
        if (Text(name) is not { } text)
        {
            return null;
        }

        var words = text.Split(',', StringSplitOptions.TrimEntries);
        if (!words.All(allowed.Contains))
        {
            Refuse(name, $"one or more of {string.Join(", ", allowed)}", text);
        }

        return words;
    }

    /// <summary>Reads <c>name[key]=value</c> pairs.</summary>
    public Dictionary<string, string> Pairs(string name)
    {
        var pairs = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var (key, values) in query)
        {
            if (key.Length > name.Length + 2 && key.StartsWith($"{name}[", StringComparison.Ordinal) && key.EndsWith(']'))
            {
                _asked.Add(key);
                pairs[key[(name.Length + 1)..^1]] = values.ToString();
            }
        }

        return pairs;
    }

    /// <returns>The answer to a query that was not understood, or null. Ask for every parameter first.</returns>
    public ProblemResult? Refusal()
    {
        foreach (var unknown in query.Keys.Where(key => !_asked.Contains(key)))
        {
            Refuse(unknown, $"one of {string.Join(", ", _asked.Order(StringComparer.Ordinal))}", unknown);
        }

        return _mistakes.Count == 0
            ? null
            : Problems.Result(
                FailureKind.InvalidRequest,
                string.Join(" ", _mistakes.Select(m => $"Parameter \"{m.Field}\": expected {m.Expected}, given \"{m.Given}\".")),
                _mistakes[0].Field,
                _mistakes
            );
    }

    private void Refuse(string name, string expected, string? given) =>
        _mistakes.Add(
            new Mistake
            {
                Field = name,
                Expected = expected,
                Given = given,
            }
        );
}
