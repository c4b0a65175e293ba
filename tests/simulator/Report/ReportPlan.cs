namespace Pipeline.Simulator.Report;

/// <summary>How much the report lives through.</summary>
internal sealed record ReportPlan
{
    public ulong Seed { get; init; } = 1;
    public required string Name { get; init; }

    // A single class

    public required IReadOnlyList<string> Profiles { get; init; }

    /// <summary>Targets, as multiples of what one task alone takes.</summary>
    public IReadOnlyList<(string Name, double Factor)> Targets { get; init; } = [("tight", 4), ("medium", 10), ("loose", 30)];
    public IReadOnlyList<int> Devices { get; init; } = [1, 8];

    /// <summary>From one load to the next that the search may answer.</summary>
    public double Step { get; init; } = 0.0025;

    /// <summary>Tasks of a probe at least, the first tenth of them not counted.</summary>
    public long ProbeTasks { get; init; } = 66_000;

    /// <summary>
    /// Batches per device a probe should see: at one per cent of overload a queue of one batch a device has grown after a hundred of
    /// them, and half of that is noticed.
    /// </summary>
    public int ProbeBatches { get; init; } = 50;
    public long ProbeTasksMax { get; init; } = 180_000;

    /// <summary>Profiles of the row whose batches vary by 2 %.</summary>
    public IReadOnlyList<string> JitterProfiles { get; init; } = [];

    // Goodput

    public required IReadOnlyList<string> GoodputProfiles { get; init; }
    public IReadOnlyList<double> Loads { get; init; } = [0.5, 0.8, 0.9, 1, 1.1, 1.2];
    public IReadOnlyList<double> Cvs { get; init; } = [1, 2, 4];
    public IReadOnlyList<double> Errors { get; init; } = [1, 0.8, 1.2];
    public long GoodputTasks { get; init; } = 66_000;

    // Several classes

    public required long MixedTasks { get; init; }
    public required long PoolsTasks { get; init; }
    public IReadOnlyList<double> PoolsBulkRhos { get; init; } = [0.25, 0.5];
    public required long StarvationTasks { get; init; }
    public IReadOnlyList<double> StarvationLoads { get; init; } = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95];
    public required long UntunedTasks { get; init; }

    /// <summary>Baselines that are compared; null for all.</summary>
    public IReadOnlyList<string>? Only { get; init; }

    /// <summary>True to try each baseline's knobs, too.</summary>
    public bool Variants { get; init; } = true;
    public bool Day { get; init; }

    public IReadOnlyList<string> Baselines =>
        [.. Policies.All.Select(p => p.Name).Where(n => n != Policies.Ours && Only?.Contains(n) != false)];

    public static ReportPlan Full(ulong seed) =>
        new()
        {
            Name = "all",
            Seed = seed,
            Profiles =
            [
                "bert-base-s128-a100",
                "dist4l-s384-a100",
                "dist4l-s384-t4",
                "bert-large-s384-ort-a100",
                "resnet50-pyt-v100",
                "symphony-resnet",
                "resnet50-int8-a100",
                "resnet50-trt-a100",
            ],
            JitterProfiles =
            [
                "bert-base-s128-a100",
                "dist4l-s384-a100",
                "dist4l-s384-t4",
                "bert-large-s384-ort-a100",
                "resnet50-pyt-v100",
                "symphony-resnet",
                "resnet50-int8-a100",
                "resnet50-trt-a100",
            ],
            GoodputProfiles = ["symphony-resnet", "bert-base-s128-a100", "dist4l-s384-t4"],
            MixedTasks = 200_000,
            PoolsTasks = 100_000,
            StarvationTasks = 300_000,
            UntunedTasks = 400_000,
            Day = true,
        };

    /// <summary>The same questions, asked of fewer profiles and for a shorter time.</summary>
    public static ReportPlan Quick(ulong seed) =>
        Full(seed) with
        {
            Name = "all --quick",
            Profiles = ["bert-base-s128-a100", "dist4l-s384-t4", "bert-large-s384-ort-a100", "symphony-resnet"],
            Step = 0.01,
            ProbeTasks = 16_500,
            ProbeBatches = 30,
            ProbeTasksMax = 50_000,
            JitterProfiles = ["symphony-resnet"],
            GoodputProfiles = ["symphony-resnet", "dist4l-s384-t4"],
            GoodputTasks = 22_000,
            Errors = [1, 0.8],
            MixedTasks = 50_000,
            PoolsTasks = 50_000,
            PoolsBulkRhos = [0.5],
            StarvationTasks = 100_000,
            StarvationLoads = [0.5, 0.8, 0.95],
            UntunedTasks = 100_000,
            Day = false,
        };

    /// <summary>As small as a report can be that has every chapter but the day: for its own tests.</summary>
    public static ReportPlan Mini(ulong seed) =>
        Quick(seed) with
        {
            Name = "all --mini",
            Profiles = ["symphony-resnet"],
            Targets = [("medium", 10)],
            Devices = [2],
            Step = 0.05,
            ProbeTasks = 1_100,
            ProbeBatches = 1,
            JitterProfiles = [],
            GoodputProfiles = ["symphony-resnet"],
            Loads = [0.8],
            Cvs = [2],
            Errors = [1],
            GoodputTasks = 1_100,
            MixedTasks = 2_000,
            PoolsTasks = 2_000,
            StarvationTasks = 5_000,
            StarvationLoads = [0.5],
            UntunedTasks = 2_000,
            Only = ["triton", "symphony"],
            Variants = false,
        };
}
