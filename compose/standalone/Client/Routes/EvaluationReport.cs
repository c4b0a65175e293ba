namespace Pipeline.Standalone.Client.Routes;

/// <param name="AccuracyMin">That the suggestion must reach; null for the last variant's less <see cref="EvaluationReport.AccuracyGiven"/>.</param>
/// <param name="Split">Choose on every other task, measure on the rest.</param>
/// <param name="ByMargin">Thresholds of the margin, not of the probability.</param>
/// <param name="Thresholds">How many are tried.</param>
internal sealed record EvaluationSettings(double? AccuracyMin, bool Split, bool ByMargin, int Thresholds);

/// <summary>A choice, as it is reported.</summary>
/// <param name="Threshold">Null for a model alone and for the route as it is set.</param>
/// <param name="ModelledCostPicoUsd">By the scheduler's learned cost model, which scatters less than one run; null where it is not known.</param>
/// <param name="LatencyMs">Median of some express requests.</param>
internal sealed record EvaluatedChoice(
    string Choice,
    double? Threshold,
    double Accuracy,
    double CostPerTaskPicoUsd,
    double? ModelledCostPicoUsd,
    double TurnsPerTask,
    double? LatencyMs
);

/// <summary>What an evaluation found.</summary>
internal sealed record EvaluationReport
{
    /// <summary>Accuracy that a route may lose against its last variant, unless another is asked for.</summary>
    public const double AccuracyGiven = 0.005;

    public required string Route { get; init; }
    public required int TasksMeasured { get; init; }

    /// <summary>Tasks that the threshold was chosen on: the same, or with <c>--split</c> the others.</summary>
    public required int TasksChosenOn { get; init; }
    public required bool Split { get; init; }

    /// <summary><c>probability_min</c> or <c>margin_min</c>.</summary>
    public required string ThresholdOf { get; init; }

    /// <summary>Every variant alone and, last, the route as it is set: as they ran.</summary>
    public required IReadOnlyList<EvaluatedChoice> Measured { get; init; }

    /// <summary>The cheapest for their accuracy among the variants and all thresholds tried.</summary>
    public required IReadOnlyList<EvaluatedChoice> Front { get; init; }
    public required double AccuracyRequired { get; init; }

    /// <summary>The cheapest that reached it where it was chosen, as it was measured; null where nothing reached it.</summary>
    public required EvaluatedChoice? Suggested { get; init; }

    /// <summary>All thresholds tried.</summary>
    public required IReadOnlyList<EvaluatedChoice> Sweep { get; init; }

    /// <param name="whole">The route itself, as it is set.</param>
    public static EvaluationReport Of(
        ApiRoute route,
        LabelledTasks tasks,
        IReadOnlyList<LabelledRun> variants,
        LabelledRun whole,
        EvaluationSettings settings
    )
    {
        var evaluation = new RouteEvaluation(tasks.Labels, [.. variants.Select(v => new MeasuredVariant(v.Name, v.Answers))]);
        var all = Enumerable.Range(0, tasks.Labels.Count).ToArray();
        var choose = settings.Split ? Array.FindAll(all, i => i % 2 == 0) : all;
        var measure = settings.Split ? Array.FindAll(all, i => i % 2 == 1) : all;

        var thresholds = evaluation.Thresholds(settings.ByMargin, settings.Thresholds);
        var chosenOn = Points(choose);
        var measuredOn = Points(measure);
        var required = settings.AccuracyMin ?? evaluation.Alone(variants.Count - 1, choose).Accuracy - AccuracyGiven;
        var best = RouteEvaluation.Cheapest(chosenOn, required);
        return new EvaluationReport
        {
            Route = whole.Name,
            TasksMeasured = measure.Length,
            TasksChosenOn = choose.Length,
            Split = settings.Split,
            ThresholdOf = settings.ByMargin ? "margin_min" : "probability_min",
            Measured =
            [
                .. variants.Select((v, i) => Show(evaluation.Alone(i, measure)) with { LatencyMs = v.LatencyMs }),
                AsRun(whole, tasks.Labels, measure),
            ],
            Front = [.. RouteEvaluation.Front(measuredOn).Select(Show)],
            AccuracyRequired = required,
            Suggested = best is null ? null : Show(measuredOn.First(p => p.Choice == best.Choice && p.Threshold == best.Threshold)),
            Sweep = [.. measuredOn.Where(p => p.Threshold is not null).Select(Show)],
        };

        List<Evaluated> Points(int[] of) =>
            [.. variants.Select((_, i) => evaluation.Alone(i, of)), .. evaluation.Sweep(route.Name, settings.ByMargin, thresholds, of)];

        EvaluatedChoice Show(Evaluated e) => new(e.Choice, e.Threshold, e.Accuracy, e.CostPico, Modelled(e.Shares), e.TurnsPerTask, null);

        double? Modelled(IReadOnlyList<double> shares) =>
            variants.All(v => v.ModelledCostPico is not null)
                ? shares.Zip(variants, (share, v) => share * v.ModelledCostPico!.Value).Sum()
                : null;

        EvaluatedChoice AsRun(LabelledRun run, IReadOnlyList<string> labels, int[] of)
        {
            var shares = variants.Select((_, variant) => of.Average(task => run.TurnsOf[task] > variant ? 1.0 : 0.0)).ToArray();
            return new(
                run.Name,
                null,
                of.Average(task => run.Answers[task].Label == labels[task] ? 1.0 : 0.0),
                of.Average(task => run.Answers[task].CostPico),
                Modelled(shares),
                of.Average(task => (double)run.TurnsOf[task]),
                run.LatencyMs
            );
        }
    }
}
