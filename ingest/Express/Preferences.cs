using System.Globalization;
using Microsoft.AspNetCore.Http;
using Pipeline.Ingest.Tasks;

namespace Pipeline.Ingest.Express;

/// <summary>
/// What a request says in <c>Prefer</c> (RFC 7240) about waiting: <c>respond-async</c> (section 4.1) and <c>wait=N</c>, seconds (section 4.3).
/// Preferences nobody knows here are left, as section 2 asks.
/// </summary>
/// <param name="Wait">How long the caller waits at most; null where nothing was said.</param>
/// <param name="Async">True when an answer without the results will do at once.</param>
internal readonly record struct Preferences(TimeSpan? Wait, bool Async)
{
    public const string Header = "Prefer";
    public const string AppliedHeader = "Preference-Applied";

    /// <summary>Reads the header; the first of two values for one preference counts (section 2).</summary>
    public static Preferences From(HttpRequest request, Mistakes mistakes)
    {
        TimeSpan? wait = null;
        var isAsync = false;
        foreach (var line in request.Headers[Header])
        {
            foreach (var part in (line ?? "").Split(','))
            {
                // Parameters of a preference stand behind a semicolon; none is known for these two.
                var (name, value) = Split(part.Split(';')[0]);
                if (name.Equals("respond-async", StringComparison.OrdinalIgnoreCase))
                {
                    isAsync = true;
                }
                else if (name.Equals("wait", StringComparison.OrdinalIgnoreCase))
                {
                    wait ??= ReadWait(value, mistakes);
                }
            }
        }

        return new Preferences(wait, isAsync);
    }

    /// <summary>How long to wait for the results before the answer is 202.</summary>
    /// <param name="most">The longest the service waits for anybody.</param>
    public TimeSpan WaitUpTo(TimeSpan most) =>
        Wait is { } wait ? (wait < most ? wait : most)
        : Async ? TimeSpan.Zero
        : most;

    /// <summary>The preferences that were followed, for <c>Preference-Applied</c> (section 3); null for none.</summary>
    public string? Applied =>
        (Async, Wait) switch
        {
            (true, { } wait) => $"respond-async, {Show(wait)}",
            (true, null) => "respond-async",
            (false, { } wait) => Show(wait),
            _ => null,
        };

    private static string Show(TimeSpan wait) => string.Create(CultureInfo.InvariantCulture, $"wait={(long)wait.TotalSeconds}");

    private static (string Name, string Value) Split(string preference)
    {
        var at = preference.IndexOf('=', StringComparison.Ordinal);
        return at < 0 ? (preference.Trim(), "") : (preference[..at].Trim(), preference[(at + 1)..].Trim().Trim('"'));
    }

    private static TimeSpan? ReadWait(string value, Mistakes mistakes)
    {
        if (int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds))
        {
            return TimeSpan.FromSeconds(seconds);
        }

        mistakes.Add(Header, "wait= with whole seconds, 0 or more", $"\"wait={Excerpt.Of(value)}\"");
        return null;
    }
}
