using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator.Fleet;
using Pipeline.Simulator.Workloads;

namespace Pipeline.Simulator.Report;

/// <summary>A world that no rule was tuned in: two models, two pools, three tenants, a day's curve, bulk, deaths, stragglers and delays at once.</summary>
internal sealed class UntunedChapter(ReportPlan plan, Lives lives) : IChapter
{
    private readonly SortedDictionary<string, Outcome?> _lived = new(StringComparer.Ordinal);

    private static readonly Scenario World = new("untuned", "two models, three tenants, a day's curve, faults", Build);

    public IEnumerable<Cell> Cells =>
        plan.Baselines.Prepend(Policies.Ours).Select(p => new Cell($"not tuned for, {p}", plan.UntunedTasks / 60_000.0, () => Live(p)));

    private void Live(string policy)
    {
        var result = lives.Live(
            "not tuned for",
            World,
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

    private static Setting Build(Parameters p)
    {
        const int Fast = 4;
        const int Slow = 4;
        var target = TimeSpan.FromMilliseconds(200);
        var (text, image) = (Profiles.Find("bert-large-s384-ort-a100"), Profiles.Find("resnet50-trt-v100"));
        // Each model takes a quarter of the fast devices' ceiling in the mean; the peaks of both together take all but a seventh of it.
        var (textRate, imageRate) = (0.25 * Ceiling.UnitsPerSecond(text, Fast, target), 0.25 * Ceiling.UnitsPerSecond(image, Fast, target));
        var seconds = p.Tasks / (textRate + imageRate);
        var run = TimeSpan.FromSeconds(seconds);
        var curves = new (int Model, double Rate, TimeSpan Period)[] { (0, textRate, run / 2), (1, imageRate, run / 3) };
        var express = curves.Select(c => new DiurnalArrivals(
            new Kind { Model = c.Model, Tenants = 3 },
            c.Rate,
            swing: 0.7,
            c.Period,
            (long)(c.Rate * seconds),
            p.Seed + (ulong)c.Model
        ));
        // A tenth of all that is there, for each model: six jobs of the one and three of the other.
        var bulk = curves.Select(c => new BulkDrops(
            new Kind
            {
                Class = LatencyClass.Bulk,
                Model = c.Model,
                Tenants = 3,
            },
            run * (0.02 + (0.05 * c.Model)),
            run * (0.1 + (0.1 * c.Model)),
            jobs: 6 - (3 * c.Model),
            (long)(0.1 * 4 * c.Rate * seconds / (6 - (3 * c.Model)))
        ));
        var options = Scenarios.WithTarget(new PolicyOptions(), LatencyClass.Express, target, TimeSpan.FromMinutes(1));
        return new Setting(
            new WorldOptions
            {
                Policy = Scenarios.WithTarget(options, LatencyClass.Bulk, 0.4 * run, 0.4 * run),
                Pools =
                [
                    Pool("fast", Fast, 2, [text, image], run, p.Jitter),
                    Pool("slow", Slow, 0.4, [Profiles.Find("bert-large-s384-ort-v100"), Profiles.Find("resnet50-trt-t4")], run, p.Jitter),
                ],
                Models = [Scenarios.Model(text), Scenarios.Model(image)],
                SubmitToScheduler = new Delay(TimeSpan.FromMilliseconds(0.5), TimeSpan.FromMilliseconds(0.5)),
                SchedulerToWorker = new Delay(TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(1)),
                WorkerToScheduler = new Delay(TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(1)),
                DeviceToResult = new Delay(TimeSpan.FromMilliseconds(0.5), TimeSpan.FromMilliseconds(0.5)),
                EndingTime = TimeSpan.FromMilliseconds(20),
            },
            new Superposition([.. express, .. bulk])
        );
    }

    private static PoolSpec Pool(
        string name,
        int workers,
        double usdPerHour,
        IReadOnlyList<DeviceProfile> devices,
        TimeSpan run,
        double jitter
    ) =>
        new()
        {
            Name = name,
            Workers = workers,
            Devices = devices,
            PricePerHourPico = (long)(usdPerHour * Cost.PicoPerUsd),
            JitterSigma = jitter,
            StragglerShare = 0.001,
            StragglerFactor = 10,
            MeanLife = 3 * run,
            RestartAfter = TimeSpan.FromSeconds(5),
        };
}
