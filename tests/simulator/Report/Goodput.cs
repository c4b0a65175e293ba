using Pipeline.Simulator.Fleet;

namespace Pipeline.Simulator.Report;

/// <summary>Attainment from half load to a fifth above the ceiling, in bursts, and when the profile that the policy was told is wrong.</summary>
internal sealed class Goodput(ReportPlan plan, Lives lives) : IChapter
{
    private const int Devices = 8;
    private const double TargetFactor = 10;

    /// <summary>Whom the goal names.</summary>
    private static readonly string[] Rivals = ["symphony", "shepherd"];

    private readonly List<Place> _places =
    [
        .. from profile in plan.GoodputProfiles
        from error in plan.Errors
        from cv in plan.Cvs
        from load in plan.Loads
        select new Place(profile, error, cv, load),
    ];

    private readonly List<string> _policies =
    [
        .. ((string[])["symphony", "shepherd", "triton", "clockwork", "nexus", "fifo-max"])
            .Where(plan.Baselines.Contains)
            .Prepend(Policies.Ours),
    ];

    public IEnumerable<Cell> Cells =>
        _places.Select(p => new Cell($"goodput {p.Name}", plan.GoodputTasks * _policies.Count / 100_000.0, () => Live(p)));

    private void Live(Place place)
    {
        var device = Profiles.Find(place.Profile);
        foreach (var policy in _policies)
        {
            var parameters = new Parameters
            {
                Seed = plan.Seed,
                Profile = place.Profile,
                Workers = Devices,
                TargetMs = TargetMs(device),
                Rho = place.Load,
                Cv = place.Cv,
                ProfileError = place.Error,
                Tasks = plan.GoodputTasks,
                Jitter = 0,
            };
            place.Attained[policy] =
                lives.Live($"goodput {place.Name}", Scenarios.Find("poisson"), Policies.Find(policy), parameters)?.Express.Attainment ?? 0;
        }
    }

    public void Write(ReportText text, Figures figures)
    {
        text.Heading("2. Attainment and goodput, in bursts and with a wrong profile");
        text.Block(
            FormattableString.Invariant(
                $"Goodput is the load times the share of tasks that are there by their due time (a late task is worth nothing). {Devices} devices, target {TargetFactor:0} × l(1), gamma arrivals, {plan.GoodputTasks:N0} tasks a life, no jitter, baselines with their own knobs. \"Told × 0.8\" means that the policy was told batches take 0.8 of what they take."
            )
        );
        var lost = _places.Where(p => Rivals.Any(r => p.Attained.TryGetValue(r, out var theirs) && Ours(p) < theirs)).ToList();
        text.Block(
            FormattableString.Invariant(
                $"**Ours has at least the goodput of Symphony and of Shepherd in {_places.Count - lost.Count} of {_places.Count} cells**, and less by more than 0.1 points of attainment in {lost.Count(p => Short(p) > 0.001)}; by {100 * _places.Select(Short).Append(0).Max():0.00} points in the worst."
            )
        );
        figures.Losses.AddRange(
            lost.OrderByDescending(Short)
                .Where(p => Short(p) > 0.001)
                .Select(p =>
                    $"Goodput, {p.Name}: ours {ReportText.Percent(Ours(p), 2)} % attained, {string.Join(", ", Rivals.Where(p.Attained.ContainsKey).Select(r => $"{r} {ReportText.Percent(p.Attained[r], 2)} %"))}."
                )
        );
        foreach (var cv in plan.Cvs)
        {
            text.Plot(FormattableString.Invariant($"goodput-cv{cv:0}"), GoodputChart(plan.GoodputProfiles[0], cv));
        }

        text.Block("Goodput over ours, mean over loads and profiles:");
        text.Table(
            ["policy", .. plan.Errors.SelectMany(e => plan.Cvs.Select(c => $"{Told(e)}, cv {ReportText.Plain(c)}"))],
            _policies.Select(policy =>
                (string[])
                    [
                        policy,
                        .. plan.Errors.SelectMany(e =>
                            plan.Cvs.Select(c =>
                                ReportText.Number(
                                    _places
                                        .Where(p => p.Error == e && p.Cv == c)
                                        .Average(p => p.Attained[policy] / Math.Max(Ours(p), 1e-6)),
                                    3
                                )
                            )
                        ),
                    ]
            )
        );
        text.Folded("attainment in every cell, %", ["cell", .. _policies], _places.Select(Row));
        if (lost.Count > 0)
        {
            text.Folded($"the {lost.Count} cells where Symphony or Shepherd has more, %", ["cell", .. _policies], lost.Select(Row));
        }
    }

    private IEnumerable<string> Row(Place place) => [place.Name, .. _policies.Select(p => ReportText.Percent(place.Attained[p], 2))];

    private Chart GoodputChart(string profile, double cv)
    {
        var shown = _places.Where(p => p.Profile == profile && p.Cv == cv && p.Error == plan.Errors[0]).ToList();
        return new Chart(
            FormattableString.Invariant($"Goodput, {profile}, cv {cv:0.#}"),
            "load over the ceiling",
            "goodput over the ceiling",
            [
                .. _policies.Select(policy => new Series(
                    policy == Policies.Ours ? "ours" : policy,
                    [.. shown.Select(p => (p.Load, p.Load * p.Attained[policy]))]
                )),
            ]
        )
        {
            YMin = 0,
            YMax = Math.Max(1, shown.Max(p => p.Load * p.Attained.Values.Max())),
        };
    }

    private static double Ours(Place place) => place.Attained[Policies.Ours];

    private static double Short(Place place) =>
        Rivals.Where(place.Attained.ContainsKey).Select(r => place.Attained[r] - Ours(place)).Append(0).Max();

    private static double TargetMs(DeviceProfile device) => TargetFactor * device.Ns(1) / 1e6;

    private static string Told(double error) => error == 1 ? "told right" : $"told × {ReportText.Plain(error)}";

    private sealed record Place(string Profile, double Error, double Cv, double Load)
    {
        public string Name => FormattableString.Invariant($"{Profile}, ρ {Load:0.##}, cv {Cv:0.#}, {Told(Error)}");

        public Dictionary<string, double> Attained { get; } = [];
    }
}
