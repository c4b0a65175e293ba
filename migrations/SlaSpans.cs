namespace Pipeline.Migrations;

/// <summary>A run of whole spans of one table.</summary>
public readonly record struct SlaSpan(SlaGrain Grain, DateTimeOffset From, DateTimeOffset To)
{
    /// <summary>
    /// The fewest rows that have a window: days in the middle, hours beside them, minutes at the edges, in order of time. Both ends are
    /// taken down to whole minutes.
    /// </summary>
    public static IReadOnlyList<SlaSpan> Of(DateTimeOffset from, DateTimeOffset to)
    {
        var spans = new List<SlaSpan>();
        Cut(SlaGrain.Day, SlaTables.Floor(SlaGrain.Minute, from), SlaTables.Floor(SlaGrain.Minute, to), spans);
        return spans;
    }

    private static void Cut(SlaGrain grain, DateTimeOffset from, DateTimeOffset to, List<SlaSpan> spans)
    {
        if (from >= to)
        {
            return;
        }

        var (first, last) = (SlaTables.Floor(grain, from), SlaTables.Floor(grain, to));
        first += first < from ? SlaTables.Length(grain) : TimeSpan.Zero;
        if (grain == SlaGrain.Minute)
        {
            spans.Add(new SlaSpan(grain, from, to));
        }
        else if (first >= last)
        {
            Cut(grain - 1, from, to, spans);
        }
        else
        {
            Cut(grain - 1, from, first, spans);
            spans.Add(new SlaSpan(grain, first, last));
            Cut(grain - 1, last, to, spans);
        }
    }
}
