using Microsoft.Extensions.Configuration;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.OpenAi;

namespace Pipeline.Ingest;

/// <summary>Limits and paces of the door, section <c>Ingest</c>.</summary>
internal sealed record IngestOptions
{
    public const string Section = "Ingest";

    /// <summary>Bytes of one task's input as stored; a model may allow less.</summary>
    public int TaskBytesMax { get; init; } = 4 * 1024 * 1024;

    /// <summary>
    /// Bytes of one line. JSON is larger than what it says: a control character takes six bytes for one, a float32 up to sixteen for four.
    /// </summary>
    public int LineBytesMax { get; init; } = 32 * 1024 * 1024;

    /// <summary>Tasks of one job. The check for unique ids takes 20 to 40 bytes each while the body is read.</summary>
    public int TasksMax { get; init; } = 10_000_000;

    /// <summary>
    /// Distinct inputs of a job that are remembered while its body is read, to find tasks with an input that came before: 20 to 40 bytes
    /// each (21 MB for the default). What comes on top is compared with those only. 0: nothing is compared.
    /// </summary>
    public int RepeatedInputsMax { get; init; } = 750_000;

    /// <summary>Bytes of one body, unpacked.</summary>
    public long BodyBytesMax { get; init; } = 256L * 1024 * 1024 * 1024;

    /// <summary>Bytes of a body with inline tasks (<c>application/json</c>), which is read as a whole.</summary>
    public int InlineBodyBytesMax { get; init; } = 16 * 1024 * 1024;

    /// <summary>Bytes of one uploaded file.</summary>
    public long FileBytesMax { get; init; } = 200 * 1024 * 1024;

    /// <summary>How long an answer of <c>/v1/embeddings</c> and <c>/v1/moderations</c> is waited for; their clients know no 202.</summary>
    public TimeSpan OpenAiWaitMax { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>Batches of OpenAI's API whose lines are read at the same time; others wait as <c>validating</c>.</summary>
    public int BatchIntakesMax { get; init; } = 2;

    /// <summary>Mistakes of a body that are told in full; the rest is counted.</summary>
    public int MistakesMax { get; init; } = 100;

    /// <summary>How often the counts of answers are written, and how many (a minute's of a tenant and class) are kept while that fails.</summary>
    public TimeSpan DoorCountsEvery { get; init; } = TimeSpan.FromSeconds(2);
    public int DoorCountsMax { get; init; } = 100_000;

    /// <summary>Bodies read at the same time; more are answered 429.</summary>
    public int UploadsMax { get; init; } = 1024;

    /// <summary>Chunks and packed bytes written by one COPY while a long body comes in; what fits into one is stored with the job at once.</summary>
    public int StoreChunksMax { get; init; } = 32;
    public int StoreBytesMax { get; init; } = 4 * 1024 * 1024;

    /// <summary>Chunks announced together: one message for each class and model, confirmed by the broker, then one update that marks them.</summary>
    public int PublishGroupMax { get; init; } = 512;

    /// <summary>Jobs whose chunks wait to be announced; what comes on top is left to the sweep.</summary>
    public int AnnounceQueueMax { get; init; } = 10_000;

    /// <summary>How long after its announcement a chunk that somebody waits for is announced again, to be kept, if it has not ended by then.</summary>
    public TimeSpan KeepAfter { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Such chunks looked at by one statement.</summary>
    public int KeepGroupMax { get; init; } = 1024;

    /// <summary>Requests of <c>POST /v1/infer</c> that wait for their answer at the same time; more are answered 429.</summary>
    public int ExpressWaitersMax { get; init; } = 10_000;

    /// <summary>Inputs of one such request: as many as OpenAI takes for embeddings.</summary>
    public int ExpressInputsMax { get; init; } = 2048;

    /// <summary>Results that are waited for together, and kept until their request is answered; more are answered 429.</summary>
    public int ExpressResultsMax { get; init; } = 200_000;

    /// <summary>Bytes of the body of one such request, and of its inputs as they are stored.</summary>
    public int ExpressBodyBytesMax { get; init; } = 4 * 1024 * 1024;

    /// <summary>Bytes of a chunk that travel with its announcement; of a longer one the worker reads the row.</summary>
    public int InlinePayloadBytesMax { get; init; } = 16 * 1024;

    /// <summary>How long such a request is waited for at most; then it is answered 202, and the work goes on.</summary>
    public TimeSpan ExpressWaitMax { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>A stream in which nothing happens for so long gets a comment, which keeps proxies from closing it.</summary>
    public TimeSpan StreamHeartbeat { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// Requests a second one API key may send to the express path, so many at once after a pause, and so many at the same time, in each
    /// instance; where the key has none of its own (<see cref="ApiKeyLimits"/>).
    /// </summary>
    public int KeyRatePerSecond { get; init; } = 1000;
    public int KeyBurstMax { get; init; } = 2000;
    public int KeyConcurrentMax { get; init; } = 1000;

    /// <summary>
    /// Jobs stored by one commit, those that come while another is under way; such commits at the same time, and jobs that wait for one: of jobs
    /// that must be on disk before they are answered, and as many of the others.
    /// </summary>
    public int CommitJobsMax { get; init; } = 64;
    public int CommitWriters { get; init; } = 4;
    public int CommitsWaitingMax { get; init; } = 4096;

    /// <summary>
    /// An answer may be lost on its way. Who waits longer than this looks at the rows, again and again, each pause twice as long as the one
    /// before, up to <see cref="AnswerLookPauseMax"/>.
    /// </summary>
    public TimeSpan AnswerLookAfter { get; init; } = TimeSpan.FromMilliseconds(500);
    public TimeSpan AnswerLookPauseMax { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>Waiting jobs one look asks for.</summary>
    public int AnswerLookMax { get; init; } = 500;

    /// <summary>How long the scheduler may take to say that it knows of a hold; then it is answered without.</summary>
    public TimeSpan HoldsWaitMax { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How long the scheduler may take to say that it plans without a job that is paused; then it is answered without.</summary>
    public TimeSpan PauseWaitMax { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>How long the rehearsal before the door opens may take; what of it is not done then is left out.</summary>
    public TimeSpan RehearsalMax { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long the broker may take to confirm.</summary>
    public TimeSpan PublishWaitMax { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Pace of the sweeps, and how old what they take up must be.</summary>
    public TimeSpan SweepEvery { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How often predictions learn from jobs that have ended, from how many at once, and how many of a class and model are kept.</summary>
    public TimeSpan CalibrationEvery { get; init; } = TimeSpan.FromSeconds(1);
    public int CalibrationRowsMax { get; init; } = 2000;
    public int CalibrationJobsMax { get; init; } = 200;

    /// <summary>How often express of a model is let in where all of it is refused by what became of the last of it.</summary>
    public TimeSpan ExpressTryEvery { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>How long an <c>Idempotency-Key</c> is remembered: no longer than recurring work keeps it (<c>Recurring:IdempotencyKeyLife</c>).</summary>
    public TimeSpan IdempotencyKeyLife { get; init; } = TimeSpan.FromHours(24);

    /// <summary>How far ahead a deadline may lie.</summary>
    public TimeSpan DeadlineMax { get; init; } = TimeSpan.FromDays(30);

    /// <summary>Age at which a forecast no longer predicts.</summary>
    public TimeSpan ForecastAgeMax { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Models that a route may try one after the other.</summary>
    public int RouteVariantsMax { get; init; } = 4;

    /// <summary>Routes there may be.</summary>
    public int RoutesMax { get; init; } = 1000;

    /// <summary>
    /// What a million units of class bulk are charged, in US dollars, where the price list has nothing to say; other classes by their factor.
    /// Two cents is what small embedding models cost elsewhere.
    /// </summary>
    public decimal PricePerMillionUnitsUsd { get; init; } = 0.02m;

    internal long PricePerMillionUnitsPico => (long)(PricePerMillionUnitsUsd * Cost.PicoPerUsd);

    /// <summary>
    /// Whether an express job is refused when its target cannot be promised. Without it all express is let in and may be late: for
    /// measurements, and where late is better than not at all.
    /// </summary>
    public bool RefuseLateExpress { get; init; } = true;

    /// <summary>Reads and checks the options, reporting every mistake at once.</summary>
    /// <exception cref="OptionsException">One or more options are out of range.</exception>
    public static IngestOptions Read(IConfiguration configuration)
    {
        var options = configuration.GetSection(Section).Get<IngestOptions>() ?? new IngestOptions();
        options.Check();
        return options;
    }

    public void Check()
    {
        const int MiB = 1024 * 1024;
        var mistakes = new OptionsCheck(Section);
        mistakes.Expect(TaskBytesMax is >= 1 and <= 64 * MiB, nameof(TaskBytesMax), "1 to 67108864 (64 MiB)", TaskBytesMax);
        mistakes.Expect(LineBytesMax is >= 64 and <= 512 * MiB, nameof(LineBytesMax), "64 to 536870912 (512 MiB)", LineBytesMax);
        mistakes.Expect(LineBytesMax >= TaskBytesMax, nameof(LineBytesMax), $"at least {nameof(TaskBytesMax)}", LineBytesMax);
        mistakes.Expect(TasksMax is >= 1 and <= 100_000_000, nameof(TasksMax), "1 to 100000000", TasksMax);
        mistakes.Expect(RepeatedInputsMax is >= 0 and <= 100_000_000, nameof(RepeatedInputsMax), "0 to 100000000", RepeatedInputsMax);
        mistakes.Expect(BodyBytesMax >= 1, nameof(BodyBytesMax), "1 or more", BodyBytesMax);
        mistakes.Expect(InlineBodyBytesMax is >= 1 and <= 512 * MiB, nameof(InlineBodyBytesMax), "1 to 536870912", InlineBodyBytesMax);
        mistakes.Expect(FileBytesMax is >= 1 and <= 64L * 1024 * MiB, nameof(FileBytesMax), "1 to 68719476736 (64 GiB)", FileBytesMax);
        ExpectTime(mistakes, OpenAiWaitMax, nameof(OpenAiWaitMax), TimeSpan.FromMilliseconds(100), TimeSpan.FromHours(1));
        mistakes.Expect(BatchIntakesMax is >= 1 and <= 64, nameof(BatchIntakesMax), "1 to 64", BatchIntakesMax);
        mistakes.Expect(MistakesMax is >= 1 and <= 10_000, nameof(MistakesMax), "1 to 10000", MistakesMax);
        mistakes.Expect(UploadsMax is >= 1 and <= 100_000, nameof(UploadsMax), "1 to 100000", UploadsMax);
        mistakes.Expect(StoreChunksMax is >= 1 and <= 1024, nameof(StoreChunksMax), "1 to 1024", StoreChunksMax);
        mistakes.Expect(StoreBytesMax is >= 1 and <= 256 * MiB, nameof(StoreBytesMax), "1 to 268435456", StoreBytesMax);
        mistakes.Expect(PublishGroupMax is >= 1 and <= 10_000, nameof(PublishGroupMax), "1 to 10000", PublishGroupMax);
        mistakes.Expect(AnnounceQueueMax is >= 1 and <= 1_000_000, nameof(AnnounceQueueMax), "1 to 1000000", AnnounceQueueMax);
        mistakes.Expect(KeepGroupMax is >= 1 and <= 100_000, nameof(KeepGroupMax), "1 to 100000", KeepGroupMax);
        mistakes.Expect(ExpressWaitersMax is >= 1 and <= 1_000_000, nameof(ExpressWaitersMax), "1 to 1000000", ExpressWaitersMax);
        mistakes.Expect(
            ExpressInputsMax is >= 1 and <= RequestBody.InputsMax,
            nameof(ExpressInputsMax),
            $"1 to {RequestBody.InputsMax}",
            ExpressInputsMax
        );
        mistakes.Expect(
            ExpressResultsMax >= ExpressInputsMax && ExpressResultsMax <= 100_000_000,
            nameof(ExpressResultsMax),
            $"{nameof(ExpressInputsMax)} to 100000000",
            ExpressResultsMax
        );
        mistakes.Expect(ExpressBodyBytesMax is >= 1 and <= 64 * MiB, nameof(ExpressBodyBytesMax), "1 to 67108864", ExpressBodyBytesMax);
        mistakes.Expect(InlinePayloadBytesMax is >= 0 and <= MiB, nameof(InlinePayloadBytesMax), "0 to 1048576", InlinePayloadBytesMax);
        mistakes.Expect(
            KeyRatePerSecond is >= 1 and <= ApiKeyLimits.Most,
            nameof(KeyRatePerSecond),
            $"1 to {ApiKeyLimits.Most}",
            KeyRatePerSecond
        );
        mistakes.Expect(KeyBurstMax is >= 1 and <= ApiKeyLimits.Most, nameof(KeyBurstMax), $"1 to {ApiKeyLimits.Most}", KeyBurstMax);
        mistakes.Expect(
            KeyConcurrentMax is >= 1 and <= ApiKeyLimits.Most,
            nameof(KeyConcurrentMax),
            $"1 to {ApiKeyLimits.Most}",
            KeyConcurrentMax
        );
        mistakes.Expect(CommitJobsMax is >= 1 and <= 1024, nameof(CommitJobsMax), "1 to 1024", CommitJobsMax);
        mistakes.Expect(CommitWriters is >= 1 and <= 64, nameof(CommitWriters), "1 to 64", CommitWriters);
        mistakes.Expect(CommitsWaitingMax is >= 1 and <= 1_000_000, nameof(CommitsWaitingMax), "1 to 1000000", CommitsWaitingMax);
        mistakes.Expect(AnswerLookMax is >= 1 and <= 10_000, nameof(AnswerLookMax), "1 to 10000", AnswerLookMax);
        ExpectTime(mistakes, KeepAfter, nameof(KeepAfter), TimeSpan.FromMilliseconds(10), TimeSpan.FromMinutes(1));
        ExpectTime(mistakes, StreamHeartbeat, nameof(StreamHeartbeat), TimeSpan.FromMilliseconds(50), TimeSpan.FromMinutes(10));
        ExpectTime(mistakes, ExpressWaitMax, nameof(ExpressWaitMax), TimeSpan.Zero, TimeSpan.FromHours(1));
        ExpectTime(mistakes, AnswerLookAfter, nameof(AnswerLookAfter), TimeSpan.FromMilliseconds(10), AnswerLookPauseMax);
        ExpectTime(mistakes, AnswerLookPauseMax, nameof(AnswerLookPauseMax), TimeSpan.FromMilliseconds(10), TimeSpan.FromMinutes(1));
        ExpectTime(mistakes, HoldsWaitMax, nameof(HoldsWaitMax), TimeSpan.FromMilliseconds(50), TimeSpan.FromMinutes(1));
        ExpectTime(mistakes, PauseWaitMax, nameof(PauseWaitMax), TimeSpan.FromMilliseconds(50), TimeSpan.FromMinutes(1));
        ExpectTime(mistakes, RehearsalMax, nameof(RehearsalMax), TimeSpan.FromMilliseconds(1), TimeSpan.FromMinutes(10));
        ExpectTime(mistakes, PublishWaitMax, nameof(PublishWaitMax), TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(10));
        ExpectTime(mistakes, SweepEvery, nameof(SweepEvery), TimeSpan.FromMilliseconds(10), TimeSpan.FromHours(1));
        ExpectTime(mistakes, DoorCountsEvery, nameof(DoorCountsEvery), TimeSpan.FromMilliseconds(10), TimeSpan.FromMinutes(1));
        mistakes.Expect(DoorCountsMax is >= 100 and <= 10_000_000, nameof(DoorCountsMax), "100 to 10000000", DoorCountsMax);
        ExpectTime(mistakes, IdempotencyKeyLife, nameof(IdempotencyKeyLife), TimeSpan.FromSeconds(1), TimeSpan.FromDays(365));
        ExpectTime(mistakes, DeadlineMax, nameof(DeadlineMax), TimeSpan.FromMinutes(1), TimeSpan.FromDays(3650));
        ExpectTime(mistakes, ForecastAgeMax, nameof(ForecastAgeMax), TimeSpan.FromMilliseconds(100), TimeSpan.FromHours(1));
        ExpectTime(mistakes, ExpressTryEvery, nameof(ExpressTryEvery), TimeSpan.FromMilliseconds(1), TimeSpan.FromHours(1));
        ExpectTime(mistakes, CalibrationEvery, nameof(CalibrationEvery), TimeSpan.FromMilliseconds(10), TimeSpan.FromHours(1));
        mistakes.Expect(CalibrationRowsMax is >= 1 and <= 100_000, nameof(CalibrationRowsMax), "1 to 100000", CalibrationRowsMax);
        mistakes.Expect(CalibrationJobsMax is >= 1 and <= 10_000, nameof(CalibrationJobsMax), "1 to 10000", CalibrationJobsMax);
        mistakes.Expect(
            LatencyClasses.Defaults.Values.All(c => c.CompletionWindow <= DeadlineMax),
            nameof(DeadlineMax),
            "at least the completion window of every class",
            DeadlineMax
        );
        mistakes.Expect(RouteVariantsMax is >= 2 and <= 16, nameof(RouteVariantsMax), "2 to 16", RouteVariantsMax);
        mistakes.Expect(RoutesMax is >= 1 and <= 100_000, nameof(RoutesMax), "1 to 100000", RoutesMax);
        mistakes.Expect(
            PricePerMillionUnitsUsd is >= 0 and <= 10_000,
            nameof(PricePerMillionUnitsUsd),
            "0 to 10000",
            PricePerMillionUnitsUsd
        );
        mistakes.ThrowIfAny();
    }

    private static void ExpectTime(OptionsCheck mistakes, TimeSpan given, string option, TimeSpan min, TimeSpan max) =>
        mistakes.Expect(given >= min && given <= max, option, $"{min} to {max}", given);
}
