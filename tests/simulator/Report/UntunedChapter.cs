namespace Pipeline.Simulator.Report;

/// <summary>The world that no rule was tuned in, see <see cref="UntunedWorld"/>, under every policy.</summary>
internal sealed class UntunedChapter(ReportPlan plan, Lives lives) : IChapter
{
    private readonly SortedDictionary<string, Outcome?> _lived = new(StringComparer.Ordinal);

    public IEnumerable<Cell> Cells =>
        plan.Baselines.Prepend(Policies.Ours).Select(p => new Cell($"not tuned for, {p}", plan.UntunedTasks / 60_000.0, () => Live(p)));

    private void Live(string policy)
    {
        var result = lives.Live(
            "not tuned for",
            Scenarios.Find("untuned"),
            Policies.Find(policy),
            new Parameters
            {
                Seed = plan.Seed,
                Tasks = plan.UntunedTasks,
                Jitter = 0.05,
            }
        );
        lock (_lived)
        {
            _lived[policy] = result is null ? null : Outcome.Of(result);
        }
    }

    public void Write(ReportText text, Figures figures)
    {
        text.Heading("7. A scenario that was not tuned for");
        text.Block(
            "4 fast devices (BERT-large s384 on an A100 and ResNet-50 on a V100, 2 USD an hour) and 4 slow ones (the same on a V100 and a T4; 0.40 USD). Express of three tenants for both models on daily curves "
                + "(swing 0.7; the two models swing at different pace), together at half the fast devices' ceiling in the mean; nine bulk jobs of three tenants for both models, due in 40 % of the run. Each device dies about once in three runs and another takes its place after 5 s; "
                + "one batch in a thousand takes ten times as long; 5 % jitter; messages take 1 to 4 ms; the policy is told the fast devices' profiles only. Target 200 ms. Baselines with their own knobs."
        );
        text.Table(
            [
                "policy",
                "express attained",
                "bulk attained",
                "bulk starved",
                "express p99",
                "express longest wait",
                "bulk longest wait",
                "goodput/s",
                "USD a million tasks",
            ],
            _lived
                .Where(l => l.Value is not null)
                .Select(l => l.Value!)
                .OrderByDescending(o => o.Express)
                .ThenBy(o => o.Policy, StringComparer.Ordinal)
                .Select(o =>
                    (string[])
                        [
                            o.Policy == Policies.Ours ? "**ours**" : o.Policy,
                            $"{ReportText.Percent(o.Express, 3)} %",
                            $"{ReportText.Percent(o.Bulk, 2)} %",
                            ReportText.Number(o.Starved),
                            $"{ReportText.Number(o.ExpressP99Ms, 1)} ms",
                            $"{ReportText.Number(o.ExpressMaxMs, 1)} ms",
                            $"{ReportText.Number(o.BulkMaxSeconds, 1)} s",
                            ReportText.Number(o.Goodput),
                            ReportText.Number(o.CostPerMillionUsd, 4),
                        ]
                )
        );
        var ours = _lived[Policies.Ours];
        if (ours is null || ours.Express < 0.999 || ours.Starved > 0)
        {
            figures.Losses.Add(
                $"Not tuned for: express {ReportText.Percent(ours?.Express ?? 0, 2)} % (goal 99.9), {ReportText.Number(ours?.Starved ?? double.NaN)} bulk tasks without a result by their deadline."
            );
        }

        var better = _lived
            .Values.OfType<Outcome>()
            .Where(o => ours is not null && o.Express > ours.Express + 0.001 && o.Bulk >= ours.Bulk - 0.001)
            .ToList();
        if (better.Count > 0)
        {
            figures.Losses.Add(
                $"Not tuned for: more express at no less bulk under {string.Join(", ", better.Select(o => $"{o.Policy} ({ReportText.Percent(o.Express, 2)} %)"))}."
            );
        }
    }
}
