using System.Globalization;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator.Baselines;
using Pipeline.Simulator.Fleet;

namespace Pipeline.Simulator.Report;

/// <summary>
/// One class, Poisson arrivals of one task each: the largest load at which 99 % are there when due, for every policy, profile, target
/// and number of devices, as MLPerf's Server scenario asks it.
/// </summary>
internal sealed class SingleClass : IChapter
{
    /// <summary>Systems that differ from others only where there is a second class.</summary>
    private static readonly string[] OnlyMixed = ["split"];

    /// <summary>Whose knobs are tried in every cell: those without deadlines of their own, which an operator has to tune.</summary>
    private static readonly string[] Tuned = ["fifo-max", "fixed", "triton", "clipper"];

    /// <summary>Who aims at the deadline itself, and is better told a little less where batches vary.</summary>
    private static readonly string[] Aiming = ["nexus", "clockwork", "shepherd", "symphony", "mlperf", "llm-d", "bentoml"];

    /// <summary>The share of the ceiling that is to be kept.</summary>
    private const double Goal = 0.95;

    private static Scenario Poisson => Scenarios.Find("poisson");

    private readonly ReportPlan _plan;
    private readonly Lives _lives;
    private readonly List<Place> _places;
    private readonly IReadOnlyList<string> _baselines;

    public SingleClass(ReportPlan plan, Lives lives)
    {
        (_plan, _lives) = (plan, lives);
        _baselines = [.. plan.Baselines.Except(OnlyMixed)];
        _places =
        [
            .. from profile in plan.Profiles
            from devices in plan.Devices
            from target in plan.Targets
            select new Place(Profiles.Find(profile), target.Name, target.Factor, devices, Jitter: 0),
            .. plan.JitterProfiles.Select(p => new Place(Profiles.Find(p), "medium", 10, 8, Jitter: 0.02)),
        ];
    }

    public IEnumerable<Cell> Cells => _places.Select(p => new Cell(p.Name, Tasks(p) / 5000.0, () => Live(p)));

    // Living

    private void Live(Place place)
    {
        var ours = Policies.Find(Policies.Ours);
        var search = SearchOf(place, ours);
        var kept = search.Largest(search.Place(0.85), 32);
        place.Kept[ours.Name] = new Kept(search.Load(kept), kept, ours.Name);
        if (place.Devices == 1 && place.Jitter == 0 && search.Load(kept) < Goal)
        {
            place.Clairvoyant = Clairvoyant(place);
        }

        foreach (var baseline in _baselines)
        {
            place.Kept[baseline] = Best(place, baseline, kept);
        }
    }

    /// <summary>Each further variant is asked whether it keeps more than the best so far; most answer no to the one question.</summary>
    private Kept Best(Place place, string baseline, int ours)
    {
        Kept? best = null;
        foreach (var variant in VariantsOf(place, baseline))
        {
            var search = SearchOf(place, variant);
            if (best is null || search.Keeps(best.Step + 1))
            {
                var guess = best is null ? Math.Max(ours, 0) : best.Step + 1;
                var kept = search.Largest(guess, width: 4, exactFrom: ours - 8);
                best = best is null || kept > best.Step ? new Kept(search.Load(kept), kept, variant.Name) : best;
            }
        }

        return best!;
    }

    /// <summary>The largest load at which who knows all arrivals, and picks the best of all schedules for them, has 99 % there when due.</summary>
    private double Clairvoyant(Place place)
    {
        var target = TimeSpan.FromMilliseconds(place.TargetMs).Ticks;
        var latency = Enumerable
            .Range(1, 4096)
            .Select(b => (long)Math.Round(place.Device.Ns(b) / 100))
            .TakeWhile(l => l <= target)
            .ToArray();
        var search = new LoadSearch(
            load =>
            {
                var arrivals = ArrivalsOf(Of(place, load, Tasks(place)));
                return ClairvoyantBound.OneDevice(arrivals, target, latency) >= 0.99 * arrivals.Length;
            },
            _plan.Step
        );
        return search.Load(search.Largest(search.Place(0.9), 8));
    }

    private static long[] ArrivalsOf(Parameters parameters)
    {
        var stream = Poisson.Build(parameters).Arrivals;
        var times = new List<long>();
        while (stream.Next(out var submission))
        {
            times.Add(submission.At);
        }

        return [.. times];
    }

    private IEnumerable<PolicyEntry> VariantsOf(Place place, string baseline)
    {
        var all = _plan.Variants && Tuned.Contains(baseline) ? BaselineEntries.Variants(baseline) : [Policies.Find(baseline)];
        return place.Jitter > 0 && Aiming.Contains(baseline)
            ? all.SelectMany(v => (PolicyEntry[])[v, Lives.WithMargin(v, 0.01), Lives.WithMargin(v, 0.03)])
            : all;
    }

    private LoadSearch SearchOf(Place place, PolicyEntry policy) => new(load => Keeps(place, policy, load), _plan.Step);

    /// <summary>What a quarter of the tasks leaves no doubt of is not lived to its end.</summary>
    private bool Keeps(Place place, PolicyEntry policy, double load) =>
        Attained(place, policy, load, Tasks(place) / 4) >= 0.97 && Attained(place, policy, load, Tasks(place)) >= 0.99;

    private double Attained(Place place, PolicyEntry policy, double load, long tasks) =>
        _lives.Live(place.Name, Poisson, policy, Of(place, load, tasks))?.Express.Attainment ?? 0;

    private Parameters Of(Place place, double load, long tasks) =>
        new()
        {
            Seed = _plan.Seed,
            Profile = place.Device.Name,
            Workers = place.Devices,
            TargetMs = place.TargetMs,
            Rho = load,
            Tasks = tasks,
            Jitter = place.Jitter,
            Tune = options => Wide(options, TimeSpan.FromMilliseconds(place.TargetMs)),
        };

    /// <summary>Where a target is longer than the default bound of a batch, the bound is the target.</summary>
    private static PolicyOptions Wide(PolicyOptions options, TimeSpan target) =>
        options with
        {
            ExpressBatchTimeMax = target > options.ExpressBatchTimeMax ? target : options.ExpressBatchTimeMax,
            ExpressDispatchTimeMax = target > options.ExpressDispatchTimeMax ? target : options.ExpressDispatchTimeMax,
        };

    private long Tasks(Place place) =>
        Math.Clamp(_plan.ProbeBatches * place.Devices * place.CeilingBatch, _plan.ProbeTasks, _plan.ProbeTasksMax);

    // Writing

    public void Write(ReportText text, Figures figures)
    {
        var ordered = _places.Select(p => (Place: p, Best: BestOf(p))).ToList();
        Sum(figures, ordered);
        text.Heading("1. One class, Poisson: throughput retained under p99");
        About(text);
        Facts(text, figures);
        text.Plot("retained-8", RetainedChart(ordered, devices: _plan.Devices.Max()));
        if (_plan.Devices.Count > 1)
        {
            text.Plot("retained-1", RetainedChart(ordered, devices: _plan.Devices.Min()));
        }

        text.Table(
            ["profile", "target", "devices", "jitter", "ceiling/s", "its batch", "ours", "best baseline", "it keeps", "gap", "clairvoyant"],
            ordered.Select(o =>
                (string[])
                    [
                        o.Place.Device.Name,
                        $"{o.Place.Target} {ReportText.Plain(o.Place.TargetMs)} ms",
                        $"{o.Place.Devices}",
                        ReportText.Plain(o.Place.Jitter),
                        ReportText.Number(o.Place.CeilingRate),
                        $"{o.Place.CeilingBatch}",
                        ReportText.Percent(Ours(o.Place).Load),
                        o.Best.Variant,
                        ReportText.Percent(o.Best.Load),
                        Gap(o.Place, o.Best),
                        o.Place.Clairvoyant is { } bound ? ReportText.Percent(bound) : "",
                    ]
            )
        );
        Matrix(text);
    }

    private void About(ReportText text)
    {
        text.Block(
            "Load is measured by the analytic ceiling: devices that run without a pause, each batch the largest (of whole tasks) with "
                + "(1 + 1/N) · l(b) ≤ target. A cell asks for the largest load at which at least 99 % of the tasks are there by their due time; "
                + "later ones are worth nothing. All policies live through the same arrivals, stretched to the load (common random numbers). Delays are zero."
        );
        text.Block(
            FormattableString.Invariant(
                $"Loads stand {100 * _plan.Step:0.##} % apart, the same for all; at least {_plan.ProbeTasks:N0} tasks a probe, of which the first tenth is not counted, and about {_plan.ProbeBatches} batches a device where that is more (at most {_plan.ProbeTasksMax:N0} tasks). "
            )
                + "A baseline that stays clearly below ours is known to four steps only. "
                + (
                    _plan.Variants
                        ? $"{string.Join(", ", Tuned)} have the best of their knobs in each cell (delays of 1 ms, a twelfth and a sixth of the target; five shares of it for one batch). "
                        : "No baseline's knobs are tried. "
                )
                + "tf-serving, llm-d and hygen differ from others mainly where there are two classes, and stand with their own knobs; split has nothing to split here. "
                + "In rows with jitter (2 % deviation of a batch's time) those that aim at the deadline itself are also tried with a target that is 1 % or 3 % shorter. "
                + "Where a target is longer than ours' default bound of an express batch (100 ms), the bound is the target."
        );
    }

    private static void Sum(Figures figures, List<(Place Place, Kept Best)> ordered)
    {
        figures.Cells = ordered.Count;
        figures.CellsAtLeastBest = ordered.Count(o => Ours(o.Place).Step >= o.Best.Step - 1);
        figures.CellsAtGoal = ordered.Count(o => Ours(o.Place).Load >= Goal);
        figures.WorstGapPct = Math.Round(ordered.Select(o => 100 * GapOf(o.Place, o.Best)).Append(0).Max(), 2);
        figures.Losses.AddRange(
            ordered
                .Where(o => Ours(o.Place).Step < o.Best.Step - 1)
                .OrderByDescending(o => GapOf(o.Place, o.Best))
                .Select(o =>
                    $"Throughput retained, {o.Place.Name}: ours {ReportText.Percent(Ours(o.Place).Load)} %, {o.Best.Variant} {ReportText.Percent(o.Best.Load)} %, {Gap(o.Place, o.Best)} less."
                )
        );
    }

    private void Facts(ReportText text, Figures figures)
    {
        var kept = _places.Select(p => Ours(p).Load).Order().ToList();
        text.Block(
            FormattableString.Invariant(
                $"**Ours keeps at least what the best baseline keeps in {figures.CellsAtLeastBest} of {figures.Cells} cells** (within one step of the search, {100 * _plan.Step:0.##} %); in the worst it stays {figures.WorstGapPct:0.##} % below. Over all cells it keeps {100 * kept.Average():0.0} % of the ceiling in the mean, {100 * kept[kept.Count / 2]:0.0} % in the median and {100 * kept[0]:0.0} % in the lowest; {kept.Count(k => k >= Goal)} cells reach 95 %."
            )
        );
        var bounded = _places.Where(p => p.Clairvoyant is not null).ToList();
        if (bounded.Count > 0)
        {
            text.Block(
                FormattableString.Invariant(
                    $"The ceiling takes arrivals to be even. On one device who knows all Poisson arrivals beforehand (column *clairvoyant*, the exact optimum) keeps less than 95 % of it in {bounded.Count(p => p.Clairvoyant < Goal)} of the {bounded.Count} one-device cells in which ours does; ours keeps {100 * bounded.Average(p => Ours(p).Load / p.Clairvoyant!.Value):0.0} % of what that one keeps, in the mean, without knowing them."
                )
            );
        }
    }

    private void Matrix(ReportText text)
    {
        var names = (string[])[Policies.Ours, .. _baselines];
        text.Table(
            ["policy", .. _plan.Targets.SelectMany(t => _plan.Devices.Select(d => $"{t.Name}, {d}")), "lowest", "cells where it is best"],
            names.Select(name =>
                (string[])
                    [
                        name,
                        .. _plan.Targets.SelectMany(t =>
                            _plan.Devices.Select(d =>
                                ReportText.Percent(
                                    _places
                                        .Where(p => p.Target == t.Name && p.Devices == d && p.Jitter == 0)
                                        .Average(p => p.Kept[name].Load)
                                )
                            )
                        ),
                        ReportText.Percent(_places.Min(p => p.Kept[name].Load)),
                        $"{_places.Count(p => p.Kept[name].Step >= names.Max(n => p.Kept[n].Step))}",
                    ]
            )
        );
        text.Block("Means over the profiles, % of the ceiling, by target and number of devices. Every cell:");
        text.Folded(
            "all policies, % of the ceiling",
            ["cell", .. names],
            _places.Select(p => (string[])[p.Name, .. names.Select(n => ReportText.Percent(p.Kept[n].Load))])
        );
    }

    private Chart RetainedChart(List<(Place Place, Kept Best)> ordered, int devices)
    {
        var shown = ordered.Where(o => o.Place.Devices == devices && o.Place.Jitter == 0).OrderBy(o => o.Best.Load).ToList();
        Series Of(string name, Func<(Place Place, Kept Best), double> load) =>
            new(name, [.. shown.Select((o, i) => (i + 1.0, 100 * load(o)))]);
        var named = ((string[])["symphony", "shepherd", "clockwork", "nexus", "triton"]).Where(_baselines.Contains);
        return new Chart(
            $"Throughput retained under p99, {devices} device{(devices == 1 ? "" : "s")}",
            "cells, in order of the best baseline",
            "% of the analytic ceiling (40 and less at the edge)",
            [
                Of("ours", o => Ours(o.Place).Load),
                Of("best baseline, cell by cell", o => o.Best.Load),
                .. named.Select(n => Of(n, o => o.Place.Kept[n].Load)),
            ]
        )
        {
            YMin = 40,
        };
    }

    private static Kept Ours(Place place) => place.Kept[Policies.Ours];

    private Kept BestOf(Place place) => _baselines.Select(b => place.Kept[b]).MaxBy(k => k.Step)!;

    private static double GapOf(Place place, Kept best) => best.Load <= 0 ? 0 : 1 - (Ours(place).Load / best.Load);

    private static string Gap(Place place, Kept best) =>
        (100 * GapOf(place, best)).ToString("+0.0;−0.0;0.0", CultureInfo.InvariantCulture) + " %";

    /// <summary>The largest load one policy kept in one cell.</summary>
    /// <param name="Load">Over the ceiling; 0 when it kept none.</param>
    /// <param name="Step">Its place among the loads that are tried.</param>
    private sealed record Kept(double Load, int Step, string Variant);

    /// <summary>One cell of the chapter, and what the policies kept in it.</summary>
    private sealed record Place(DeviceProfile Device, string Target, double Factor, int Devices, double Jitter)
    {
        public double TargetMs => Factor * Device.Ns(1) / 1e6;
        public double CeilingRate => Ceiling.UnitsPerSecond(Device, Devices, TimeSpan.FromMilliseconds(TargetMs));

        /// <summary>The largest batch that the ceiling stands on.</summary>
        public int CeilingBatch { get; } =
            Math.Max(1, Enumerable.Range(1, 4096).LastOrDefault(b => (1 + (1.0 / Devices)) * Device.Ns(b) <= Factor * Device.Ns(1)));

        public string Name =>
            FormattableString.Invariant(
                $"{Device.Name}, {Target}, {Devices} device{(Devices == 1 ? "" : "s")}{(Jitter > 0 ? ", jitter" : "")}"
            );

        public Dictionary<string, Kept> Kept { get; } = [];

        /// <summary>What not even knowing all arrivals can pass; asked where ours keeps less than the goal on one device.</summary>
        public double? Clairvoyant { get; set; }
    }
}
