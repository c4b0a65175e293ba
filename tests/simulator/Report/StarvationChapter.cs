namespace Pipeline.Simulator.Report;

/// <summary>How long bulk waits as express grows to the ceiling.</summary>
internal sealed class StarvationChapter(ReportPlan plan, Lives lives) : IChapter
{
    private readonly List<string> _policies =
    [
        .. ((string[])["triton", "tf-serving", "llm-d", "hygen", "symphony"]).Where(plan.Baselines.Contains).Prepend(Policies.Ours),
    ];

    private readonly Dictionary<(string Policy, double Load), (Outcome Life, double Deadline)?> _lived = [];

    public IEnumerable<Cell> Cells =>
        from policy in _policies
        from load in plan.StarvationLoads
        select new Cell(
            FormattableString.Invariant($"starvation {policy}, ρ {load:0.##}"),
            plan.StarvationTasks / 80_000.0,
            () => Live(policy, load)
        );

    private void Live(string policy, double load)
    {
        var scenario = Scenarios.Find("starvation");
        var parameters = new Parameters
        {
            Seed = plan.Seed,
            Rho = load,
            Tasks = plan.StarvationTasks,
        };
        var deadline = scenario.Build(parameters).World.Policy.Classes[Contracts.LatencyClass.Bulk].CompletionWindow.TotalSeconds;
        var result = lives.Live(FormattableString.Invariant($"starvation, ρ {load:0.##}"), scenario, Policies.Find(policy), parameters);
        lock (_lived)
        {
            _lived[(policy, load)] = result is null ? null : (Outcome.Of(result), deadline);
        }
    }

    public void Write(ReportText text, Figures figures)
    {
        text.Heading("4. Starvation: bulk's longest wait over its deadline");
        text.Block(
            "4 devices, express (Poisson, target 100 ms) from half the ceiling to just below it, ten bulk jobs that need half of what express leaves, "
                + "each due in half the run. A longest wait over 1 is a broken promise; Triton's priority levels are strict, so its bulk waits for the gaps."
        );
        text.Table(
            ["express load", .. _policies.SelectMany(p => (string[])[$"{p}: wait/deadline", "starved", "express %"])],
            plan.StarvationLoads.Select(load =>
                (string[])
                    [
                        ReportText.Plain(load),
                        .. _policies.SelectMany(p =>
                            _lived[(p, load)] is { } lived
                                ? (string[])
                                    [
                                        ReportText.Number(lived.Life.BulkMaxSeconds / lived.Deadline, 2),
                                        ReportText.Number(lived.Life.Starved),
                                        ReportText.Percent(lived.Life.Express, 2),
                                    ]
                                : ["failed", "", ""]
                        ),
                    ]
            )
        );
        text.Plot(
            "starvation",
            new Chart(
                "Bulk's longest wait",
                "express load over the ceiling",
                "longest wait over the deadline",
                [
                    .. _policies.Select(p => new Series(
                        p == Policies.Ours ? "ours" : p,
                        [
                            .. plan
                                .StarvationLoads.Where(l => _lived[(p, l)] is not null)
                                .Select(l => (l, _lived[(p, l)]!.Value.Life.BulkMaxSeconds / _lived[(p, l)]!.Value.Deadline)),
                        ]
                    )),
                ]
            )
            {
                YMin = 0,
            }
        );
        figures.Losses.AddRange(
            plan.StarvationLoads.Where(load => _lived[(Policies.Ours, load)] is not { Life.Starved: 0 })
                .Select(load =>
                    $"Starvation, express load {ReportText.Plain(load)}: {ReportText.Number(_lived[(Policies.Ours, load)]?.Life.Starved ?? double.NaN)} bulk tasks had no result by their deadline under ours."
                )
        );
    }
}
