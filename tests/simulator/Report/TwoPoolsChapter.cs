using Pipeline.Simulator.Baselines;
using Pipeline.Simulator.Workloads;

namespace Pipeline.Simulator.Report;

/// <summary>What a task costs where fast devices are dear and slow ones cheap, at equal attainment.</summary>
internal sealed class TwoPoolsChapter : IChapter
{
    /// <summary>A baseline is compared when it attains no less than this below ours, of express and of bulk.</summary>
    private const double Equal = 0.001;

    private readonly ReportPlan _plan;
    private readonly Lives _lives;
    private readonly List<Place> _places;

    public TwoPoolsChapter(ReportPlan plan, Lives lives)
    {
        (_plan, _lives) = (plan, lives);
        var traces = ((string[])[Trace.Azure, Trace.Mooncake]).Where(Trace.Exists).ToList();
        _places = [.. from trace in traces.Count > 0 ? traces : [""] from bulk in plan.PoolsBulkRhos select new Place(trace, bulk)];
    }

    public IEnumerable<Cell> Cells =>
        from place in _places
        from policy in _plan.Baselines.Prepend(Policies.Ours)
        select new Cell(
            $"two pools {place.Name}, {policy}",
            Entries(policy).Count * _plan.PoolsTasks / 60_000.0,
            () => Live(place, policy)
        );

    private void Live(Place place, string policy)
    {
        var parameters = new Parameters
        {
            Seed = _plan.Seed,
            Trace = place.Trace.Length > 0 ? place.Trace : null,
            BulkRho = place.Bulk,
            Tasks = _plan.PoolsTasks,
        };
        var lived = Entries(policy)
            .Select(e => _lives.Live($"two pools {place.Name}", Scenarios.Find("two-pools"), e, parameters))
            .OfType<SimResult>()
            .Select(Outcome.Of)
            .ToList();
        lock (place)
        {
            place.Lived[policy] = lived;
        }
    }

    private IReadOnlyList<PolicyEntry> Entries(string policy) =>
        _plan.Variants && policy != Policies.Ours ? BaselineEntries.Variants(policy) : [Policies.Find(policy)];

    public void Write(ReportText text, Figures figures)
    {
        text.Heading("5. Two pools: cost per task at equal attainment");
        text.Block(
            "2 fast devices at 4 USD an hour (resnet50-int8-a100) and 8 slow ones at 0.80 (resnet50-int8-l4); express on a trace at ρ 0.4 of the fast ones' ceiling, target 15 ms; "
                + "ten bulk jobs that need a share of what is left, due within the run. Cost is busy device seconds by their price over tasks done. "
                + "A baseline counts as equal when neither its express nor its bulk attains more than 0.1 points less than ours"
                + (_plan.Variants ? "; of its knobs the cheapest that is equal is shown, or else the one that attains most." : ".")
        );
        foreach (var place in _places)
        {
            Write(text, figures, place);
        }
    }

    private void Write(ReportText text, Figures figures, Place place)
    {
        if (place.Lived[Policies.Ours].FirstOrDefault() is not { } ours)
        {
            text.Block($"{place.Name}: ours failed.");
            return;
        }

        bool IsEqual(Outcome o) => o.Express >= ours.Express - Equal && o.Bulk >= ours.Bulk - Equal;
        var rows = place
            .Lived.Where(l => l.Value.Count > 0)
            .Select(l =>
                l.Value.Where(IsEqual).OrderBy(o => o.CostPerMillionUsd).FirstOrDefault()
                ?? l.Value.OrderByDescending(o => Math.Min(o.Express, o.Bulk)).ThenBy(o => o.CostPerMillionUsd).First()
            )
            .OrderBy(o => IsEqual(o) ? 0 : 1)
            .ThenBy(o => o.CostPerMillionUsd)
            .ToList();
        var cheapest = rows.FirstOrDefault(o => o.Policy != Policies.Ours && IsEqual(o));
        double? saving = cheapest is null ? null : 100 * (1 - (ours.CostPerMillionUsd / cheapest.CostPerMillionUsd));
        if (place == Told)
        {
            figures.CostSavingPct = Figures.Rounded(saving, 2);
        }

        var told = place == Told ? " (the figure of the last line)" : "";
        text.Block(
            cheapest is null
                ? $"**{place.Name}**{told}: no baseline attains what ours does, so none is compared."
                : FormattableString.Invariant(
                    $"**{place.Name}**{told}: ours costs {Math.Abs(saving!.Value):0.0} % {(saving >= 0 ? "less" : "more")} than {cheapest.Policy}, the cheapest that attains as much."
                )
        );
        text.Table(
            ["policy", "express attained", "bulk attained", "equal", "USD a million tasks", "device-s", "express p99", "bulk longest wait"],
            rows.Select(o =>
                (string[])
                    [
                        o.Policy == Policies.Ours ? "**ours**" : o.Policy,
                        $"{ReportText.Percent(o.Express, 2)} %",
                        $"{ReportText.Percent(o.Bulk, 2)} %",
                        IsEqual(o) ? "yes" : "no",
                        ReportText.Number(o.CostPerMillionUsd, 4),
                        ReportText.Number(o.BusySeconds, 1),
                        $"{ReportText.Number(o.ExpressP99Ms, 1)} ms",
                        $"{ReportText.Number(o.BulkMaxSeconds, 1)} s",
                    ]
            )
        );
        if (place == Told)
        {
            text.Plot("two-pools", CostChart(rows));
        }

        if (saving is < 15)
        {
            figures.Losses.Add(
                FormattableString.Invariant(
                    $"Two pools, {place.Name}: ours costs {Math.Abs(saving.Value):0.0} % {(saving >= 0 ? "less" : "more")} than {cheapest!.Policy} at equal attainment (goal 15 less)."
                )
            );
        }

        if (ours.Express < 0.99)
        {
            figures.Losses.Add($"Two pools, {place.Name}: express attains {ReportText.Percent(ours.Express, 2)} % under ours.");
        }
    }

    /// <summary>The place that the figure of the last line is told for: the trace that swings more (chapter 3), with the most bulk.</summary>
    private Place Told => _places.Where(p => p.Trace == _places[0].Trace).MaxBy(p => p.Bulk)!;

    private static Chart CostChart(List<Outcome> rows) =>
        new(
            "Cost and attainment, two pools",
            "express attained, %",
            "USD a million tasks",
            [
                .. rows.Where(o => o.Policy == Policies.Ours)
                    .Concat(rows.Where(o => o.Policy != Policies.Ours).OrderByDescending(o => o.Express).Take(7))
                    .Select(o => new Series(
                        o.Policy == Policies.Ours ? "ours" : o.Policy,
                        [(100 * o.Express, o.CostPerMillionUsd)],
                        Line: false
                    )),
            ]
        )
        {
            YMin = 0,
        };

    private sealed record Place(string Trace, double Bulk)
    {
        public string Name =>
            FormattableString.Invariant(
                $"{(Trace.Length == 0 ? "gamma gaps (no trace is there)" : Trace.Split('.')[0])}, bulk at {100 * Bulk:0} % of what is left"
            );

        public SortedDictionary<string, List<Outcome>> Lived { get; } = new(StringComparer.Ordinal);
    }
}
