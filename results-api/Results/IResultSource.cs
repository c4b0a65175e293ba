namespace Pipeline.ResultsApi.Results;

/// <summary>Results of one job in some order, read page by page from a cursor on.</summary>
internal interface IResultSource
{
    /// <summary>
    /// Reads the next page and sends its lines. Between pages no connection to the database is held, so a slow reader costs none.
    /// </summary>
    /// <param name="lines">At most so many.</param>
    Task<Page> ReadAsync(ResultSink to, int lines, CancellationToken stop);
}

/// <param name="Lines">Lines that were sent.</param>
/// <param name="Then">What follows them.</param>
internal readonly record struct Page(int Lines, Then Then);

/// <summary>What follows a page.</summary>
internal enum Then
{
    /// <summary>More lines, at once.</summary>
    More,

    /// <summary>Nothing now, but the job has not ended.</summary>
    Wait,

    /// <summary>Nothing any more.</summary>
    End,
}
