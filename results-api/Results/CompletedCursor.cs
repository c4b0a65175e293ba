using System.Globalization;

namespace Pipeline.ResultsApi.Results;

/// <summary>
/// A place in the order of completion: the transaction that ended the task, its chunk, the task within the chunk. Written
/// <c>812.0.17</c>; to clients it is opaque.
/// </summary>
internal readonly record struct CompletedCursor(ulong Xid, int Chunk, int Task)
{
    /// <summary>Before everything.</summary>
    public static CompletedCursor Start => new(0, -1, -1);

    public static CompletedCursor? TryParse(string text)
    {
        var parts = text.Split('.');
        return
            parts.Length == 3
            && ulong.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out var xid)
            && int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out var chunk)
            && int.TryParse(parts[2], NumberStyles.None, CultureInfo.InvariantCulture, out var task)
            ? new CompletedCursor(xid, chunk, task)
            : null;
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Xid}.{Chunk}.{Task}");
}
