namespace Pipeline.Hosting;

/// <summary>One page of a list, in the envelope OpenAI's clients read; <c>after=last_id</c> asks for the next.</summary>
public sealed record ListView<T>
{
    public string Object { get; } = "list";
    public required IReadOnlyList<T> Data { get; init; }
    public required bool HasMore { get; init; }
    public required string? FirstId { get; init; }
    public required string? LastId { get; init; }
}

/// <summary>Makes pages.</summary>
public static class ListView
{
    /// <summary>Makes a page of what was read; one item more than the limit was asked for, to see whether more follow.</summary>
    public static ListView<T> Of<T>(List<T> read, int limit, Func<T, string> id)
    {
        var more = read.Count > limit;
        var data = more ? read[..limit] : read;
        return new ListView<T>
        {
            Data = data,
            HasMore = more,
            FirstId = data.Count > 0 ? id(data[0]) : null,
            LastId = data.Count > 0 ? id(data[^1]) : null,
        };
    }
}
