using Pipeline.Contracts;

namespace Pipeline.Simulator.Report;

/// <summary>How long bulk waits as express grows to the ceiling, where express is in no hurry and where it is.</summary>
internal sealed class StarvationChapter(ReportPlan plan, Lives lives) : IChapter
{
    /// <summary>At 100 ms batches are as good as endless ones. At 25 ms they are far from it, so what express keeps busy is nearly all.</summary>
    private static readonly (string Profile, double TargetMs)[] Worlds = [("bert-base-s128-a100", 100), ("symphony-resnet", 25)];

    private readonly List<string> _policies =
    [
        .. ((string[])["triton", "tf-serving", "llm-d", "hygen", "symphony"]).Where(plan.Baselines.Contains).Prepend(Policies.Ours),
    ];

    private readonly Dictionary<(string Profile, string Policy, double Load), Lived?> _lived = [];

    public IEnumerable<Cell> Cells =>
        from world in Worlds
        from policy in _policies
        from load in plan.StarvationLoads
        select new Cell(
            FormattableString.Invariant($"starvation {world.TargetMs} ms, ρ {load:0.##}, {policy}"),
            plan.StarvationTasks / 60_000.0,
            () => Live(world, policy, load)
        );

    private void Live((string Profile, double TargetMs) world, string policy, double load)
    {
        var scenario = Scenarios.Find("starvation");
        var parameters = new Parameters
        {
            Seed = plan.Seed,
            Profile = world.Profile,
            TargetMs = world.TargetMs,
            Rho = load,
            Tasks = plan.StarvationTasks,
        };
        var deadline = scenario.Build(parameters).World.Policy.Classes[LatencyClass.Bulk].CompletionWindow.TotalSeconds;
        var name = FormattableString.Invariant($"starvation {world.TargetMs} ms, ρ {load:0.##}");
        var result = lives.Live(name, scenario, Policies.Find(policy), parameters);
        lock (_lived)
        {
            _lived[(world.Profile, policy, load)] = result is null ? null : new Lived(result, deadline);
        }
    }

    public void Write(ReportText text, Figures figures)
    {
        text.Heading("4. Starvation: bulk's longest wait over its deadline");
        text.Block(
            "4 devices, Poisson express from half the ceiling to just below it, ten bulk jobs that need half of what express leaves of the devices' best rate, each due in half the run. "
                + "Each entry: bulk's longest wait over its deadline, the share of bulk that had no result by its deadline (a broken promise), and what express attained. "
                + "Triton's priority levels are strict: its bulk waits for moments in which no express task does. Baselines with their own knobs."
        );
        foreach (var world in Worlds)
        {
            Write(text, figures, world.Profile, world.TargetMs);
        }
    }

    private void Write(ReportText text, Figures figures, string profile, double targetMs)
    {
        var about = FormattableString.Invariant($"{profile}, target {targetMs} ms");
        text.Block($"**{about}**");
        text.Table(
            ["express load", .. _policies.Select(p => p == Policies.Ours ? "**ours**" : p)],
            plan.StarvationLoads.Select(load =>
                _policies
                    .Select(p =>
                        _lived[(profile, p, load)] is { } lived
                            ? $"{ReportText.Number(lived.Wait, 2)}, {ReportText.Percent(lived.Starved)} %, {ReportText.Percent(lived.Express)} %"
                            : "failed"
                    )
                    .Prepend(ReportText.Plain(load))
            )
        );
        text.Plot(FormattableString.Invariant($"starvation-{targetMs}"), WaitChart(about, profile));
        figures.Losses.AddRange(
            plan.StarvationLoads.Where(load => _lived[(profile, Policies.Ours, load)] is not { Starved: 0 })
                .Select(load =>
                    $"Starvation, {about}, express load {ReportText.Plain(load)}: {ReportText.Percent(_lived[(profile, Policies.Ours, load)]?.Starved ?? 1)} % of bulk had no result by its deadline under ours."
                )
        );
    }

    private Chart WaitChart(string about, string profile) =>
        new(
            $"Bulk's longest wait, {about}",
            "express load over the ceiling",
            "longest wait over the deadline; 1 when bulk starved",
            [
                .. _policies.Select(policy => new Series(
                    policy == Policies.Ours ? "ours" : policy,
                    [
                        .. from load in plan.StarvationLoads
                        let lived = _lived[(profile, policy, load)]
                        where lived is not null
                        select (load, lived.Starved > 0 ? Math.Max(1, lived.Wait) : lived.Wait),
                    ]
                )),
            ]
        )
        {
            YMin = 0,
        };

    /// <param name="Wait">Bulk's longest wait of those that had a result, over its deadline.</param>
    /// <param name="Starved">Share of bulk that had none by its deadline.</param>
    private sealed record Lived(double Wait, double Starved, double Express)
    {
        public Lived(SimResult result, double deadline)
            : this(
                (double)result.Bulk.Wait.Max / TimeSpan.TicksPerSecond / deadline,
                (double)result.Bulk.Starved / Math.Max(1, result.Bulk.Submitted),
                result.Express.Attainment
            ) { }
    }
}
