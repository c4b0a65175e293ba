using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Alerts.Probes;

/// <summary>How probes reach the service; section <c>Probes</c>.</summary>
public sealed record ProbeOptions
{
    public const string Section = "Probes";

    /// <summary>The public address of the API, as clients use it. Without one no probe is sent.</summary>
    public string Address { get; init; } = "";

    /// <summary>The API key they are sent with; their tenant pays for them.</summary>
    public string ApiKey { get; init; } = "";

    /// <summary>How many there may be.</summary>
    public int ProbesMax { get; init; } = 100;

    /// <summary>How often it is looked for probes that are due.</summary>
    public TimeSpan LookEvery { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Probes on their way at a time.</summary>
    public int RequestsMax { get; init; } = 8;

    /// <summary>When an answer no longer counts.</summary>
    public TimeSpan TimeMax { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long runs are kept.</summary>
    public TimeSpan KeepRuns { get; init; } = TimeSpan.FromDays(35);

    /// <summary>True when probes can be sent.</summary>
    public bool Reach => Address.Length > 0;

    /// <exception cref="OptionsException">One or more options are out of range.</exception>
    public static ProbeOptions Read(IConfiguration configuration)
    {
        var o = configuration.GetSection(Section).Get<ProbeOptions>() ?? new ProbeOptions();
        var check = new OptionsCheck(Section);
        check.Expect(
            o.Address.Length == 0 || (Uri.TryCreate(o.Address, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"),
            nameof(Address),
            "an http or https address",
            o.Address
        );
        check.Expect(o.Address.Length == 0 || o.ApiKey.Length > 0, nameof(ApiKey), "a key, since there is an address", "nothing");
        check.Expect(o.ProbesMax is >= 1 and <= 10_000, nameof(ProbesMax), "1 to 10000", o.ProbesMax);
        Time(o.LookEvery, nameof(LookEvery), TimeSpan.FromMilliseconds(10), TimeSpan.FromMinutes(1));
        check.Expect(o.RequestsMax is >= 1 and <= 1000, nameof(RequestsMax), "1 to 1000", o.RequestsMax);
        Time(o.TimeMax, nameof(TimeMax), TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(10));
        Time(o.KeepRuns, nameof(KeepRuns), TimeSpan.FromHours(1), TimeSpan.FromDays(3650));
        check.ThrowIfAny();
        return o;

        void Time(TimeSpan value, string option, TimeSpan min, TimeSpan max) =>
            check.Expect(value >= min && value <= max, option, $"{min} to {max}", value);
    }
}
