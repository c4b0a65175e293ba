using Pipeline.Contracts;

namespace Pipeline.Standalone.Client.Routes;

/// <summary>What a model said of one labelled task.</summary>
/// <param name="Label">Its best label; null when the task did not succeed.</param>
/// <param name="Top">Score of the best label, and of the second (0 where there is none).</param>
/// <param name="CostPico">Pico-USD.</param>
internal readonly record struct ScoredAnswer(string? Label, double Top, double Second, double CostPico);

/// <summary>A variant that ran over all labelled tasks.</summary>
/// <param name="Model"><c>name@version</c>.</param>
/// <param name="Answers">One a task, in the tasks' order.</param>
internal sealed record MeasuredVariant(string Model, IReadOnlyList<ScoredAnswer> Answers);

/// <summary>How good a choice is, and what it costs.</summary>
/// <param name="Choice">A model, or the route.</param>
/// <param name="Threshold">By which the route's variants accept; null for a model, and for the route as it is set.</param>
/// <param name="Accuracy">Part of the tasks answered rightly, 0 to 1.</param>
/// <param name="CostPico">Pico-USD of a task.</param>
/// <param name="Shares">For every variant, the part of the tasks that ran on it.</param>
internal sealed record Evaluated(string Choice, double? Threshold, double Accuracy, double CostPico, IReadOnlyList<double> Shares)
{
    /// <summary>Model executions of a task.</summary>
    public double TurnsPerTask => Shares.Sum();
}

/// <summary>
/// What a route would have answered and cost, computed from what each of its variants said of every task. No model is asked again, so any
/// number of thresholds may be tried.
/// </summary>
/// <param name="labels">The right label of every task.</param>
internal sealed class RouteEvaluation(IReadOnlyList<string> labels, IReadOnlyList<MeasuredVariant> variants)
{
    /// <summary>A variant alone.</summary>
    public Evaluated Alone(int variant, IReadOnlyList<int> tasks)
    {
        var answers = variants[variant].Answers;
        return new Evaluated(
            variants[variant].Model,
            null,
            Mean(tasks, task => answers[task].Label == labels[task] ? 1 : 0),
            Mean(tasks, task => answers[task].CostPico),
            [.. variants.Select((_, i) => i == variant ? 1.0 : 0.0)]
        );
    }

    /// <summary>The route with these rules; a task that fails on a variant has failed, as it has when it really runs.</summary>
    /// <param name="rules">One a variant; null for the last.</param>
    public Evaluated Along(string name, double? threshold, IReadOnlyList<Acceptance?> rules, IReadOnlyList<int> tasks)
    {
        var (right, cost, ran) = (0, 0.0, new int[variants.Count]);
        foreach (var task in tasks)
        {
            for (var variant = 0; ; variant++)
            {
                var answer = variants[variant].Answers[task];
                cost += answer.CostPico;
                ran[variant]++;
                if (answer.Label is null || rules[variant] is not { } rule || rule.Accepts(answer.Top, answer.Second, 0))
                {
                    right += answer.Label == labels[task] ? 1 : 0;
                    break;
                }
            }
        }

        var count = Math.Max(1, tasks.Count);
        return new Evaluated(name, threshold, (double)right / count, cost / count, [.. ran.Select(n => (double)n / count)]);
    }

    /// <summary>The route with one threshold after the other for every variant but the last.</summary>
    public IReadOnlyList<Evaluated> Sweep(string name, bool byMargin, IReadOnlyList<double> thresholds, IReadOnlyList<int> tasks) =>
        [.. thresholds.Select(t => Along(name, t, Rules(byMargin, t), tasks))];

    /// <summary>Thresholds worth trying: scores that were seen of variants that may escalate, evenly spread over the tasks.</summary>
    /// <param name="most">How many at most.</param>
    public IReadOnlyList<double> Thresholds(bool byMargin, int most)
    {
        var seen = variants
            .SkipLast(1)
            .SelectMany(v => v.Answers)
            .Select(a => byMargin ? a.Top - a.Second : a.Top)
            .Where(score => score is > 0 and <= 1)
            .Distinct()
            .Order()
            .ToArray();
        return seen.Length <= most
            ? seen
            : [.. Enumerable.Range(0, most).Select(i => seen[(int)((long)i * (seen.Length - 1) / (most - 1))])];
    }

    /// <summary>The rules of a route all of whose variants but the last accept from this threshold on.</summary>
    public IReadOnlyList<Acceptance?> Rules(bool byMargin, double threshold) =>
        [
            .. variants.Select(
                (_, i) =>
                    i == variants.Count - 1
                        ? null
                        : new Acceptance { ProbabilityMin = byMargin ? null : threshold, MarginMin = byMargin ? threshold : null }
            ),
        ];

    /// <summary>Those than which no other is both cheaper and at least as good, or better and at most as dear; from the cheapest on.</summary>
    public static IReadOnlyList<Evaluated> Front(IEnumerable<Evaluated> points)
    {
        var front = new List<Evaluated>();
        foreach (var point in points.OrderBy(p => p.CostPico).ThenByDescending(p => p.Accuracy))
        {
            if (front.Count == 0 || point.Accuracy > front[^1].Accuracy)
            {
                front.Add(point);
            }
        }

        return front;
    }

    /// <summary>The cheapest that is good enough; of two that cost the same the better. Null when none is.</summary>
    public static Evaluated? Cheapest(IEnumerable<Evaluated> points, double accuracyMin) =>
        points.Where(p => p.Accuracy >= accuracyMin).OrderBy(p => p.CostPico).ThenByDescending(p => p.Accuracy).FirstOrDefault();

    private static double Mean(IReadOnlyList<int> tasks, Func<int, double> value) => tasks.Count == 0 ? 0 : tasks.Average(value);
}
