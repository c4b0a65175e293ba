using Microsoft.AspNetCore.Http.HttpResults;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Alerts;

/// <summary><c>/v1/alerts</c>, <c>/v1/alert_rules</c> and <c>/v1/alert_silences</c>, for operators.</summary>
internal static class AlertRequests
{
    internal static readonly string[] States = ["firing", "resolved"];
    internal static readonly string[] Severities = ["info", "warning", "critical"];
    internal const int SilencesMax = 1000;
    private const int NoteMax = 500;
    private const int LabelsMax = 10;
    private static readonly TimeSpan SilenceMax = TimeSpan.FromDays(90);

    public static void MapAlerts(this IEndpointRouteBuilder operators)
    {
        operators.MapGet("/alerts", ListAsync).Describe(AlertOperations.List);
        operators.MapGet("/alerts/{id}", GetAsync).Describe(AlertOperations.Get);
        operators.MapPost("/alerts/{id}/acknowledge", AcknowledgeAsync).Describe(AlertOperations.Acknowledge);
        operators.MapPost("/alerts/{id}/resolve", ResolveAsync).Describe(AlertOperations.Resolve);
        operators.MapGet("/alert_rules", RulesAsync).Describe(AlertOperations.Rules);
        operators.MapPatch("/alert_rules/{name}", SetRuleAsync).Describe(AlertOperations.SetRule);
        operators.MapDelete("/alert_rules/{name}", ResetRuleAsync).Describe(AlertOperations.ResetRule);
        operators.MapGet("/alert_silences", SilencesAsync).Describe(AlertOperations.Silences);
        operators.MapPost("/alert_silences", SilenceAsync).Describe(AlertOperations.Silence);
        operators.MapDelete("/alert_silences/{id}", EndSilenceAsync).Describe(AlertOperations.EndSilence);
    }

    private static ProblemResult Unknown(string what, string id) =>
        Problems.Result(FailureKind.UnknownAlert, $"There is no {what} \"{id}\".", "id");

    private static async Task<IResult> ListAsync(HttpContext http, AlertStore store, ResultsApiOptions options)
    {
        var query = new QueryParameters(http.Request.Query);
        var limit = query.Whole("limit", 1, options.ListLimitMax) ?? options.ListLimitDefault;
        var after = query.Value<Guid>("after", "the last_id of a page", text => Guid.TryParse(text, out var id) ? id : null);
        var states = query.Words("state", States);
        var severities = query.Words("severity", Severities);
        var rules = query.Words("rule", [.. AlertRules.All.Select(r => r.Name)]);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        var rows = await store.ListAsync(new AlertFilter(states, severities, rules, after), limit + 1, http.RequestAborted);
        return Answer(ListView.Of(rows, limit, alert => alert.Id.ToString()));
    }

    private static async Task<IResult> GetAsync(string id, HttpContext http, AlertStore store) =>
        Guid.TryParse(id, out var value) && await store.FindAsync(value, http.RequestAborted) is { } alert
            ? Answer(alert)
            : Unknown("alert", id);

    private static Task<IResult> AcknowledgeAsync(string id, HttpContext http, AlertStore store) =>
        ActAsync(id, http, store, store.AcknowledgeAsync);

    private static Task<IResult> ResolveAsync(string id, HttpContext http, AlertStore store) =>
        ActAsync(id, http, store, store.ResolveAsync);

    private static async Task<IResult> ActAsync(
        string id,
        HttpContext http,
        AlertStore store,
        Func<Guid, string?, CancellationToken, Task<bool>> act
    )
    {
        var (body, problem) = await JsonBody.ReadAsync(http);
        var note = body.Text("note", NoteMax);
        if ((problem ?? body.Refusal()) is { } refusal)
        {
            return refusal;
        }

        if (!Guid.TryParse(id, out var value) || await store.FindAsync(value, http.RequestAborted) is not { } was)
        {
            return Unknown("alert", id);
        }

        http.WasBefore(was);
        return await act(value, note, http.RequestAborted)
            ? await GetAsync(id, http, store)
            : Problems.Result(FailureKind.InvalidState, $"The alert \"{id}\" is resolved already.");
    }

    private static async Task<IResult> RulesAsync(HttpContext http, AlertStore store)
    {
        var settings = await store.SettingsAsync(http.RequestAborted);
        var rules = AlertRules.All.Select(rule => AlertRuleView.Of(settings[rule.Name])).ToList();
        return Answer(ListView.Of(rules, rules.Count, rule => rule.Name));
    }

    private static async Task<IResult> SetRuleAsync(string name, HttpContext http, AlertStore store)
    {
        var rule = AlertRules.Find(name);
        var (body, problem) = await JsonBody.ReadAsync(http);
        var (enabled, severity, threshold, forSeconds) = ReadSetting(body, rule);
        if ((problem ?? body.Refusal()) is { } refusal)
        {
            return refusal;
        }

        if (rule is null)
        {
            return Unknown("alert rule", name);
        }

        await SayHowItWasAsync(name, http, store);
        await store.SetAsync(name, enabled, severity, threshold, forSeconds, http.RequestAborted);
        return Answer(AlertRuleView.Of((await store.SettingsAsync(http.RequestAborted))[name]));
    }

    /// <summary>Reads what a rule is to be set to; what is wrong with it is kept in the body.</summary>
    internal static (bool? Enabled, Severity? Severity, double? Threshold, int? ForSeconds) ReadSetting(JsonBody body, AlertRule? rule)
    {
        var enabled = body.Flag("enabled");
        var severity = body.Word("severity", Severities);
        var threshold = body.Number("threshold", 0, rule?.ThresholdMax ?? double.MaxValue);
        var forSeconds = body.Whole("for_seconds", 0, 86_400);
        if (threshold is not null && rule is { Threshold: null })
        {
            body.Refuse("threshold", "nothing: this rule has none of its own", $"{threshold}");
        }

        return (enabled, severity is null ? null : Enum.Parse<Severity>(severity, ignoreCase: true), threshold, forSeconds);
    }

    private static async Task<IResult> ResetRuleAsync(string name, HttpContext http, AlertStore store)
    {
        if (AlertRules.Find(name) is not { } rule)
        {
            return Unknown("alert rule", name);
        }

        await SayHowItWasAsync(name, http, store);
        await store.ResetAsync(name, http.RequestAborted);
        return Answer(AlertRuleView.Of(RuleSetting.Of(rule)));
    }

    private static async Task SayHowItWasAsync(string rule, HttpContext http, AlertStore store) =>
        http.WasBefore(AlertRuleView.Of((await store.SettingsAsync(http.RequestAborted))[rule]));

    private static async Task<IResult> SilencesAsync(HttpContext http, AlertStore store)
    {
        var query = new QueryParameters(http.Request.Query);
        var past = query.Flag("past");
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        var silences = await store.SilencesAsync(past, SilencesMax, http.RequestAborted);
        return Answer(ListView.Of(silences, SilencesMax, silence => silence.Id.ToString()));
    }

    private static async Task<IResult> SilenceAsync(HttpContext http, AlertStore store, TimeProvider time)
    {
        var (body, problem) = await JsonBody.ReadAsync(http);
        var silence = problem is null ? ReadSilence(body, time.GetUtcNow()) : null;
        if (silence is null)
        {
            return problem ?? body.Refusal()!;
        }

        await store.AddSilenceAsync(silence, http.RequestAborted);
        return Answer(silence);
    }

    /// <summary>Reads a new silence; null where something is wrong with it, which is kept in the body.</summary>
    internal static SilenceView? ReadSilence(JsonBody body, DateTimeOffset now)
    {
        var rule = body.Word("rule", [.. AlertRules.All.Select(r => r.Name)]);
        var labels = body.Labels("labels", LabelsMax) ?? [];
        var starts = body.Time("starts_at") ?? now;
        var ends = body.Time("ends_at");
        var reason = body.Text("reason", NoteMax);
        if (string.IsNullOrWhiteSpace(reason))
        {
            body.Refuse("reason", "why nobody need be told", "nothing");
        }

        if (ends is null || ends <= starts || ends <= now || ends - starts > SilenceMax)
        {
            body.Refuse("ends_at", $"a time after now and \"starts_at\", at most {SilenceMax.Days} days later", $"{ends:O}");
        }

        return body.Refusal() is not null
            ? null
            : new SilenceView
            {
                Id = Guid.CreateVersion7(now),
                Rule = rule,
                Labels = labels,
                StartsAt = starts,
                EndsAt = ends!.Value,
                Reason = reason!,
                CreatedAt = now,
            };
    }

    private static async Task<IResult> EndSilenceAsync(string id, HttpContext http, AlertStore store)
    {
        if (!Guid.TryParse(id, out var value))
        {
            return Unknown("silence that lasts", id);
        }

        var silences = await store.SilencesAsync(past: false, SilencesMax, http.RequestAborted);
        http.WasBefore(silences.FirstOrDefault(silence => silence.Id == value));
        return await store.EndSilenceAsync(value, http.RequestAborted)
            ? Answer(new SilenceEnded(value))
            : Unknown("silence that lasts", id);
    }

    private static JsonHttpResult<T> Answer<T>(T view) => TypedResults.Json(view, ApiJson.Options);
}
