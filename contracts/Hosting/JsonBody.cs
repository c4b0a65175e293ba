using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Pipeline.Contracts;

namespace Pipeline.Hosting;

/// <summary>Reads the small JSON object of a request member by member, and says everything that is wrong with it at once.</summary>
public sealed class JsonBody
{
    private const int BytesMax = 64 * 1024;
    private const int GivenMax = 100;
    private readonly JsonElement _json;
    private readonly HashSet<string> _asked = new(StringComparer.Ordinal);
    private readonly List<Mistake> _mistakes = [];

    private JsonBody(JsonElement json) => _json = json;

    /// <summary>What came in another way than as a request's body, to be read by the same rules.</summary>
    public static JsonBody Of(object members) => new(JsonSerializer.SerializeToElement(members, ApiJson.Options));

    /// <summary>Reads a request's body; none stands for an object without members.</summary>
    public static async Task<(JsonBody Body, IResult? Problem)> ReadAsync(HttpContext http)
    {
        var empty = new JsonBody(JsonElement.Parse("{}"));
        var bytes = new byte[BytesMax + 1];
        var length = await http.Request.Body.ReadAtLeastAsync(bytes, bytes.Length, throwOnEndOfStream: false, http.RequestAborted);
        if (length > BytesMax)
        {
            return (empty, Problems.Result(FailureKind.InputTooLarge, $"The body expects at most {BytesMax} bytes."));
        }

        if (length == 0)
        {
            return (empty, null);
        }

        try
        {
            var json = JsonElement.Parse(bytes.AsSpan(0, length));
            if (SurrogatePairs.HasHalfPair(json))
            {
                empty.Refuse(null, SurrogatePairs.Paired, SurrogatePairs.HalfPair);
            }
            else if (json.ValueKind == JsonValueKind.Object)
            {
                return (new JsonBody(json), null);
            }
            else
            {
                empty.Refuse(null, "a JSON object", json.ValueKind.ToString().ToLowerInvariant());
            }
        }
        catch (JsonException e)
        {
            empty.Refuse(null, "a JSON object", $"what is none, in line {e.LineNumber + 1}");
        }

        return (empty, empty.Refusal());
    }

    public string? Text(string name, int lengthMax)
    {
        if (Find(name) is not { } value)
        {
            return null;
        }

        if (
            value.ValueKind == JsonValueKind.String
            && value.GetString()!.Length <= lengthMax
            && !value.GetString()!.Contains('\0', StringComparison.Ordinal)
        )
        {
            return value.GetString();
        }

        Refuse(name, $"a string of at most {lengthMax} characters", value);
        return null;
    }

    public string? Word(string name, IReadOnlyCollection<string> allowed)
    {
        if (Find(name) is not { } value)
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.String && allowed.Contains(value.GetString()!))
        {
            return value.GetString();
        }

        Refuse(name, $"one of {string.Join(", ", allowed)}", value);
        return null;
    }

    /// <summary>Reads a list of at least one word.</summary>
    public string[]? Words(string name, IReadOnlyCollection<string> allowed)
    {
        if (Find(name) is not { } value)
        {
            return null;
        }

        if (
            value.ValueKind == JsonValueKind.Array
            && value.GetArrayLength() > 0
            && value.EnumerateArray().All(word => word.ValueKind == JsonValueKind.String && allowed.Contains(word.GetString()!))
        )
        {
            return [.. value.EnumerateArray().Select(word => word.GetString()!).Distinct(StringComparer.Ordinal)];
        }

        Refuse(name, $"a list of one or more of {string.Join(", ", allowed)}", value);
        return null;
    }

    public int? Whole(string name, int min, int max)
    {
        if (Find(name) is not { } value)
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out var number) && number >= min && number <= max)
        {
            return number;
        }

        Refuse(name, $"a whole number from {min} to {max}", value);
        return null;
    }

    /// <summary>Reads a finite number.</summary>
    public double? Number(string name, double min, double max)
    {
        if (Find(name) is not { } value)
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out var number) && number >= min && number <= max)
        {
            return number;
        }

        Refuse(name, $"a number from {min} to {max}", value);
        return null;
    }

    public bool? Flag(string name)
    {
        if (Find(name) is not { } value)
        {
            return null;
        }

        if (value.ValueKind is JsonValueKind.True or JsonValueKind.False)
        {
            return value.GetBoolean();
        }

        Refuse(name, "true or false", value);
        return null;
    }

    /// <summary>Reads an object whose members are short strings.</summary>
    public Dictionary<string, string>? Labels(string name, int countMax)
    {
        if (Find(name) is not { } value)
        {
            return null;
        }

        var labels = new Dictionary<string, string>(StringComparer.Ordinal);
        if (
            value.ValueKind == JsonValueKind.Object
            && value.GetPropertyCount() <= countMax
            && value
                .EnumerateObject()
                .All(m => IsShort(m.Name) && m.Value.ValueKind == JsonValueKind.String && Take(m.Name, m.Value.GetString()!))
        )
        {
            return labels;
        }

        bool Take(string label, string text) => IsShort(text) && labels.TryAdd(label, text);
        static bool IsShort(string text) => text.Length <= GivenMax && !text.Contains('\0', StringComparison.Ordinal);
        Refuse(name, $"an object of at most {countMax} strings of at most {GivenMax} characters, each name once", value);
        return null;
    }

    /// <summary>The member as it is, whatever it is.</summary>
    public JsonElement? Any(string name) => Find(name);

    public DateTimeOffset? Time(string name)
    {
        if (Find(name) is not { } value)
        {
            return null;
        }

        if (
            value.ValueKind == JsonValueKind.String
            && DateTimeOffset.TryParse(value.GetString(), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time)
        )
        {
            return time.ToUniversalTime();
        }

        Refuse(name, "a time as in RFC 3339 (2026-01-02T03:04:05Z)", value);
        return null;
    }

    /// <summary>Reads a time like <c>30m</c>, <c>24h</c> or <c>7d</c>.</summary>
    public TimeSpan? Duration(string name, TimeSpan min, TimeSpan max)
    {
        if (Find(name) is not { } value)
        {
            return null;
        }

        if (
            value.ValueKind == JsonValueKind.String
            && Durations.TryParse(value.GetString()!, out var duration)
            && duration >= min
            && duration <= max
        )
        {
            return duration;
        }

        Refuse(
            name,
            string.Create(CultureInfo.InvariantCulture, $"a time like 12h or 30d, from {min.TotalHours:0} h to {max.TotalDays:0} days"),
            value
        );
        return null;
    }

    public void Refuse(string? name, string expected, string given) =>
        _mistakes.Add(
            new Mistake
            {
                Field = name,
                Expected = expected,
                Given = given.Length <= GivenMax ? given : $"{given[..GivenMax]}…",
            }
        );

    /// <returns>The answer to a body that was not understood, or null. Ask for every member first.</returns>
    public ProblemResult? Refusal()
    {
        if (_json.ValueKind == JsonValueKind.Object)
        {
            var expected = $"one of {string.Join(", ", _asked.Order(StringComparer.Ordinal))}";
            foreach (var member in _json.EnumerateObject().Where(m => _asked.Count > 0 && !_asked.Contains(m.Name)).ToList())
            {
                // Told once, however often it is asked.
                Refuse(member.Name, expected, "another member");
                _asked.Add(member.Name);
            }
        }

        return _mistakes.Count == 0
            ? null
            : Problems.Result(
                FailureKind.InvalidRequest,
                string.Join(
                    " ",
                    _mistakes.Select(m => $"{(m.Field is null ? "The body" : $"\"{m.Field}\"")} expects {m.Expected}, given {m.Given}.")
                ),
                _mistakes[0].Field,
                _mistakes,
                _mistakes.Count
            );
    }

    private void Refuse(string name, string expected, JsonElement given) => Refuse(name, expected, given.GetRawText());

    private JsonElement? Find(string name)
    {
        _asked.Add(name);
        return _json.TryGetProperty(name, out var value) && value.ValueKind != JsonValueKind.Null ? value : null;
    }
}
