using Microsoft.Extensions.Logging;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Routes;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Ingest;

/// <summary>What the gate says of an order.</summary>
/// <param name="Order">As it is let in, perhaps under a slower class, with what it is predicted to take.</param>
/// <param name="Refused">The problem to answer with, where it is not let in.</param>
internal sealed record GateRuling(JobOrder Order, ProblemResult? Refused);

/// <summary>
/// Lets a checked order in, or says why not and what would do: by the scheduler's last forecast and with the policy's own rule
/// (<see cref="AdmissionRule"/>). Nothing is stored before.
/// </summary>
internal sealed partial class JobGate(Forecasts forecasts, Calibrator calibrator, IngestOptions options, ILogger<JobGate> log)
{
    public GateRuling Rule(JobOrder order, WorkSize size, DateTimeOffset now) => Rule(order, size, now, forecasts.Fresh);

    /// <summary>Whether the rule's word keeps work out here: late express may be let in all the same (<see cref="IngestOptions.RefuseLateExpress"/>).</summary>
    public bool Refuses(AdmissionVerdict verdict) =>
        verdict != AdmissionVerdict.Accepted && (options.RefuseLateExpress || verdict != AdmissionVerdict.ExpressRefused);

    /// <param name="forecast">What is ahead of it; null when nobody knows.</param>
    /// <param name="isChange">True for the rest of a job that was let in before.</param>
    public GateRuling Rule(JobOrder order, WorkSize size, DateTimeOffset now, Forecast? forecast, bool isChange = false)
    {
        var given = order.DeadlineGiven ? order.Deadline : (DateTimeOffset?)null;
        var ask = new AdmissionAsk(order.Model.Ref, order.Class, order.Fallback, size, given);
        var ruling = Decide(learned: true);
        if (
            ask.Class == LatencyClass.Express
            && (ruling.Verdict == AdmissionVerdict.ExpressRefused || ruling.Class != ask.Class)
            && Decide(learned: false) is { Verdict: AdmissionVerdict.Accepted } plain
            && plain.Class == ask.Class
            && calibrator.MayTryExpress(ask.Model, now)
        )
        {
            ruling = plain;
        }

        if (Refuses(ruling.Verdict))
        {
            LogRefused(log, order.Id, size.Results, order.Model.Ref, order.Class, ruling.Verdict);
            var offers = forecast is null || ruling.Verdict == AdmissionVerdict.Hopeless ? null : Slower(forecast, order, size, now);
            return new GateRuling(order, Refusal(order, ruling, offers, isChange));
        }

        var accepted = Under(ruling.Class, order, now);
        return new GateRuling(accepted with { Predicted = Predict(forecast, accepted, size, now) }, null);

        Admitted Decide(bool learned) =>
            AdmissionRule.Decide(
                forecast,
                ask,
                LatencyClasses.Defaults,
                now,
                first => Express(forecast!, order, first, size, now, learned)
            );
    }

    /// <summary>In the pool that would run it, with the turns that it is expected to take.</summary>
    private JobPrediction? Predict(Forecast? forecast, JobOrder order, WorkSize size, DateTimeOffset now) =>
        forecast is not null && order.Turns.Estimate(forecast, order.Model.Ref, order.Class, size, order.Deadline) is { } estimated
            ? JobPrediction.Of(estimated, of => calibrator.Of(order.Class, order.Model.Ref, of), now)
            : null;

    /// <summary>When express is done, with the turns that it may take after the first.</summary>
    /// <param name="learned">By what became of the last express of the models, where enough is known.</param>
    /// <returns>Null where nothing but the forecast of the first turn tells.</returns>
    public Predicted? Express(Forecast forecast, JobOrder order, in Estimated first, WorkSize size, DateTimeOffset now, bool learned = true)
    {
        var predicted = learned ? calibrator.Express(first, order.Model.Ref, now) : null;
        foreach (var (model, alone, chance) in order.Turns.After(forecast, LatencyClass.Express, size, order.Deadline))
        {
            if (alone?.NotBefore(now) is { } turn && chance > Turns.LateShare)
            {
                var before = predicted ?? Plain(first.NotBefore(now));
                var late = (learned ? calibrator.Express(turn, model, now)?.Late : null) ?? turn.Late;
                predicted = before with { Late = before.Late + (late - now) };
            }
        }

        return predicted;

        static Predicted Plain(in Estimated of) => new(of.Completion, of.Late);
    }

    /// <summary>Every slower class, with the time it would have the work done.</summary>
    private List<Offer> Slower(Forecast forecast, JobOrder order, WorkSize size, DateTimeOffset now) =>
        [
            .. new[] { LatencyClass.Standard, LatencyClass.Bulk }
                .Select(slower => (Class: slower, Predicted: Predict(forecast, Under(slower, order, now), size, now)))
                .Where(offer => offer.Predicted is not null)
                .Select(offer => new Offer(offer.Class, null, offer.Predicted!.At)),
        ];

    /// <summary>The order under the class it is accepted in; a window nobody chose becomes that of the class.</summary>
    private static JobOrder Under(LatencyClass accepted, JobOrder order, DateTimeOffset now) =>
        accepted == order.Class
            ? order
            : order with
            {
                Class = accepted,
                Deadline = order.DeadlineGiven ? order.Deadline : now + LatencyClasses.Defaults[accepted].CompletionWindow,
            };

    /// <summary>Says why the job is not let in, when it would be done, and what would be accepted instead.</summary>
    private static ProblemResult Refusal(JobOrder order, Admitted ruling, IReadOnlyList<Offer>? offers, bool isChange)
    {
        var hopeless = ruling.Verdict == AdmissionVerdict.Hopeless;
        var done = ruling.Predicted is { } at ? $"It would be done at {at.Completion:O}, in 19 of 20 cases by {at.Late:O}." : null;
        var detail =
            hopeless
                ? $"All workers together cannot be done by {order.Deadline:O}. {done} A deadline of {ruling.OfferedDeadline:O} would do."
            : done is null
                ? "Express is promised only while the scheduler tells when devices are free, and nobody tells it of this model now."
            : $"Express is done within {LatencyClasses.Defaults[LatencyClass.Express].Target.TotalMilliseconds:0} ms. {done}";
        var offer = hopeless
            ? new Offer(null, ruling.OfferedDeadline, ruling.OfferedAt)
            : new Offer(ruling.OfferedClass, null, ruling.OfferedAt);
        var soft =
            hopeless ? ""
            : isChange ? $" Class {ruling.OfferedClass?.Name()} takes it now."
            : $" Class {ruling.OfferedClass?.Name()} takes it now; with fallback={ruling.OfferedClass?.Name()} that happens by itself.";
        var kind = hopeless ? FailureKind.DeadlineInfeasible : FailureKind.ExpressUnavailable;
        var problem = Problems.From(
            kind,
            $"{detail}{soft} Nothing was {(isChange ? "changed" : "stored")}.",
            hopeless ? JobParameters.Deadline : JobParameters.Class
        );
        return new ProblemResult(
            problem with
            {
                PredictedAt = ruling.Predicted?.Completion,
                Offer = offer,
                Offers = offers,
                RetryAfter = ruling.RetryAfter,
            }
        );
    }

    [LoggerMessage(32, LogLevel.Information, "Refused job {Job}: {Tasks} tasks for {Model}, {Class}: {Verdict}")]
    private static partial void LogRefused(
        ILogger log,
        JobId job,
        long tasks,
        ModelRef model,
        LatencyClass @class,
        AdmissionVerdict verdict
    );
}
