using Pipeline.Simulator.Baselines;
using Pipeline.Simulator.Workloads;

namespace Pipeline.Simulator.Report;

/// <summary>Express on recorded traces beside a bulk backlog that never ends: what express attains, and what bulk keeps.</summary>
internal sealed class MixedChapter : IChapter
{
    /// <summary>What express has to attain before bulk counts.</summary>
    private const double ExpressMin = 0.999;

    private readonly ReportPlan _plan;
    private readonly Lives _lives;
    private readonly List<Place> _places;

    public MixedChapter(ReportPlan plan, Lives lives)
    {
        (_plan, _lives) = (plan, lives);
        // Where no trace is there the scenario draws gamma gaps; once is enough then.
        var traces = ((string[])[Trace.Azure, Trace.Mooncake]).Where(Trace.Exists).ToList();
        _places = [.. (traces.Count > 0 ? traces : [""]).Select(t => new Place(t, Dispersion(t)))];
    }

    public IEnumerable<Cell> Cells =>
        from place in _places
        from policy in _plan.Baselines.Prepend(Policies.Ours)
        select new Cell($"mixed {place.Name}, {policy}", Entries(policy).Count * _plan.MixedTasks / 100_000.0, () => Live(place, policy));

    private void Live(Place place, string policy)
    {
        var parameters = new Parameters
        {
            Seed = _plan.Seed,
            Trace = place.Trace.Length > 0 ? place.Trace : null,
            Cv = 3,
            Tasks = _plan.MixedTasks,
            Jitter = 0.01,
        };
        var outcomes = Entries(policy)
            .Select(e => _lives.Live($"mixed {place.Name}", Scenarios.Find("mixed"), e, parameters))
            .OfType<SimResult>()
            .Select(Outcome.Of)
            .OrderByDescending(o => Math.Min(o.Express, ExpressMin))
            .ThenByDescending(o => o.BulkRetained)
            .ToList();
        lock (place)
        {
            place.Best[policy] = outcomes.FirstOrDefault();
        }
    }

    private IReadOnlyList<PolicyEntry> Entries(string policy) =>
        _plan.Variants && policy != Policies.Ours ? BaselineEntries.Variants(policy) : [Policies.Find(policy)];

    public void Write(ReportText text, Figures figures)
    {
        var burstiest = _places.MaxBy(p => p.Dispersion)!;
        var ours = burstiest.Best[Policies.Ours];
        (figures.ExpressAttainment, figures.BulkRetained) = (Figures.Rounded(ours?.Express, 5), Figures.Rounded(ours?.BulkRetained, 4));
        text.Heading("3. Mixed: express on recorded traces, and a bulk backlog that never ends");
        text.Block(
            "8 devices (bert-base-s128-a100), express at ρ 0.3 of the ceiling with a target of 100 ms, jitter 1 %. A trace's time is stretched to that rate, its bursts keep their shape. "
                + "*Bulk keeps* is bulk done over what express leaves of the devices' best rate, N · best rate · (1 − ρ). A device-second costs 1 USD an hour. "
                + (
                    _plan.Variants
                        ? "Each baseline stands with the best of its knobs: the most bulk among those with 99.9 % of express, or else the most express."
                        : ""
                )
        );
        foreach (var place in _places)
        {
            Write(text, place, place == burstiest);
        }

        if (ours is null || ours.Express < ExpressMin || ours.BulkRetained < 0.9)
        {
            figures.Losses.Add(
                $"Mixed, {burstiest.Name}: express {ReportText.Percent(ours?.Express ?? 0, 2)} % (goal 99.9), bulk keeps {ReportText.Percent(ours?.BulkRetained ?? 0)} % (goal 90)."
            );
        }
    }

    private void Write(ReportText text, Place place, bool burstiest)
    {
        text.Block(
            FormattableString.Invariant(
                $"**{place.Name}**: variance over mean of arrivals in windows of 100 is {place.Dispersion:0.0} (1 for Poisson)"
            ) + (burstiest && _places.Count > 1 ? ", so this is the burstier one." : ".")
        );
        var rows = place
            .Best.Where(b => b.Value is not null)
            .Select(b => b.Value!)
            .OrderByDescending(o => Math.Min(o.Express, ExpressMin))
            .ThenByDescending(o => o.BulkRetained)
            .ThenBy(o => o.Policy, StringComparer.Ordinal)
            .ToList();
        text.Table(
            [
                "policy",
                "express attained",
                "bulk keeps",
                "express p99",
                "express longest wait",
                "device-s/virtual s",
                "USD a million tasks",
            ],
            rows.Select(o =>
                (string[])
                    [
                        o.Policy == Policies.Ours ? "**ours**" : o.Policy,
                        $"{ReportText.Percent(o.Express, 3)} %",
                        $"{ReportText.Percent(o.BulkRetained)} %",
                        $"{ReportText.Number(o.ExpressP99Ms, 1)} ms",
                        $"{ReportText.Number(o.ExpressMaxMs, 1)} ms",
                        ReportText.Number(o.BusySeconds / o.Seconds, 2),
                        ReportText.Number(o.CostPerMillionUsd, 4),
                    ]
            )
        );
        if (burstiest)
        {
            text.Plot("mixed", MixedChart(place, rows));
        }
    }

    private static Chart MixedChart(Place place, List<Outcome> rows)
    {
        var named = rows.Where(o => o.Policy != Policies.Ours)
            .Take(7)
            .Prepend(rows.FirstOrDefault(o => o.Policy == Policies.Ours))
            .OfType<Outcome>();
        return new Chart(
            $"Express and bulk, {place.Name}",
            "bulk keeps, %",
            "express attained, %",
            [
                .. named.Select(o => new Series(
                    o.Policy == Policies.Ours ? "ours" : o.Policy,
                    [(100 * o.BulkRetained, 100 * o.Express)],
                    Line: false
                )),
            ]
        );
    }

    /// <summary>Variance over mean of the arrivals in windows that hold 100 of them in the mean.</summary>
    private static double Dispersion(string name)
    {
        if (name.Length == 0)
        {
            return double.NaN;
        }

        var trace = Trace.ReadUsual(name);
        var windows = trace.Seconds.Count / 100;
        var counts = new double[windows];
        foreach (var second in trace.Seconds)
        {
            counts[Math.Min(windows - 1, (int)(second / trace.Window * windows))]++;
        }

        var mean = counts.Average();
        return counts.Average(c => (c - mean) * (c - mean)) / mean;
    }

    private sealed record Place(string Trace, double Dispersion)
    {
        public string Name => Trace.Length == 0 ? "gamma gaps, cv 3 (no trace is there)" : Trace.Split('.')[0];

        public SortedDictionary<string, Outcome?> Best { get; } = new(StringComparer.Ordinal);
    }
}
