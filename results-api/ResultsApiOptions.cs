using Pipeline.Hosting;

namespace Pipeline.ResultsApi;

/// <summary>Bounds of the reads; section <c>ResultsApi</c>.</summary>
public sealed record ResultsApiOptions
{
    public const string Section = "ResultsApi";

    /// <summary>Items of a list when the request names no limit, and at most.</summary>
    public int ListLimitDefault { get; init; } = 20;
    public int ListLimitMax { get; init; } = 100;

    /// <summary>Bytes of result lines gathered before they are sent; with the rows of one page, all the memory a reader takes.</summary>
    public int PageBytes { get; init; } = 1024 * 1024;

    /// <summary>Rows fetched at once. A page of short rows is full by this, one of long rows by <see cref="PageBytes"/>.</summary>
    public int PageRowsMax { get; init; } = 8192;

    /// <summary>How often the watched jobs are looked at, all in one query; so a watcher hears at most as often.</summary>
    public TimeSpan WatchInterval { get; init; } = TimeSpan.FromMilliseconds(250);

    /// <summary>Connections that may follow a job at a time (events, and results with <c>follow</c>).</summary>
    public int WatchersMax { get; init; } = 1000;

    /// <summary>A silent event stream sends a comment this often, so that proxies keep it open.</summary>
    public TimeSpan EventsHeartbeat { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>A forecast older than this predicts nothing.</summary>
    public TimeSpan ForecastAgeMax { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long the scheduler may take to tell what it decided.</summary>
    public TimeSpan DecisionsWaitMax { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How often it is looked for batches whose output files are due.</summary>
    public TimeSpan OutputFilesEvery { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>Bytes of one line of a batch's input file, at least what ingest allows.</summary>
    public int LineBytesMax { get; init; } = 32 * 1024 * 1024;

    /// <summary>How often finished work is taken into the usage rollups.</summary>
    public TimeSpan UsageEvery { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Chunk endings rolled up at once: at 512 tasks each some 130,000, two seconds of the full rate.</summary>
    public int UsageTurnRowsMax { get; init; } = 256;

    /// <summary>Rows of one usage report.</summary>
    public int UsageRowsMax { get; init; } = 10_000;

    /// <exception cref="OptionsException">One or more options are out of range.</exception>
    public static ResultsApiOptions Read(IConfiguration configuration)
    {
        var options = configuration.GetSection(Section).Get<ResultsApiOptions>() ?? new ResultsApiOptions();
        var check = new OptionsCheck(Section);
        check.Expect(options.ListLimitMax is >= 1 and <= 1000, nameof(ListLimitMax), "1 to 1000", options.ListLimitMax);
        check.Expect(
            options.ListLimitDefault >= 1 && options.ListLimitDefault <= options.ListLimitMax,
            nameof(ListLimitDefault),
            $"1 to {nameof(ListLimitMax)} ({options.ListLimitMax})",
            options.ListLimitDefault
        );
        check.Expect(options.PageBytes is >= 4096 and <= 64 * 1024 * 1024, nameof(PageBytes), "4096 to 67108864", options.PageBytes);
        check.Expect(options.PageRowsMax is >= 1 and <= 100_000, nameof(PageRowsMax), "1 to 100000", options.PageRowsMax);
        check.Expect(options.WatchersMax is >= 1 and <= 100_000, nameof(WatchersMax), "1 to 100000", options.WatchersMax);
        ExpectTime(check, options.WatchInterval, nameof(WatchInterval), TimeSpan.FromMilliseconds(10), TimeSpan.FromMinutes(1));
        ExpectTime(check, options.EventsHeartbeat, nameof(EventsHeartbeat), TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(5));
        ExpectTime(check, options.ForecastAgeMax, nameof(ForecastAgeMax), TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(5));
        ExpectTime(check, options.DecisionsWaitMax, nameof(DecisionsWaitMax), TimeSpan.FromMilliseconds(50), TimeSpan.FromMinutes(1));
        ExpectTime(check, options.OutputFilesEvery, nameof(OutputFilesEvery), TimeSpan.FromMilliseconds(10), TimeSpan.FromMinutes(5));
        check.Expect(options.LineBytesMax is >= 64 and <= 512 * 1024 * 1024, nameof(LineBytesMax), "64 to 536870912", options.LineBytesMax);
        ExpectTime(check, options.UsageEvery, nameof(UsageEvery), TimeSpan.FromMilliseconds(10), TimeSpan.FromMinutes(5));
        check.Expect(options.UsageTurnRowsMax is >= 1 and <= 100_000, nameof(UsageTurnRowsMax), "1 to 100000", options.UsageTurnRowsMax);
        check.Expect(options.UsageRowsMax is >= 1 and <= 100_000, nameof(UsageRowsMax), "1 to 100000", options.UsageRowsMax);
        check.ThrowIfAny();
        return options;
    }

    private static void ExpectTime(OptionsCheck check, TimeSpan value, string option, TimeSpan min, TimeSpan max) =>
        check.Expect(value >= min && value <= max, option, $"{min} to {max}", value);
}
