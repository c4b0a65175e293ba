using Pipeline.Hosting;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Scheduler.Service;

/// <summary>Section <c>Scheduler</c>. Defaults of what the policy bounds stand in <see cref="PolicyOptions"/>.</summary>
internal sealed record SchedulerOptions
{
    public const string Section = "Scheduler";

    /// <summary>What the policy plans within.</summary>
    public PolicyOptions Policy { get; init; } = new();

    /// <summary>Where facts and plans are written down, if anywhere.</summary>
    public JournalOptions Journal { get; init; } = new();

    /// <summary>Decisions that can be asked for, counted once for each job they are about; 200 bytes each.</summary>
    public int DecisionsRemembered { get; init; } = 65_536;

    /// <summary>How often this instance asks the shared queue whether it is the one that is served.</summary>
    public TimeSpan TickEvery { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>A tick that is older than this was kept from before a sleep, or comes from a long queue: it makes nobody active.</summary>
    public TimeSpan TickFreshFor { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>An active instance that hears no tick for this long is not served any more.</summary>
    public TimeSpan TickSilenceMax { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How often the workers' clocks are written down, and a forecast goes out though nothing happened.</summary>
    public TimeSpan ChoresEvery { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>
    /// How far forecasts are apart at least while things happen. Predictions are as good as their forecast is fresh
    /// (../../ingest/README.md#predictions); each is a message to every instance of ingest and results-api.
    /// </summary>
    public TimeSpan ForecastEvery { get; init; } = TimeSpan.FromMilliseconds(200);

    /// <summary>How often open chunks are read again, for those whose message was lost.</summary>
    public TimeSpan SweepEvery { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>Rows a sweep reads at once.</summary>
    public int SweepPageRows { get; init; } = 20_000;

    /// <summary>Signals that wait for the loop; beyond it consumers wait, and the broker keeps the rest.</summary>
    public int SignalsMax { get; init; } = 65_536;

    /// <summary>Signals a turn takes in before it plans.</summary>
    public int SignalsPerTurnMax { get; init; } = 8192;

    /// <summary>Messages the broker hands over ahead; they are acknowledged as soon as they are in the inbox.</summary>
    public int Prefetch { get; init; } = 512;

    /// <summary>Chunks whose reply address is kept beside the index; of more the oldest are forgotten, and who waits reads the results.</summary>
    public int NotesMax { get; init; } = 65_536;

    /// <summary>Bytes of payloads that came with such chunks; what comes on top is read from the row by its worker.</summary>
    public long NotedBytesMax { get; init; } = 64L * 1024 * 1024;

    /// <summary>Bytes of payloads one dispatch carries; the worker reads the rows of the rest.</summary>
    public int DispatchBytesMax { get; init; } = 128 * 1024;

    /// <summary>How long a dispatch may take to be confirmed by the broker.</summary>
    public TimeSpan SendTimeMax { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Pauses between tries while PostgreSQL is away: the first, and the longest.</summary>
    public TimeSpan RetryPauseMin { get; init; } = TimeSpan.FromMilliseconds(200);
    public TimeSpan RetryPauseMax { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Reads and checks the options, reporting every mistake at once.</summary>
    /// <exception cref="OptionsException">One or more are out of range.</exception>
    public static SchedulerOptions Read(IConfiguration configuration)
    {
        var options = configuration.GetSection(Section).Get<SchedulerOptions>() ?? new SchedulerOptions();
        options.Check();
        return options;
    }

    /// <exception cref="OptionsException">One or more are out of range.</exception>
    public void Check()
    {
        var mistakes = new OptionsCheck(Section);
        Between(mistakes, nameof(TickEvery), TickEvery, TimeSpan.FromMilliseconds(20), TimeSpan.FromMinutes(1));
        Between(mistakes, nameof(TickFreshFor), TickFreshFor, 2 * TickEvery, TimeSpan.FromMinutes(5));
        Between(mistakes, nameof(TickSilenceMax), TickSilenceMax, 3 * TickEvery, TimeSpan.FromMinutes(10));
        Between(mistakes, nameof(ChoresEvery), ChoresEvery, TimeSpan.FromMilliseconds(20), TimeSpan.FromMinutes(1));
        Between(mistakes, nameof(ForecastEvery), ForecastEvery, TimeSpan.FromMilliseconds(10), TimeSpan.FromMinutes(1));
        Between(mistakes, nameof(SweepEvery), SweepEvery, TimeSpan.FromMilliseconds(100), TimeSpan.FromHours(1));
        Between(mistakes, nameof(SendTimeMax), SendTimeMax, TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(1));
        Between(mistakes, nameof(RetryPauseMin), RetryPauseMin, TimeSpan.FromMilliseconds(1), RetryPauseMax);
        Between(mistakes, nameof(RetryPauseMax), RetryPauseMax, RetryPauseMin, TimeSpan.FromMinutes(5));
        Between(mistakes, nameof(SweepPageRows), SweepPageRows, 1, 1_000_000);
        Between(mistakes, nameof(SignalsMax), SignalsMax, 16, 10_000_000);
        Between(mistakes, nameof(SignalsPerTurnMax), SignalsPerTurnMax, 1, SignalsMax);
        Between(mistakes, nameof(Prefetch), Prefetch, 1, ushort.MaxValue);
        Between(mistakes, nameof(NotesMax), NotesMax, 1, 10_000_000);
        Between(mistakes, nameof(NotedBytesMax), NotedBytesMax, 0, 1L << 40);
        Between(mistakes, nameof(DispatchBytesMax), DispatchBytesMax, 0, 16 * 1024 * 1024);
        Between(mistakes, nameof(DecisionsRemembered), DecisionsRemembered, 4096, 10_000_000);

        var journal = new OptionsCheck($"{Section}:{nameof(Journal)}");
        journal.Expect(Journal.Folder is not "", nameof(Journal.Folder), "a folder, or to be absent", Journal.Folder ?? "");
        Between(journal, nameof(Journal.BytesMax), Journal.BytesMax, 1L << 16, 1L << 40);
        Between(journal, nameof(Journal.FilesKept), Journal.FilesKept, 1, 10_000);
        Between(journal, nameof(Journal.LinesWaitingMax), Journal.LinesWaitingMax, 16, 100_000_000);

        var policy = new OptionsCheck($"{Section}:{nameof(Policy)}");
        var p = Policy;
        Between(policy, nameof(p.WorkerLostAfter), p.WorkerLostAfter, TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(10));
        Between(policy, nameof(p.DispatchUnlistedAfter), p.DispatchUnlistedAfter, TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(10));
        Between(policy, nameof(p.BulkBatchTimeMax), p.BulkBatchTimeMax, TimeSpan.FromMilliseconds(1), TimeSpan.FromMinutes(1));
        Between(policy, nameof(p.ExpressBatchTimeMax), p.ExpressBatchTimeMax, TimeSpan.FromMilliseconds(1), TimeSpan.FromMinutes(1));
        Between(policy, nameof(p.DispatchTimeTarget), p.DispatchTimeTarget, TimeSpan.FromMilliseconds(1), TimeSpan.FromMinutes(5));
        Between(policy, nameof(p.ExpressDispatchTimeMax), p.ExpressDispatchTimeMax, TimeSpan.FromMilliseconds(1), TimeSpan.FromMinutes(5));
        Between(policy, nameof(p.ExpressLead), p.ExpressLead, TimeSpan.Zero, TimeSpan.FromSeconds(1));
        Between(policy, nameof(p.ExpressBandShare), p.ExpressBandShare, 0, 10);
        Between(policy, nameof(p.ExpressDeferShare), p.ExpressDeferShare, 0, 1);
        Between(policy, nameof(p.ExpressDeferMax), p.ExpressDeferMax, TimeSpan.Zero, TimeSpan.FromMinutes(1));
        Between(policy, nameof(p.ExpressRelegateShareMax), p.ExpressRelegateShareMax, 0, 1);
        Between(policy, nameof(p.StageLead), p.StageLead, TimeSpan.Zero, TimeSpan.FromMinutes(1));
        Between(policy, nameof(p.SlicesMax), p.SlicesMax, 1, 4096);
        Between(policy, nameof(p.TasksMax), p.TasksMax, 1, 1_000_000);
        Between(policy, nameof(p.DispatchesPerLaneMax), p.DispatchesPerLaneMax, 1, 2);
        Between(policy, nameof(p.FaultsMax), p.FaultsMax, 0, 10);
        Between(policy, nameof(p.EndingChunksMax), p.EndingChunksMax, 1, 1024);
        Between(policy, nameof(p.EndingsOpenMax), p.EndingsOpenMax, 1, 64);
        Between(policy, nameof(p.EndingRetryAfter), p.EndingRetryAfter, TimeSpan.FromMilliseconds(1), TimeSpan.FromMinutes(10));
        Between(policy, nameof(p.LoadRetryFirst), p.LoadRetryFirst, TimeSpan.FromMilliseconds(1), TimeSpan.FromMinutes(1));
        Between(policy, nameof(p.LoadRetryMax), p.LoadRetryMax, p.LoadRetryFirst, TimeSpan.FromHours(1));
        Between(policy, nameof(p.RefusalPauseMax), p.RefusalPauseMax, TimeSpan.FromMilliseconds(1), TimeSpan.FromMinutes(1));
        Between(policy, nameof(p.PaceSpread), p.PaceSpread, 0, 100);
        Between(policy, nameof(p.PoolWorkersMax), p.PoolWorkersMax, 1, 1_000_000);
        Between(policy, nameof(p.DesiredWorkersEvery), p.DesiredWorkersEvery, TimeSpan.FromMilliseconds(100), TimeSpan.FromHours(1));
        Between(policy, nameof(p.DesiredWorkersHold), p.DesiredWorkersHold, TimeSpan.Zero, TimeSpan.FromDays(1));
        Between(policy, nameof(p.DesiredWorkersLeadMin), p.DesiredWorkersLeadMin, TimeSpan.FromMilliseconds(1), TimeSpan.FromHours(1));
        Between(policy, nameof(p.DesiredExpressHeadroom), p.DesiredExpressHeadroom, 1, 100);
        policy.Expect(
            p.DispatchUnlistedAfter > p.WorkerLostAfter / 2,
            nameof(p.DispatchUnlistedAfter),
            $"more than half of WorkerLostAfter ({p.WorkerLostAfter}): a missed heartbeat is no lost dispatch",
            p.DispatchUnlistedAfter
        );
        OptionsCheck.ThrowIfAny(mistakes, journal, policy);
    }

    private static void Between<T>(OptionsCheck mistakes, string option, T given, T least, T most)
        where T : IComparable<T> =>
        mistakes.Expect(given.CompareTo(least) >= 0 && given.CompareTo(most) <= 0, option, $"{least} to {most}", given);
}
