using System.Globalization;
using Microsoft.AspNetCore.Http;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Tasks;

namespace Pipeline.Ingest;

/// <summary>A job as it was asked for, checked: everything but its tasks.</summary>
internal sealed record JobOrder
{
    public required JobId Id { get; init; }
    public required TenantId Tenant { get; init; }
    public required ModelManifest Model { get; init; }
    public required LatencyClass Class { get; init; }

    /// <summary>The slower class its owner takes instead of a refusal.</summary>
    public LatencyClass? Fallback { get; init; }
    public required DateTimeOffset Deadline { get; init; }

    /// <summary>False when the deadline is the class's completion window.</summary>
    public bool DeadlineGiven { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
    public string? Webhook { get; init; }
    public long? MaxCostPico { get; init; }

    /// <summary>What a million units are charged, and all of it by that; set when it is let in (<see cref="PriceList"/>).</summary>
    public long? PerMillionUnitsPico { get; init; }
    public long? EstimatePico { get; init; }
    public JobId? RetryOf { get; init; }
    public IReadOnlyDictionary<string, string> Metadata { get; init; } = new Dictionary<string, string>();
}

/// <summary>Turns a job's parameters into an order, or says everything that is wrong with them.</summary>
internal sealed class Admission(ModelCatalog models, WebhookAddresses webhooks, IngestOptions options, TimeProvider time)
{
    /// <summary>Models named in a message at most.</summary>
    private const int NamesMax = 50;

    /// <summary>Tells every other mistake of parameters that have one, before the body is read, where more of them may follow.</summary>
    public async ValueTask<ProblemResult> RefuseAsync(TenantId tenant, JobParameters parameters, Mistakes mistakes, CancellationToken stop)
    {
        var (_, refused) = await AdmitAsync(tenant, parameters, mistakes, 0, stop, mayFollow: true);
        return refused ?? Refuse(mistakes);
    }

    /// <summary>An order when the parameters have no mistake, else the problem to answer with.</summary>
    /// <param name="mayFollow">True when a missing model may still be named by the body.</param>
    /// <param name="taskMistakes">How many of the mistakes found before are those of tasks, and told when the body has ended.</param>
    public async ValueTask<(JobOrder? Order, ProblemResult? Refused)> AdmitAsync(
        TenantId tenant,
        JobParameters parameters,
        Mistakes mistakes,
        long taskMistakes,
        CancellationToken stop,
        bool mayFollow = false
    )
    {
        var now = Moments.Now(time);
        var latencyClass = ReadClass(parameters[JobParameters.Class], mistakes);
        var fallback = ReadFallback(parameters[JobParameters.Fallback], latencyClass, mistakes);
        var deadline = ReadDeadline(parameters[JobParameters.Deadline], latencyClass, now, mistakes);
        var webhook = ReadWebhook(parameters[JobParameters.Webhook], mistakes);
        var maxCost = ReadMaxCost(parameters[JobParameters.MaxCost], mistakes);
        var name = parameters[JobParameters.Model];
        var model = name is null ? null : await models.FindAsync(name, stop);
        if (model is null && (name is not null || !mayFollow))
        {
            var expected = $"a registered model: {await RegisteredAsync(stop)}";
            mistakes.Add(JobParameters.Model, expected, name is null ? "nothing" : $"\"{Excerpt.Of(name)}\"");
        }

        if (mistakes.Total > taskMistakes)
        {
            return (null, Refuse(mistakes, unknownModel: name is not null && model is null));
        }

        var order = new JobOrder
        {
            Id = JobId.New(now),
            Tenant = tenant,
            Model = model!,
            Class = latencyClass,
            Fallback = fallback,
            Deadline = deadline,
            DeadlineGiven = parameters[JobParameters.Deadline] is not null,
            CreatedAt = now,
            Webhook = webhook,
            MaxCostPico = maxCost,
            Metadata = parameters.MetadataPairs,
        };
        return (order, null);
    }

    /// <summary>The problem that lists mistakes in a job's parameters.</summary>
    public static ProblemResult Refuse(Mistakes mistakes, bool unknownModel = false)
    {
        var first = mistakes.Kept[0];
        return Problems.Result(
            unknownModel && mistakes.Total == 1 ? FailureKind.UnknownModel : FailureKind.InvalidRequest,
            $"{(first.Field is { } field ? $"\"{field}\" expects" : "Expected")} {first.Expected}, given {first.Given}.{(mistakes.Total > 1 ? " There is more in errors." : "")}",
            first.Field,
            mistakes.Kept,
            mistakes.Total
        );
    }

    private async ValueTask<string> RegisteredAsync(CancellationToken stop) =>
        await models.NamesAsync(stop) is { Count: > 0 } names ? string.Join(", ", names.Take(NamesMax)) : "there is none yet";

    private static LatencyClass ReadClass(string? text, Mistakes mistakes)
    {
        if (!LatencyClasses.TryParse(text ?? "bulk", out var latencyClass))
        {
            mistakes.Add(JobParameters.Class, "express, standard or bulk", $"\"{Excerpt.Of(text!)}\"");
        }

        return latencyClass;
    }

    private static LatencyClass? ReadFallback(string? text, LatencyClass latencyClass, Mistakes mistakes)
    {
        if (text is null)
        {
            return null;
        }

        if (!LatencyClasses.TryParse(text, out var fallback) || fallback <= latencyClass)
        {
            mistakes.Add(
                JobParameters.Fallback,
                $"standard or bulk, and a slower class than {latencyClass.Name()}",
                $"\"{Excerpt.Of(text)}\""
            );
        }

        return fallback;
    }

    private DateTimeOffset ReadDeadline(string? text, LatencyClass latencyClass, DateTimeOffset now, Mistakes mistakes)
    {
        var deadline = now + LatencyClasses.Defaults[latencyClass].CompletionWindow;
        if (text is null)
        {
            return deadline;
        }

        if (!Deadlines.TryParse(text, now, out deadline))
        {
            mistakes.Add(JobParameters.Deadline, Deadlines.Form, $"\"{Excerpt.Of(text)}\"");
        }
        else if (deadline <= now)
        {
            mistakes.Add(JobParameters.Deadline, $"a moment after now, {Show(now)}", $"\"{text}\"");
        }
        else if (deadline > now + options.DeadlineMax)
        {
            mistakes.Add(JobParameters.Deadline, $"at most {options.DeadlineMax.TotalDays:0.##} days ahead", $"\"{text}\"");
        }

        return deadline;
    }

    private string? ReadWebhook(string? text, Mistakes mistakes)
    {
        if (text is not null && webhooks.Mistake(text) is { } expected)
        {
            mistakes.Add(JobParameters.Webhook, expected, $"\"{Excerpt.Of(text)}\"");
        }

        return text;
    }

    private static long? ReadMaxCost(string? text, Mistakes mistakes)
    {
        if (text is null)
        {
            return null;
        }

        if (
            decimal.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var usd)
            && usd > 0
            && usd <= long.MaxValue / Cost.PicoPerUsd
        )
        {
            return (long)(usd * Cost.PicoPerUsd);
        }

        mistakes.Add(JobParameters.MaxCost, "dollars, more than 0 and at most 9223372", $"\"{Excerpt.Of(text)}\"");
        return null;
    }

    private static string Show(DateTimeOffset moment) => moment.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);
}
