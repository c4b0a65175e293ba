using System.Globalization;
using Microsoft.AspNetCore.Http;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Telemetry;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Routes;
using Pipeline.Ingest.Tasks;

namespace Pipeline.Ingest;

/// <summary>A job as it was asked for, checked: everything but its tasks.</summary>
internal sealed record JobOrder
{
    public required JobId Id { get; init; }
    public required TenantId Tenant { get; init; }

    /// <summary>The model; of a route the first variant.</summary>
    public required ModelManifest Model { get; init; }

    /// <summary>The route its tasks go along, every version fixed; null where the model is all.</summary>
    public ModelRoute? Route { get; init; }

    /// <summary>What was measured of the route; null where nothing was.</summary>
    public RouteQuality? Quality { get; init; }

    /// <summary>The turns its tasks are expected to take along the route.</summary>
    public Turns Turns => Turns.Of(Route, Quality);
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

    /// <summary>False when every task is to run, whatever ran before.</summary>
    public bool Reuse { get; init; } = true;

    /// <summary>True when its tenant's cache may answer its tasks, and takes their results.</summary>
    public bool UsesCache { get; init; }

    /// <summary>The group of its tasks that name none of their own.</summary>
    public string? Group { get; init; }

    /// <summary>The trace it belongs to; null where none is recorded.</summary>
    public string? Traceparent { get; init; }

    /// <summary>What it is predicted to take; set when it is let in (<see cref="JobGate"/>), null where nobody knows.</summary>
    public JobPrediction? Predicted { get; init; }
    public IReadOnlyDictionary<string, string> Metadata { get; init; } = new Dictionary<string, string>();
}

/// <summary>Turns a job's parameters into an order, or says everything that is wrong with them.</summary>
internal sealed class Admission(
    ModelCatalog models,
    RouteCatalog routes,
    CachingTenants caching,
    HeldWork held,
    WebhookAddresses webhooks,
    IngestOptions options,
    TimeProvider time
)
{
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
        var reuse = ReadReuse(parameters[JobParameters.Reuse], mistakes);
        var group = ReadGroup(parameters[JobParameters.Group], mistakes);
        var (chosen, unmet) = await ChooseAsync(parameters, mistakes, mayFollow, stop);
        if (mistakes.Total > taskMistakes)
        {
            return (null, Refuse(mistakes, chosen.Unknown));
        }

        if (unmet is not null)
        {
            return (null, unmet);
        }

        if (latencyClass == LatencyClass.Express && chosen.Model is { } model && await held.FindAsync(tenant, model.Name, stop) is { } hold)
        {
            return (null, HeldWork.Refuse(hold));
        }

        // What each turn of a routed task did and cost is told by its own runs.
        reuse &= chosen.Route is null;
        var order = new JobOrder
        {
            Id = JobId.New(now),
            Tenant = tenant,
            Model = chosen.Model!,
            Route = chosen.Route,
            Quality = chosen.Quality,
            Class = latencyClass,
            Fallback = fallback,
            Deadline = deadline,
            DeadlineGiven = parameters[JobParameters.Deadline] is not null,
            CreatedAt = now,
            Webhook = webhook,
            MaxCostPico = maxCost,
            Reuse = reuse,
            UsesCache = reuse && await caching.ContainsAsync(tenant, stop),
            Group = group,
            Traceparent = Traces.Current,
            Metadata = parameters.MetadataPairs,
        };
        return (order, null);
    }

    /// <summary>To what a job that is under way is to be changed; what is not said stays as it is.</summary>
    public (LatencyClass Class, DateTimeOffset Deadline) ReadChange(JobParameters parameters, JobView job, Mistakes mistakes)
    {
        var (latencyClass, deadline) = (parameters[JobParameters.Class], parameters[JobParameters.Deadline]);
        return (
            latencyClass is null ? job.Class : ReadClass(latencyClass, mistakes),
            deadline is null ? job.Deadline : ReadDeadline(deadline, job.Class, Moments.Now(time), mistakes)
        );
    }

    /// <summary>The problem that lists mistakes in a job's parameters.</summary>
    /// <param name="unknown">The kind of the one mistake, where the only one is that something named does not exist.</param>
    public static ProblemResult Refuse(Mistakes mistakes, FailureKind? unknown = null)
    {
        var first = mistakes.Kept[0];
        return Problems.Result(
            unknown is { } kind && mistakes.Total == 1 ? kind : FailureKind.InvalidRequest,
            $"{(first.Field is { } field ? $"\"{field}\" expects" : "Expected")} {first.Expected}, given {first.Given}.{(mistakes.Total > 1 ? " There is more in errors." : "")}",
            first.Field,
            mistakes.Kept,
            mistakes.Total
        );
    }

    /// <summary>What is to run: a model, or a route, or what of a route was measured to be good enough.</summary>
    private async ValueTask<(Chosen Chosen, ProblemResult? Unmet)> ChooseAsync(
        JobParameters parameters,
        Mistakes mistakes,
        bool mayFollow,
        CancellationToken stop
    )
    {
        var (name, route) = (parameters[JobParameters.Model], parameters[JobParameters.Route]);
        var qualityMin = ReadQuality(parameters[JobParameters.MinQuality], route, mistakes);
        if (route is not null && name is not null)
        {
            mistakes.Add(JobParameters.Route, $"{JobParameters.Model} or {JobParameters.Route}, one of them", "both");
            return (default, null);
        }

        if (route is not null)
        {
            return await ChooseOfRouteAsync(route, qualityMin, mistakes, stop);
        }

        var model = name is null ? null : await models.FindAsync(name, stop);
        if (model is null && (name is not null || !mayFollow))
        {
            var expected = $"a registered model: {await models.ListAsync(stop)}";
            mistakes.Add(JobParameters.Model, expected, name is null ? "nothing" : $"\"{Excerpt.Of(name)}\"");
        }

        return (new Chosen(model, null, name is not null && model is null ? FailureKind.UnknownModel : null), null);
    }

    private async ValueTask<(Chosen Chosen, ProblemResult? Unmet)> ChooseOfRouteAsync(
        string name,
        double? qualityMin,
        Mistakes mistakes,
        CancellationToken stop
    )
    {
        if (await routes.FindAsync(name, stop) is not { } stored)
        {
            var names = await routes.NamesAsync(stop);
            var expected = names.Count > 0 ? string.Join(", ", names) : "there is none yet";
            mistakes.Add(JobParameters.Route, $"a route: {expected}", $"\"{Excerpt.Of(name)}\"");
            return (new Chosen(null, null, FailureKind.UnknownModelRoute), null);
        }

        var manifests = new List<ModelManifest?>();
        foreach (var variant in stored.Route.Variants)
        {
            manifests.Add(await models.FindAsync(variant.Model, stop));
        }

        // A name may answer with another version since the route was set.
        RouteRules.Check(stored.Route.Variants, manifests, _ => false, await models.ListAsync(stop), mistakes);
        if (manifests.Contains(null))
        {
            return (default, null);
        }

        var variants = stored.Route.Variants.Zip(manifests, (v, m) => v with { Model = m!.Ref.ToString() });
        var route = stored.Route with { Variants = [.. variants] };
        if (qualityMin is not { } least)
        {
            return (new Chosen(manifests[0], route, Quality: stored.Quality), null);
        }

        var (choice, why) = RouteChoice.Choose(route, stored.Quality, least);
        var unmet = choice is null
            ? Problems.Result(
                FailureKind.QualityUnmet,
                string.Create(CultureInfo.InvariantCulture, $"Nothing reaches an accuracy of {least}. {why}"),
                JobParameters.MinQuality
            )
            : null;
        return choice == route.ToString()
            ? (new Chosen(manifests[0], route, Quality: stored.Quality), null)
            : (new Chosen(manifests.Find(m => m!.Ref.ToString() == choice), null), unmet);
    }

    private static double? ReadQuality(string? text, string? route, Mistakes mistakes)
    {
        if (text is null)
        {
            return null;
        }

        if (route is null)
        {
            mistakes.Add(
                JobParameters.MinQuality,
                $"{JobParameters.Route} beside it: of its variants and itself the cheapest is chosen",
                "no route"
            );
        }

        if (double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var quality) && quality is > 0 and <= 1)
        {
            return quality;
        }

        mistakes.Add(JobParameters.MinQuality, "an accuracy, more than 0 and at most 1", $"\"{Excerpt.Of(text)}\"");
        return null;
    }

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

    private static string? ReadGroup(string? text, Mistakes mistakes)
    {
        if (text is not null && !GroupName.IsValid(text))
        {
            mistakes.Add(JobParameters.Group, GroupName.Form, $"\"{Excerpt.Of(text)}\"");
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

    private static bool ReadReuse(string? text, Mistakes mistakes)
    {
        if (text is null)
        {
            return true;
        }

        if (!bool.TryParse(text, out var reuse))
        {
            mistakes.Add(JobParameters.Reuse, "true or false", $"\"{Excerpt.Of(text)}\"");
        }

        return reuse;
    }

    private static string Show(DateTimeOffset moment) => moment.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    /// <param name="Unknown">Set where what was named does not exist.</param>
    /// <param name="Quality">What was measured of the route.</param>
    private readonly record struct Chosen(
        ModelManifest? Model,
        ModelRoute? Route,
        FailureKind? Unknown = null,
        RouteQuality? Quality = null
    );
}
