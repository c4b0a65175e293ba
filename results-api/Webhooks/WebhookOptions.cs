using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Webhooks;

/// <summary>Bounds of webhooks; section <c>Webhooks</c>. Where they may be sent is in <see cref="WebhookAddressOptions"/>, of the same section.</summary>
public sealed record WebhookOptions
{
    public const string Section = WebhookAddressOptions.Section;

    /// <summary>Address of this API as receivers know it, put before the links in payloads; without it links are paths.</summary>
    public string PublicAddress { get; init; } = "";

    /// <summary>Endpoints of a tenant.</summary>
    public int EndpointsMax { get; init; } = 50;

    /// <summary>How often it is looked for events to tell, for deliveries that are due, and how many events are taken at once.</summary>
    public TimeSpan LookEvery { get; init; } = TimeSpan.FromMilliseconds(200);
    public int FanOutRowsMax { get; init; } = 500;

    /// <summary>
    /// Requests on their way at a time: to one endpoint, and in all. Endpoints that fail have one each, and together no more than
    /// half of all, so that those which answer always have the other half.
    /// </summary>
    public int EndpointRequestsMax { get; init; } = 16;
    public int RequestsMax { get; init; } = 256;

    /// <summary>Deliveries of one endpoint claimed ahead of their request, for each request it may have: they wait in memory.</summary>
    public int ClaimAheadMax { get; init; } = 16;

    /// <summary>How long a receiver may take from connect to the last byte of its answer.</summary>
    public TimeSpan RequestTimeMax { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long a claim lasts: what a sender that died had claimed is sent by another after it. Longer than a request and its wait.</summary>
    public TimeSpan ClaimTime { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Bytes of an answer that are read and kept; the rest is not read.</summary>
    public int ResponseBytesMax { get; init; } = 1024;

    /// <summary>
    /// Attempts, and the pauses between them: the first, each the factor longer than the one before, the longest; 5 s, 25 s, 2 min, 10 min,
    /// 52 min, 4 h 20 min, 22 h, a day and a day, in all 75 hours.
    /// </summary>
    public int AttemptsMax { get; init; } = 10;
    public TimeSpan RetryDelayMin { get; init; } = TimeSpan.FromSeconds(5);
    public double RetryDelayFactor { get; init; } = 5;
    public TimeSpan RetryDelayMax { get; init; } = TimeSpan.FromDays(1);

    /// <summary>A pause is drawn from this part below to this part above the plan, so that what failed together does not come back together.</summary>
    public double RetryJitter { get; init; } = 0.2;

    /// <summary>The longest <c>Retry-After</c> that is obeyed.</summary>
    public TimeSpan RetryAfterMax { get; init; } = TimeSpan.FromDays(1);

    /// <summary>The longest pause before an endpoint that fails again and again is tried with its next delivery.</summary>
    public TimeSpan FailingPauseMax { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>An endpoint all of whose attempts have failed for so long is disabled, if there were so many.</summary>
    public TimeSpan DisableAfter { get; init; } = TimeSpan.FromDays(5);
    public int DisableFailuresMin { get; init; } = 5;

    /// <summary>How long a replaced secret signs beside the new one where the rotation does not say, and how many may do so.</summary>
    public TimeSpan SecretGrace { get; init; } = TimeSpan.FromDays(1);
    public int SecretsMax { get; init; } = 5;

    /// <summary>Outcomes written at once, and how long the first of them may wait for more.</summary>
    public int RecordRowsMax { get; init; } = 500;
    public TimeSpan RecordWaitMax { get; init; } = TimeSpan.FromMilliseconds(20);

    /// <summary>How often what waits for a disabled endpoint is ended; rows of a statement that ends or removes deliveries.</summary>
    public TimeSpan SweepEvery { get; init; } = TimeSpan.FromSeconds(10);
    public int SweepRowsMax { get; init; } = 1000;

    /// <summary>How often a job tells <c>job.progress</c> at most, and of how many jobs at once.</summary>
    public TimeSpan ProgressEvery { get; init; } = TimeSpan.FromSeconds(10);
    public int ProgressJobsMax { get; init; } = 500;

    /// <summary>Tasks of an express job that are told one by one as <c>task.completed</c>; a larger job's are not.</summary>
    public int TaskEventsMax { get; init; } = 256;

    /// <summary>Deliveries put back by one replay request.</summary>
    public int ReplayRowsMax { get; init; } = 10_000;

    /// <summary>How long a stopping sender waits for requests under way before it hands them back.</summary>
    public TimeSpan StopWaitMax { get; init; } = TimeSpan.FromSeconds(5);

    /// <exception cref="OptionsException">One or more options are out of range.</exception>
    public static WebhookOptions Read(IConfiguration configuration)
    {
        var o = configuration.GetSection(Section).Get<WebhookOptions>() ?? new WebhookOptions();
        var check = new OptionsCheck(Section);
        check.Expect(
            o.PublicAddress.Length == 0
                || (Uri.TryCreate(o.PublicAddress, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"),
            nameof(PublicAddress),
            "an http or https address",
            o.PublicAddress
        );
        Whole(o.EndpointsMax, nameof(EndpointsMax), 1, 10_000);
        Time(o.LookEvery, nameof(LookEvery), TimeSpan.FromMilliseconds(10), TimeSpan.FromMinutes(1));
        Whole(o.FanOutRowsMax, nameof(FanOutRowsMax), 1, 10_000);
        Whole(o.EndpointRequestsMax, nameof(EndpointRequestsMax), 1, 1000);
        Whole(o.RequestsMax, nameof(RequestsMax), 2, 10_000);
        Whole(o.ClaimAheadMax, nameof(ClaimAheadMax), 1, 100);
        Time(o.RequestTimeMax, nameof(RequestTimeMax), TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(2));
        Time(o.ClaimTime, nameof(ClaimTime), o.RequestTimeMax * 2, TimeSpan.FromHours(1));
        Whole(o.ResponseBytesMax, nameof(ResponseBytesMax), 0, 64 * 1024);
        Whole(o.AttemptsMax, nameof(AttemptsMax), 1, 100);
        Time(o.RetryDelayMin, nameof(RetryDelayMin), TimeSpan.FromMilliseconds(10), TimeSpan.FromHours(1));
        check.Expect(o.RetryDelayFactor is >= 1 and <= 100, nameof(RetryDelayFactor), "1 to 100", o.RetryDelayFactor);
        Time(o.RetryDelayMax, nameof(RetryDelayMax), o.RetryDelayMin, TimeSpan.FromDays(7));
        check.Expect(o.RetryJitter is >= 0 and < 1, nameof(RetryJitter), "0 to less than 1", o.RetryJitter);
        Time(o.RetryAfterMax, nameof(RetryAfterMax), TimeSpan.Zero, TimeSpan.FromDays(7));
        Time(o.FailingPauseMax, nameof(FailingPauseMax), TimeSpan.Zero, TimeSpan.FromHours(1));
        Time(o.DisableAfter, nameof(DisableAfter), TimeSpan.Zero, TimeSpan.FromDays(365));
        Whole(o.DisableFailuresMin, nameof(DisableFailuresMin), 1, 1_000_000);
        Time(o.SecretGrace, nameof(SecretGrace), TimeSpan.Zero, TimeSpan.FromDays(30));
        Whole(o.SecretsMax, nameof(SecretsMax), 1, 10);
        Whole(o.RecordRowsMax, nameof(RecordRowsMax), 1, 10_000);
        Time(o.RecordWaitMax, nameof(RecordWaitMax), TimeSpan.Zero, TimeSpan.FromSeconds(1));
        Time(o.SweepEvery, nameof(SweepEvery), TimeSpan.FromMilliseconds(10), TimeSpan.FromHours(1));
        Whole(o.SweepRowsMax, nameof(SweepRowsMax), 1, 100_000);
        Time(o.ProgressEvery, nameof(ProgressEvery), TimeSpan.FromMilliseconds(100), TimeSpan.FromHours(1));
        Whole(o.ProgressJobsMax, nameof(ProgressJobsMax), 1, 10_000);
        Whole(o.TaskEventsMax, nameof(TaskEventsMax), 0, 10_000);
        Whole(o.ReplayRowsMax, nameof(ReplayRowsMax), 1, 100_000);
        Time(o.StopWaitMax, nameof(StopWaitMax), TimeSpan.Zero, TimeSpan.FromMinutes(1));
        check.ThrowIfAny();
        return o;

        void Whole(int value, string option, int min, int max) =>
            check.Expect(value >= min && value <= max, option, $"{min} to {max}", value);

        void Time(TimeSpan value, string option, TimeSpan min, TimeSpan max) =>
            check.Expect(value >= min && value <= max, option, $"{min} to {max}", value);
    }
}
