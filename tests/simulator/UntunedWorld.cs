using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator.Fleet;
using Pipeline.Simulator.Workloads;

namespace Pipeline.Simulator;

/// <summary>A world that no rule was tuned in: two models, two pools, three tenants, a day's curve, bulk, deaths, stragglers and delays at once.</summary>
internal static class UntunedWorld
{
    public static Setting Build(Parameters p)
    {
        const int Fast = 4;
        const int Slow = 4;
        var target = TimeSpan.FromMilliseconds(200);
        var (text, image) = (Profiles.Find("bert-large-s384-ort-a100"), Profiles.Find("resnet50-trt-v100"));
        // Each model takes a quarter of the fast devices' ceiling in the mean; the peaks of both together take all but a seventh of it.
        var (textRate, imageRate) = (0.25 * Ceiling.UnitsPerSecond(text, Fast, target), 0.25 * Ceiling.UnitsPerSecond(image, Fast, target));
        var tasks = Scenarios.Or(p.Tasks, 100_000);
        var seconds = tasks / (textRate + imageRate);
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
