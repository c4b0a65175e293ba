using Microsoft.Extensions.Configuration;
using Pipeline.Contracts;
using Pipeline.GpuWorker.OnnxRuntime;
using Pipeline.Hosting;

namespace Pipeline.GpuWorker;

/// <summary>What a worker may be told. Read from section <c>Worker</c>: environment variables <c>WORKER__POOL</c>, … or <c>--Worker:Pool=…</c>.</summary>
public sealed record WorkerOptions
{
    public const string Section = "Worker";

    /// <summary>Workers with the same accelerator, price and models.</summary>
    public string Pool { get; init; } = "default";

    /// <summary>How people call this worker; every life of its process has an id besides.</summary>
    public string Name { get; init; } = Environment.MachineName;

    /// <summary>
    /// What the device costs, in US dollars an hour, where no price of the pool has been set. Every nanosecond of the process is booked.
    /// </summary>
    public decimal PricePerHourUsd { get; init; } = 1.00m;

    /// <summary>How a batch's cost is split over its tasks: <c>units.v1</c>, <c>equal.v1</c> or <c>padded.v1</c> (see <see cref="Contracts.SplitMethod"/>).</summary>
    public string SplitMethod { get; init; } = Contracts.SplitMethod.Units.Name();

    /// <summary>Execution providers in order of preference, separated by commas; the first that loads is taken.</summary>
    public string Providers { get; init; } = "cuda,webgpu,cpu";

    /// <summary>Which device of several, counted from 0.</summary>
    public int DeviceId { get; init; }

    /// <summary>Threads inside one operator on the CPU; 0 chooses: one on up to two cores, else all cores but one.</summary>
    public int IntraOpThreads { get; init; }

    /// <summary>Whether idle threads of the engine spin for work. Faster alone on a machine; they starve broker and database beside them.</summary>
    public bool AllowSpinning { get; init; }

    /// <summary>Bytes the loaded models may hold together.</summary>
    public long MemoryBudgetBytes { get; init; } = 2L * 1024 * 1024 * 1024;

    /// <summary>Packed batches that wait for the device, in each lane.</summary>
    public int PackedBatchesMax { get; init; } = 8;

    /// <summary>Batches that ran and wait to be written. While PostgreSQL is away the device stops when they are full.</summary>
    public int RanBatchesMax { get; init; } = 64;

    /// <summary>
    /// Where express comes: how long it may take to write what has run. Where PostgreSQL is slower than the device, the device waits for
    /// it here: an express answer is committed behind what ran before it, so this bounds its wait.
    /// </summary>
    public TimeSpan UnwrittenTimeMax { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>Rows one transaction gathers at most (one larger batch goes alone).</summary>
    public int WriteRowsMax { get; init; } = 8192;

    /// <summary>How long rows of a bulk dispatch that goes on may wait for more before they are committed.</summary>
    public TimeSpan WriteWaitMax { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>Bytes of outputs one answer to a waiting ingest instance carries; a longer output is read from its row.</summary>
    public int AnswerBytesMax { get; init; } = 128 * 1024;

    /// <summary>Answers on their way to the broker; what comes on top is left out, and who waits reads the rows.</summary>
    public int AnswersUnderWayMax { get; init; } = 1024;

    /// <summary>How long the broker may take to accept an answer, or the report of a dispatch.</summary>
    public TimeSpan AnswerTimeMax { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Bytes of one output that goes into its tenant's cache; a larger one does not.</summary>
    public int CachedOutputBytesMax { get; init; } = 256 * 1024;

    /// <summary>First pause after PostgreSQL failed; each next is twice as long, up to <see cref="RetryPauseMax"/>.</summary>
    public TimeSpan RetryPauseMin { get; init; } = TimeSpan.FromMilliseconds(50);

    /// <summary>Longest pause between two attempts to reach PostgreSQL.</summary>
    public TimeSpan RetryPauseMax { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How often the schedulers hear of this worker. They take it for lost after a few times this.</summary>
    public TimeSpan HeartbeatEvery { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>How often an idle worker extends its ledger.</summary>
    public TimeSpan LedgerEvery { get; init; } = TimeSpan.FromSeconds(10);

    internal long PricePerHourPico => (long)(PricePerHourUsd * Cost.PicoPerUsd);

    internal SplitMethod SplitMethodChosen => SplitMethods.TryParse(SplitMethod, out var method) ? method : default;

    internal IReadOnlyList<string> ProviderOrder =>
        Providers.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

    internal int IntraOpThreadsChosen => IntraOpThreads > 0 ? IntraOpThreads : Math.Max(1, Environment.ProcessorCount - 1);

    /// <summary>Reads and checks the options, reporting every mistake at once.</summary>
    /// <exception cref="OptionsException">One or more options are out of range.</exception>
    public static WorkerOptions Read(IConfiguration configuration)
    {
        var options = configuration.GetSection(Section).Get<WorkerOptions>() ?? new WorkerOptions();
        options.Check();
        return options;
    }

    /// <exception cref="OptionsException">One or more options are out of range.</exception>
    internal void Check()
    {
        var known = ExecutionProviders.Known;
        var mistakes = new OptionsCheck(Section);
        mistakes.Expect(Pool.Length is > 0 and <= 100, nameof(Pool), "a name of 1 to 100 characters", Pool);
        mistakes.Expect(Name.Length is > 0 and <= 200, nameof(Name), "a name of 1 to 200 characters", Name);
        mistakes.Expect(PricePerHourUsd is >= 0 and <= 10_000, nameof(PricePerHourUsd), "0 to 10000", PricePerHourUsd);
        mistakes.Expect(
            SplitMethods.TryParse(SplitMethod, out _),
            nameof(SplitMethod),
            string.Join(", ", Enum.GetValues<SplitMethod>().Select(m => m.Name())),
            SplitMethod
        );
        mistakes.Expect(
            ProviderOrder.Count > 0 && ProviderOrder.All(known.Contains),
            nameof(Providers),
            $"a list of {string.Join(", ", known)}",
            Providers
        );
        mistakes.Expect(DeviceId is >= 0 and < 64, nameof(DeviceId), "0 to 63", DeviceId);
        mistakes.Expect(IntraOpThreads is >= 0 and <= 1024, nameof(IntraOpThreads), "0 to 1024", IntraOpThreads);
        mistakes.Expect(MemoryBudgetBytes >= 1 << 20, nameof(MemoryBudgetBytes), "at least 1048576", MemoryBudgetBytes);
        mistakes.Expect(PackedBatchesMax is >= 1 and <= 1024, nameof(PackedBatchesMax), "1 to 1024", PackedBatchesMax);
        mistakes.Expect(RanBatchesMax is >= 1 and <= 4096, nameof(RanBatchesMax), "1 to 4096", RanBatchesMax);
        mistakes.Expect(
            UnwrittenTimeMax > TimeSpan.Zero && UnwrittenTimeMax <= TimeSpan.FromMinutes(1),
            nameof(UnwrittenTimeMax),
            "more than 0 and at most 1 minute",
            UnwrittenTimeMax
        );
        mistakes.Expect(
            WriteWaitMax >= TimeSpan.Zero && WriteWaitMax <= TimeSpan.FromSeconds(10),
            nameof(WriteWaitMax),
            "0 to 10 seconds",
            WriteWaitMax
        );
        mistakes.Expect(WriteRowsMax is >= 1 and <= 100_000, nameof(WriteRowsMax), "1 to 100000", WriteRowsMax);
        mistakes.Expect(AnswerBytesMax is >= 0 and <= 16 << 20, nameof(AnswerBytesMax), "0 to 16777216", AnswerBytesMax);
        mistakes.Expect(AnswersUnderWayMax is >= 0 and <= 100_000, nameof(AnswersUnderWayMax), "0 to 100000", AnswersUnderWayMax);
        mistakes.Expect(CachedOutputBytesMax is >= 0 and <= 16 << 20, nameof(CachedOutputBytesMax), "0 to 16777216", CachedOutputBytesMax);
        mistakes.Expect(
            AnswerTimeMax > TimeSpan.Zero && AnswerTimeMax <= TimeSpan.FromMinutes(1),
            nameof(AnswerTimeMax),
            "more than 0 and at most 1 minute",
            AnswerTimeMax
        );
        mistakes.Expect(
            RetryPauseMin > TimeSpan.Zero && RetryPauseMin <= RetryPauseMax,
            nameof(RetryPauseMin),
            $"more than 0 and at most {nameof(RetryPauseMax)} ({RetryPauseMax})",
            RetryPauseMin
        );
        mistakes.Expect(RetryPauseMax <= TimeSpan.FromMinutes(1), nameof(RetryPauseMax), "at most 1 minute", RetryPauseMax);
        mistakes.Expect(
            HeartbeatEvery >= TimeSpan.FromMilliseconds(10) && HeartbeatEvery <= TimeSpan.FromMinutes(1),
            nameof(HeartbeatEvery),
            "10 ms to 1 minute",
            HeartbeatEvery
        );
        mistakes.Expect(
            LedgerEvery >= TimeSpan.FromMilliseconds(10) && LedgerEvery <= TimeSpan.FromSeconds(10),
            nameof(LedgerEvery),
            "10 ms to 10 s",
            LedgerEvery
        );
        mistakes.ThrowIfAny();
    }
}
