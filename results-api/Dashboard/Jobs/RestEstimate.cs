using System.Text.Json;

namespace Pipeline.ResultsApi.Dashboard.Jobs;

/// <summary>What ingest says the rest of a job would take.</summary>
public sealed record RestEstimate(long Tasks, DateTimeOffset Deadline, IReadOnlyList<RestInClass> Classes)
{
    public static RestEstimate Read(JsonElement body) =>
        new(
            body.GetProperty("tasks").GetInt64(),
            body.GetProperty("deadline").GetDateTimeOffset(),
            [.. body.GetProperty("classes").EnumerateArray().Select(RestInClass.Read)]
        );
}

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
