using System.Net;
using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Dashboard;

/// <summary>How the operators' dashboard is reached, and by whom; section <c>Dashboard</c>.</summary>
public sealed record DashboardOptions
{
    public const string Section = "Dashboard";

    /// <summary>False leaves out every page.</summary>
    public bool Enabled { get; init; } = true;

    /// <summary>
    /// Where browsers find it, without the path: <c>https://pipeline.example.org</c>. Links are made with it. With <c>https</c> cookies are
    /// sent over TLS only. Null: the address that this process listens on.
    /// </summary>
    public Uri? PublicUrl { get; init; }

    /// <summary>Ingest's address, or a gateway's before it: actions on jobs are sent there. Null: nothing can be done to jobs.</summary>
    public Uri? Ingest { get; init; }

    /// <summary>True: nobody can change anything; signing in and out is left.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>True: inputs and outputs of tasks are not shown, to nobody.</summary>
    public bool Redact { get; init; }

    /// <summary>A session ends when it was not used for so long, and at the latest after <see cref="SessionMax"/>.</summary>
    public TimeSpan SessionIdleMax { get; init; } = TimeSpan.FromHours(2);
    public TimeSpan SessionMax { get; init; } = TimeSpan.FromHours(12);

    /// <summary>Wrong passwords in a row until an account is locked, and for how long.</summary>
    public int SignInFailuresMax { get; init; } = 5;
    public TimeSpan LockedFor { get; init; } = TimeSpan.FromMinutes(15);
    public int PasswordLengthMin { get; init; } = 12;

    /// <summary>How long a link works that lets somebody choose a password.</summary>
    public TimeSpan LinkFor { get; init; } = TimeSpan.FromHours(24);

    /// <summary>
    /// The header in which a company's sign-on names the operator, e.g. <c>X-Forwarded-User</c>; null (the default) trusts none. Needs
    /// <see cref="ProxySecret"/> and <see cref="ProxyNetworks"/>: a request that has the header and not both of them is refused.
    /// </summary>
    public string? ProxyUserHeader { get; init; }

    /// <summary>What the proxy sends in <c>Pipeline-Proxy-Secret</c>.</summary>
    public string? ProxySecret { get; init; }

    /// <summary>The networks the proxy connects from, e.g. <c>10.0.0.0/24</c>.</summary>
    public IReadOnlyList<string> ProxyNetworks { get; init; } = [];

    /// <summary>Items of a page of a list, and at most by <c>limit</c>.</summary>
    public int PageItems { get; init; } = 50;
    public int PageItemsMax { get; init; } = 200;

    /// <summary>Rows of one export.</summary>
    public int ExportRowsMax { get; init; } = 10_000;

    /// <summary>Jobs of one bulk action, and how many are worked off at once.</summary>
    public int BulkItemsMax { get; init; } = 10_000;
    public int BulkParallel { get; init; } = 4;

    /// <summary>Jobs of a change of many that ingest is asked about before it is confirmed, and the time that may take.</summary>
    public int EstimateJobsMax { get; init; } = 200;
    public TimeSpan EstimateTimeMax { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>
    /// How often a live page is made anew, once for all who look at it (less often where that takes more than a twentieth of the time); and
    /// connections that follow.
    /// </summary>
    public TimeSpan LiveEvery { get; init; } = TimeSpan.FromSeconds(2);
    public int LiveViewersMax { get; init; } = 500;

    /// <summary>Dead letters that are sent again at one click, and how many of them a second.</summary>
    public int RedriveMax { get; init; } = 500;
    public int RedrivePerSecond { get; init; } = 100;

    /// <summary>Time that a page's query may take; a search over very many rows ends with advice instead of a busy server.</summary>
    public TimeSpan QueryTimeMax { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Time that one look for a task may take before it says how far it came; and tasks read through at once.</summary>
    public TimeSpan SearchTimeMax { get; init; } = TimeSpan.FromMilliseconds(300);
    public int SearchRowsAtOnce { get; init; } = 50_000;

    internal bool IsHttps => PublicUrl?.Scheme == Uri.UriSchemeHttps;

    /// <exception cref="OptionsException">One or more options are out of range.</exception>
    public static DashboardOptions Read(IConfiguration configuration)
    {
        var options = configuration.GetSection(Section).Get<DashboardOptions>() ?? new DashboardOptions();
        var check = new OptionsCheck(Section);
        ExpectHttp(check, options.PublicUrl, nameof(PublicUrl));
        ExpectHttp(check, options.Ingest, nameof(Ingest));
        ExpectTime(check, options.SessionMax, nameof(SessionMax), TimeSpan.FromMinutes(1), TimeSpan.FromDays(30));
        ExpectTime(check, options.SessionIdleMax, nameof(SessionIdleMax), TimeSpan.FromMinutes(1), options.SessionMax);
        check.Expect(options.SignInFailuresMax is >= 1 and <= 100, nameof(SignInFailuresMax), "1 to 100", options.SignInFailuresMax);
        ExpectTime(check, options.LockedFor, nameof(LockedFor), TimeSpan.FromSeconds(1), TimeSpan.FromDays(1));
        check.Expect(options.PasswordLengthMin is >= 8 and <= 128, nameof(PasswordLengthMin), "8 to 128", options.PasswordLengthMin);
        ExpectTime(check, options.LinkFor, nameof(LinkFor), TimeSpan.FromMinutes(5), TimeSpan.FromDays(30));
        check.Expect(options.PageItemsMax is >= 1 and <= 1000, nameof(PageItemsMax), "1 to 1000", options.PageItemsMax);
        check.Expect(
            options.PageItems >= 1 && options.PageItems <= options.PageItemsMax,
            nameof(PageItems),
            $"1 to {nameof(PageItemsMax)} ({options.PageItemsMax})",
            options.PageItems
        );
        check.Expect(options.ExportRowsMax is >= 1 and <= 1_000_000, nameof(ExportRowsMax), "1 to 1000000", options.ExportRowsMax);
        check.Expect(options.BulkItemsMax is >= 1 and <= 1_000_000, nameof(BulkItemsMax), "1 to 1000000", options.BulkItemsMax);
        check.Expect(options.BulkParallel is >= 1 and <= 64, nameof(BulkParallel), "1 to 64", options.BulkParallel);
        check.Expect(options.EstimateJobsMax is >= 1 and <= 10_000, nameof(EstimateJobsMax), "1 to 10000", options.EstimateJobsMax);
        ExpectTime(check, options.EstimateTimeMax, nameof(EstimateTimeMax), TimeSpan.Zero, TimeSpan.FromMinutes(1));
        ExpectTime(check, options.LiveEvery, nameof(LiveEvery), TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(1));
        check.Expect(options.LiveViewersMax is >= 1 and <= 100_000, nameof(LiveViewersMax), "1 to 100000", options.LiveViewersMax);
        check.Expect(options.RedriveMax is >= 1 and <= 10_000, nameof(RedriveMax), "1 to 10000", options.RedriveMax);
        check.Expect(options.RedrivePerSecond is >= 1 and <= 1000, nameof(RedrivePerSecond), "1 to 1000", options.RedrivePerSecond);
        ExpectTime(check, options.QueryTimeMax, nameof(QueryTimeMax), TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(5));
        ExpectTime(check, options.SearchTimeMax, nameof(SearchTimeMax), TimeSpan.Zero, options.QueryTimeMax);
        check.Expect(options.SearchRowsAtOnce is >= 1 and <= 1_000_000, nameof(SearchRowsAtOnce), "1 to 1000000", options.SearchRowsAtOnce);
        if (options.ProxyUserHeader is not null)
        {
            check.Expect(options.ProxySecret is { Length: >= 16 }, nameof(ProxySecret), "at least 16 characters", options.ProxySecret);
            check.Expect(
                options.ProxyNetworks.Count > 0 && options.ProxyNetworks.All(network => IPNetwork.TryParse(network, out _)),
                nameof(ProxyNetworks),
                "one or more networks, such as 10.0.0.0/24",
                string.Join(", ", options.ProxyNetworks)
            );
        }

        check.ThrowIfAny();
        return options;
    }

    private static void ExpectHttp(OptionsCheck check, Uri? value, string option) =>
        check.Expect(
            value is null || (value.IsAbsoluteUri && value.Scheme is "http" or "https"),
            option,
            "an address such as https://pipeline.example.org",
            value
        );

    private static void ExpectTime(OptionsCheck check, TimeSpan value, string option, TimeSpan min, TimeSpan max) =>
        check.Expect(value >= min && value <= max, option, $"{min} to {max}", value);
}
