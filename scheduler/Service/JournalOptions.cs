namespace Pipeline.Scheduler.Service;

/// <summary>Section <c>Scheduler:Journal</c>: where facts and plans are written down, for <c>pipeline replay</c>, and how much of them.</summary>
internal sealed record JournalOptions
{
    /// <summary>The folder of the journals, a file for each term; it is made when it is missing. Absent: nothing is written.</summary>
    public string? Folder { get; init; }

    /// <summary>
    /// Bytes of one file. A journal starts at the take-over, since a planner can only be rebuilt from there, so a full file is not
    /// followed by another in the same term.
    /// </summary>
    public long BytesMax { get; init; } = 1L << 30;

    /// <summary>Journals the folder keeps, the new one included; the oldest go.</summary>
    public int FilesKept { get; init; } = 16;

    /// <summary>Whether files are packed (gzip); one line takes a tenth of its size then.</summary>
    public bool Gzip { get; init; } = true;

    /// <summary>
    /// Lines that wait to be written. A take-over reads its backlog faster than a file is written: this much of it may be ahead. Beyond
    /// it the journal ends, and scheduling goes on.
    /// </summary>
    public int LinesWaitingMax { get; init; } = 1 << 20;
}
