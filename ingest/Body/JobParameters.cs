using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Tasks;

namespace Pipeline.Ingest.Body;

/// <summary>
/// What is said about a job besides its tasks, as text, from three places: the query (<c>?class=bulk&amp;metadata[team]=a</c>), headers
/// (<c>Pipeline-Class: bulk</c>, <c>Pipeline-Metadata: {"team": "a"}</c>), and the body's first part (<c>{"job": {"class": "bulk"}}</c>).
/// Unknown names are refused, and so are two values for one name: a typo is seen, not guessed at.
/// </summary>
/// <param name="names">The names this request may give, besides metadata.</param>
internal sealed class JobParameters(IReadOnlyList<string> names)
{
    public const string Model = "model";
    public const string Route = "route";

    /// <summary>The accuracy that was measured of what is to answer, at least.</summary>
    public const string MinQuality = "min_quality";
    public const string Class = "class";
    public const string Fallback = "fallback";
    public const string Deadline = "deadline";
    public const string Webhook = "webhook";
    public const string MaxCost = "max_cost";
    public const string Metadata = "metadata";

    /// <summary>Whether the result of an equal input may stand in for a run: <c>true</c> (default) or <c>false</c>.</summary>
    public const string Reuse = "reuse";

    /// <summary>What the job's tasks belong to, as far as they do not say it themselves: <see cref="Contracts.GroupName"/>.</summary>
    public const string Group = "group";

    /// <summary>Of <c>POST /v1/infer</c>: how long from now until the answer is of no use.</summary>
    public const string Timeout = "timeout";

    /// <summary>Of <c>POST /v1/infer</c>: name of its one task.</summary>
    public const string CustomId = "custom_id";

    /// <summary>Of <c>POST /v1/infer</c>: whether a closed connection cancels the work.</summary>
    public const string CancelOnDisconnect = "cancel_on_disconnect";

    /// <summary>What may be said about a job.</summary>
    public static readonly IReadOnlyList<string> OfJobs =
    [
        Model,
        Route,
        MinQuality,
        Class,
        Fallback,
        Deadline,
        Webhook,
        MaxCost,
        Group,
        Reuse,
    ];

    /// <summary>Of <c>POST /v1/estimates</c>: how many tasks the job has of which the body is a sample.</summary>
    public const string Tasks = "tasks";

    /// <summary>What may be said of a job that is only estimated.</summary>
    public static readonly IReadOnlyList<string> OfEstimates = [.. OfJobs, Tasks];

    /// <summary>What may be changed of a job that is under way.</summary>
    public static readonly IReadOnlyList<string> OfChanges = [Class, Deadline];

    /// <summary>What may be said about an inference that is waited for.</summary>
    public static readonly IReadOnlyList<string> OfInference =
    [
        Model,
        Route,
        MinQuality,
        Class,
        Fallback,
        Deadline,
        Timeout,
        MaxCost,
        CustomId,
        Group,
        CancelOnDisconnect,
        Reuse,
    ];

    private const string HeaderPrefix = "Pipeline-";
    private const int MetadataPairsMax = 16;
    private const int MetadataKeyMax = 64;
    private const int MetadataValueMax = 512;
    private readonly SortedDictionary<string, string> _values = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, string> _metadata = new(StringComparer.Ordinal);

    /// <summary>The value given, or null.</summary>
    public string? this[string name] => _values.GetValueOrDefault(name);

    public IReadOnlyDictionary<string, string> MetadataPairs => _metadata;

    /// <summary>Reads query and headers.</summary>
    public static JobParameters From(HttpRequest request, Mistakes mistakes, IReadOnlyList<string>? names = null)
    {
        var parameters = new JobParameters(names ?? OfJobs);
        foreach (var (name, values) in request.Query)
        {
            foreach (var value in values)
            {
                parameters.TakeQuery(name, value ?? "", mistakes);
            }
        }

        foreach (var (name, values) in request.Headers)
        {
            if (name.StartsWith(HeaderPrefix, StringComparison.OrdinalIgnoreCase))
            {
                parameters.TakeHeader(name, values.ToString(), mistakes);
            }
        }

        return parameters;
    }

    /// <summary>Reads the members of a JSON object: the body's first part.</summary>
    public void Take(JsonElement job, TaskPlace place, Mistakes mistakes)
    {
        if (job.ValueKind != JsonValueKind.Object)
        {
            mistakes.Add("job", "a JSON object", job.ValueKind.ToString().ToLowerInvariant(), place);
            return;
        }

        foreach (var member in job.EnumerateObject())
        {
            Take(member.Name, member.Value, place, mistakes);
        }
    }

    /// <summary>Reads one member of such an object.</summary>
    public void Take(string name, JsonElement value, TaskPlace place, Mistakes mistakes)
    {
        if (SurrogatePairs.HasHalfPair(value))
        {
            mistakes.Add(name, SurrogatePairs.Paired, SurrogatePairs.HalfPair, place);
        }
        else if (name == Metadata)
        {
            TakeMetadata(Metadata, value, place, mistakes);
        }
        else if (value.ValueKind == JsonValueKind.Null)
        {
            CheckName(name, name, place, mistakes);
        }
        else
        {
            var isText =
                value.ValueKind is JsonValueKind.String or JsonValueKind.Number
                || (value.ValueKind is JsonValueKind.True or JsonValueKind.False && name is CancelOnDisconnect or Reuse);
            TakeValue(name, name, isText ? value.ToString() : null, place, mistakes);
        }
    }

    /// <summary>Sets what was not given.</summary>
    public void Default(string name, string? value)
    {
        if (value is not null)
        {
            _values.TryAdd(name, value);
        }
    }

    /// <summary>Takes over the pairs of another job, where none was given.</summary>
    public void DefaultMetadata(JsonElement pairs)
    {
        if (_metadata.Count == 0 && pairs.ValueKind == JsonValueKind.Object)
        {
            foreach (var pair in pairs.EnumerateObject())
            {
                _metadata[pair.Name] = pair.Value.GetString() ?? "";
            }
        }
    }

    /// <summary>Adds every name and value to a fingerprint, in an order that does not depend on how they were given.</summary>
    public void AddTo(IncrementalHash hash)
    {
        foreach (var (name, value) in _values.Concat(_metadata.Select(m => KeyValuePair.Create($"{Metadata}[{m.Key}]", m.Value))))
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"{name}={value}\n"));
        }
    }

    private void TakeQuery(string name, string value, Mistakes mistakes)
    {
        if (name.StartsWith($"{Metadata}[", StringComparison.Ordinal) && name.EndsWith(']'))
        {
            AddMetadata(name, name[(Metadata.Length + 1)..^1], value, default, mistakes);
        }
        else
        {
            TakeValue(name, name, value, default, mistakes);
        }
    }

    private void TakeHeader(string header, string value, Mistakes mistakes)
    {
        var name = header[HeaderPrefix.Length..].ToLowerInvariant().Replace('-', '_');
        if (name != Metadata)
        {
            TakeValue(name, header, value, default, mistakes);
            return;
        }

        try
        {
            using var json = JsonDocument.Parse(value);
            TakeMetadata(header, json.RootElement, default, mistakes);
        }
        catch (JsonException)
        {
            mistakes.Add(header, "a JSON object of strings", Excerpt.Of(value));
        }
    }

    private void TakeValue(string name, string givenAs, string? value, TaskPlace place, Mistakes mistakes)
    {
        if (!CheckName(name, givenAs, place, mistakes))
        {
            return;
        }

        if (value is null)
        {
            mistakes.Add(givenAs, "a string", "another type", place);
        }
        else if (!_values.TryAdd(name, value) && _values[name] != value)
        {
            mistakes.Add(givenAs, "one value", $"\"{Excerpt.Of(_values[name])}\" and \"{Excerpt.Of(value)}\"", place);
        }
    }

    private bool CheckName(string name, string givenAs, TaskPlace place, Mistakes mistakes)
    {
        if (names.Contains(name))
        {
            return true;
        }

        var shown = Excerpt.Of(givenAs);
        mistakes.Add(shown, $"{string.Join(", ", names.Order())} or {Metadata}[key]", $"the unknown name \"{shown}\"", place);
        return false;
    }

    private void TakeMetadata(string givenAs, JsonElement pairs, TaskPlace place, Mistakes mistakes)
    {
        if (pairs.ValueKind != JsonValueKind.Object)
        {
            mistakes.Add(givenAs, "a JSON object of strings", pairs.ValueKind.ToString().ToLowerInvariant(), place);
            return;
        }

        foreach (var pair in pairs.EnumerateObject())
        {
            var field = $"{Metadata}[{Excerpt.Of(pair.Name)}]";
            if (pair.Value.ValueKind == JsonValueKind.String)
            {
                AddMetadata(field, pair.Name, pair.Value.GetString()!, place, mistakes);
            }
            else
            {
                mistakes.Add(field, "a string", pair.Value.ValueKind.ToString().ToLowerInvariant(), place);
            }
        }
    }

    private void AddMetadata(string field, string key, string value, TaskPlace place, Mistakes mistakes)
    {
        if (key.Length is 0 or > MetadataKeyMax || key.Contains('\0'))
        {
            mistakes.Add(field, $"a key of 1 to {MetadataKeyMax} characters", Length(key), place);
        }
        else if (value.Length > MetadataValueMax || value.Contains('\0'))
        {
            mistakes.Add(field, $"at most {MetadataValueMax} characters without U+0000", Length(value), place);
        }
        else if (!_metadata.TryAdd(key, value) && _metadata[key] != value)
        {
            mistakes.Add(field, "one value", $"\"{Excerpt.Of(_metadata[key])}\" and \"{Excerpt.Of(value)}\"", place);
        }
        else if (_metadata.Count == MetadataPairsMax + 1)
        {
            mistakes.Add(Metadata, $"at most {MetadataPairsMax} keys", "more", place);
        }
    }

    private static string Length(string text) => string.Create(CultureInfo.InvariantCulture, $"{text.Length} characters");
}
