using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>Work that asks to be let in.</summary>
/// <param name="Fallback">The slower class its owner takes instead of a refusal.</param>
/// <param name="Deadline">When it expires; null when the owner named none, and the class's window is taken.</param>
public sealed record AdmissionAsk(ModelRef Model, LatencyClass Class, LatencyClass? Fallback, WorkSize Size, DateTimeOffset? Deadline);

/// <summary>What was decided of it.</summary>
public enum AdmissionVerdict
{
    Accepted,

    /// <summary>The express target cannot be promised: there is no fresh forecast, or it would be missed.</summary>
    ExpressRefused,

    /// <summary>No order of work meets the deadline.</summary>
    Hopeless,
}

/// <param name="Class">The class it is accepted under, else the one it asked for.</param>
/// <param name="Predicted">When it would be done in that class; null when nothing is known.</param>
/// <param name="OfferedClass">For a refusal: a slower class that would take it.</param>
/// <param name="OfferedDeadline">For a refusal: a deadline that would do, with room for the error of estimates.</param>
/// <param name="OfferedAt">When it would be done under what is offered.</param>
/// <param name="RetryAfter">For a refusal: when the same would be accepted if nothing more came; null when nothing is known.</param>
public sealed record Admitted(
    AdmissionVerdict Verdict,
    LatencyClass Class,
    Predicted? Predicted,
    LatencyClass? OfferedClass = null,
    DateTimeOffset? OfferedDeadline = null,
    DateTimeOffset? OfferedAt = null,
    TimeSpan? RetryAfter = null
);

/// <summary>
/// Lets work in, or says early that its promise cannot be kept. Express is accepted only when even the high estimate meets its target;
/// otherwise its owner may take a slower class (soft admission, as SLOs-Serve demotes what does not fit). A deadline is refused only when
/// no order of work could meet it; one that is merely tight is accepted with the prediction. Without a fresh forecast standard and bulk
/// are accepted without a prediction, and express is refused.
/// </summary>
public static class AdmissionRule
{
    /// <summary>The longest a client is asked to wait: the load of an hour is not known a minute ahead.</summary>
    private static readonly TimeSpan RetryAfterMax = TimeSpan.FromMinutes(1);

    /// <param name="forecast">The last one, if it is fresh; else null.</param>
    /// <param name="express">When express that is estimated so is really done, as far as that was learned; null where it was not.</param>
    public static Admitted Decide(
        Forecast? forecast,
        AdmissionAsk ask,
        IReadOnlyDictionary<LatencyClass, LatencyClassOptions> classes,
        DateTimeOffset now,
        Func<Estimated, Predicted?>? express = null
    )
    {
        var predicted =
            (ask.Class == LatencyClass.Express ? Learned(forecast, ask, express) : null) ?? Predict(forecast, ask, ask.Class, now);
        if (forecast is not null && ask.Deadline is { } deadline && IsHopeless(forecast, ask, deadline))
        {
            return new Admitted(
                AdmissionVerdict.Hopeless,
                ask.Class,
                predicted,
                OfferedDeadline: predicted?.Late,
                OfferedAt: predicted?.Completion
            );
        }

        if (ask.Class != LatencyClass.Express)
        {
            return new Admitted(AdmissionVerdict.Accepted, ask.Class, predicted);
        }

        var due = Earlier(now + classes[LatencyClass.Express].Target, ask.Deadline);
        return predicted is { } fast && fast.Late <= due ? new Admitted(AdmissionVerdict.Accepted, ask.Class, predicted)
            : ask.Fallback is { } slower && slower > ask.Class
                ? new Admitted(AdmissionVerdict.Accepted, slower, Predict(forecast, ask, slower, now))
            : RefuseExpress(forecast, ask, predicted, classes, due, now);
    }

    private static Predicted? Learned(Forecast? forecast, AdmissionAsk ask, Func<Estimated, Predicted?>? express) =>
        forecast is not null
        && express is not null
        && Prediction.Estimate(forecast, ask.Model, LatencyClass.Express, ask.Size, DateTimeOffset.MaxValue) is { } estimated
            ? express(estimated)
            : null;

    private static bool IsHopeless(Forecast forecast, AdmissionAsk ask, DateTimeOffset deadline) =>
        Prediction.AtBest(forecast, ask.Model, ask.Class, ask.Size.Units) is { } best && best > deadline;

    private static Admitted RefuseExpress(
        Forecast? forecast,
        AdmissionAsk ask,
        Predicted? predicted,
        IReadOnlyDictionary<LatencyClass, LatencyClassOptions> classes,
        DateTimeOffset due,
        DateTimeOffset now
    )
    {
        // Standard where it keeps that target, else bulk, which always takes work.
        var standard = Predict(forecast, ask, LatencyClass.Standard, now);
        var offered =
            standard is null || standard.Value.Late <= now + classes[LatencyClass.Standard].Target
                ? LatencyClass.Standard
                : LatencyClass.Bulk;
        // What would be late on idle devices, too, is not worth asking again for soon.
        var alone = forecast is null ? null : Prediction.AtBest(forecast, ask.Model, LatencyClass.Express, ask.Size.Units);
        TimeSpan? wait =
            predicted is not { } late ? null
            : alone > due || late.Late - due > RetryAfterMax ? RetryAfterMax
            : late.Late - due;
        return new Admitted(
            AdmissionVerdict.ExpressRefused,
            ask.Class,
            predicted,
            OfferedClass: offered,
            OfferedAt: Predict(forecast, ask, offered, now)?.Completion,
            RetryAfter: wait
        );
    }

    private static Predicted? Predict(Forecast? forecast, AdmissionAsk ask, LatencyClass latencyClass, DateTimeOffset now) =>
        forecast is null ? null : Prediction.Of(forecast, ask.Model, latencyClass, ask.Size, now);

    private static DateTimeOffset Earlier(DateTimeOffset a, DateTimeOffset? b) => b < a ? b.Value : a;
}
