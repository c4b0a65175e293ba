using System.Net;
using System.Text.Json;
using Pipeline.Contracts;

namespace Pipeline.ResultsApi.Dashboard.Jobs;

/// <summary>What ingest says the rest of a job would take.</summary>
public sealed record RestEstimate(long Tasks, long Units, DateTimeOffset Deadline, IReadOnlyList<RestInClass> Classes)
{
    /// <param name="deadline">Another than its own; null or empty for that.</param>
    internal static async Task<RestAnswer> AskAsync(
        IngestClient ingest,
        TenantId tenant,
        Guid job,
        string? deadline,
        CancellationToken stop
    )
    {
        var path = $"v1/jobs/{job}/estimate{(string.IsNullOrEmpty(deadline) ? "" : $"?deadline={Uri.EscapeDataString(deadline)}")}";
        try
        {
            var (status, body) = await ingest.SendAsync(new(HttpMethod.Post, path) { Tenant = tenant }, stop);
            return (int)status is >= 200 and < 300
                ? new(Read(body), null, IsRefusal: false)
                : new(
                    null,
                    AuditedIngest.Text(body, "detail") ?? $"ingest answered {(int)status}",
                    IsRefusal: status
                        is HttpStatusCode.NotFound
                            or HttpStatusCode.Conflict
                            or HttpStatusCode.BadRequest
                            or HttpStatusCode.UnprocessableEntity
                );
        }
        catch (HttpRequestException e)
        {
            return new(null, $"ingest is not reachable: {e.Message}", IsRefusal: false);
        }
    }

    public static RestEstimate Read(JsonElement body) =>
        new(
            body.GetProperty("tasks").GetInt64(),
            body.GetProperty("units").GetInt64(),
            body.GetProperty("deadline").GetDateTimeOffset(),
            [.. body.GetProperty("classes").EnumerateArray().Select(RestInClass.Read)]
        );
}

/// <summary>What came of asking for it.</summary>
/// <param name="Unknown">Why there is none.</param>
/// <param name="IsRefusal">True where a change would be refused for the same: the job has ended, say.</param>
internal sealed record RestAnswer(RestEstimate? Rest, string? Unknown, bool IsRefusal);

/// <summary>The same in one class; times and cost are null where nobody knows.</summary>
public sealed record RestInClass(
    string Class,
    string Admission,
    DateTimeOffset? CompletedAt,
    DateTimeOffset? LateAt,
    long? CostPico,
    long PricePico
)
{
    /// <summary>What <see cref="Admission"/> is where the class would take it.</summary>
    public const string Accepted = "accepted";

    public static RestInClass Read(JsonElement body) =>
        new(
            body.GetProperty("class").GetString()!,
            body.GetProperty("admission").GetString()!,
            Moment("completed_at", body),
            Moment("late_at", body),
            body.TryGetProperty("cost_pico_usd", out var cost) && cost.ValueKind == JsonValueKind.Number ? cost.GetInt64() : null,
            body.GetProperty("price_pico_usd").GetInt64()
        );

    private static DateTimeOffset? Moment(string name, JsonElement body) =>
        body.TryGetProperty(name, out var at) && at.ValueKind == JsonValueKind.String ? at.GetDateTimeOffset() : null;
}
