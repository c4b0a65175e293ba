namespace Pipeline.ResultsApi.Dashboard.Layout;

/// <summary>A column of a <see cref="ListPage"/>.</summary>
/// <param name="Number">Aligned to the right.</param>
public sealed record Column(string Name, bool Number = false);

/// <summary>What stands in one place of it.</summary>
/// <param name="Badge">The colour of a state.</param>
/// <param name="Hint">A smaller line below.</param>
/// <param name="Long">A text that may take several lines.</param>
public sealed record Cell(string? Text, string? Link = null, string? Badge = null, string? Hint = null, bool Long = false)
{
    /// <summary>A moment, in place of the text.</summary>
    public DateTimeOffset? At { get; init; }

    public static Cell Moment(DateTimeOffset? at) => new(at is null ? "–" : null) { At = at };

    public static Cell Count(long value, bool alarm = false) => new(Show.Count(value), Badge: alarm ? "failed" : null);
}
