using System.Text.Json;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Jobs;

namespace Pipeline.ResultsApi.Dashboard;

/// <summary>Who asks for an action, why, and from where.</summary>
internal sealed record Actor(Guid Id, string Name, string? Address, string Reason);

/// <summary>What came of an action.</summary>
/// <param name="Detail">Why it was refused; of a retry the id of the new job.</param>
/// <param name="IsAway">True when ingest was not reachable: the same may be asked again.</param>
internal sealed record ActionOutcome(bool Done, string? Detail, bool IsAway = false);

/// <summary>Sends commands to ingest in an operator's name: noted in the audit before it is asked, and completed whatever comes of it.</summary>
internal sealed class AuditedIngest(IngestClient ingest, AuditLog audit)
{
    /// <param name="told">What the answer says: a detail for the operator, and how the subject is now.</param>
    public async Task<ActionOutcome> AskAsync(
        Actor actor,
        Deed deed,
        IngestRequest request,
        Func<JsonElement, Task<(string? Detail, object? After)>> told,
        CancellationToken stop
    )
    {
        var row = await audit.BeginAsync(actor.Id, actor.Name, actor.Address, deed with { Reason = actor.Reason }, stop);
        try
        {
            var (status, body) = await ingest.SendAsync(request, stop);
            var done = (int)status is >= 200 and < 300;
            var (detail, after) = done ? await told(body) : (Text(body, "detail") ?? $"ingest answered {(int)status}", null);
            await audit.CompleteAsync(row, done, detail, after);
            return new(done, detail);
        }
        catch (HttpRequestException e)
        {
            var detail = $"ingest is not reachable: {e.Message}";
            await audit.CompleteAsync(row, false, detail, null);
            return new(false, detail, IsAway: true);
        }
    }

    public static string? Text(JsonElement body, string name) =>
        body.ValueKind == JsonValueKind.Object && body.TryGetProperty(name, out var value) ? value.ToString() : null;
}
