using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard;

/// <summary>Who sent a form, and why.</summary>
internal static class Actors
{
    public const int ReasonLengthMax = 500;
    public const string NoIngest = "Dashboard:Ingest is not set, so this dashboard only shows.";

    /// <summary>Why, of a form that leaves it open; null where it says nothing.</summary>
    public static string? MaybeReason(IFormCollection form) =>
        form["reason"].ToString().Trim() is { Length: > 0 } reason ? reason[..Math.Min(reason.Length, ReasonLengthMax)] : null;

    /// <summary>Reads a form that asks for something through ingest; where it cannot be, the answer that leads back and says why.</summary>
    public static async Task<(Actor? Actor, IFormCollection Form, IResult? Refused)> ReadAsync(
        HttpContext http,
        DashboardOptions options,
        string back
    )
    {
        var form = await http.Request.ReadFormAsync(http.RequestAborted);
        var reason = form["reason"].ToString().Trim();
        if (options.Ingest is null)
        {
            return (null, form, http.Back(back, good: false, NoIngest));
        }

        if (reason.Length is 0 or > ReasonLengthMax)
        {
            return (null, form, http.Back(back, good: false, $"Say why, in at most {ReasonLengthMax} characters."));
        }

        var who = Guard.OperatorOf(http)!;
        return (new Actor(who.Id, who.Name, http.Connection.RemoteIpAddress?.ToString(), reason), form, null);
    }
}
