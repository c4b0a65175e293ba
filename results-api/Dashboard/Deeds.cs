using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Jobs;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard;

/// <summary>What came of a deed.</summary>
/// <param name="Refusal">Why it was not done; null where it was.</param>
/// <param name="After">How it is now, for the audit.</param>
internal sealed record DeedOutcome(string? Refusal, object? After = null)
{
    public static DeedOutcome Refused(string why) => new(why);

    public static DeedOutcome Done(object? after = null) => new(null, after);
}

/// <summary>Deeds that this process carries out itself: asked with a reason, audited, and told on the page they were asked from.</summary>
internal static class Deeds
{
    /// <param name="here">The page to go back to.</param>
    /// <param name="told">What it says there once it is done.</param>
    /// <param name="act">Does it, for the reason that it is given.</param>
    public static async Task<IResult> DoAsync(
        this HttpContext http,
        AuditLog audit,
        Deed deed,
        string here,
        string told,
        Func<string, CancellationToken, Task<DeedOutcome>> act
    )
    {
        var stop = http.RequestAborted;
        var reason = (await http.Request.ReadFormAsync(stop))["reason"].ToString().Trim();
        if (reason.Length is 0 or > JobPages.ReasonLengthMax)
        {
            return http.Back(here, good: false, $"Say why, in at most {JobPages.ReasonLengthMax} characters.");
        }

        var (refusal, _) = await audit.KeepAsync(http, deed with { Reason = reason }, () => act(reason, stop));
        return http.Back(here, refusal is null, refusal ?? told);
    }
}
