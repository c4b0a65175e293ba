using Pipeline.Contracts;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Sla;

/// <summary>Sums of a tenant's class and model over the window.</summary>
internal sealed record KeyedSums(string Tenant, LatencyClass Class, string Model, SlaSums Sums);

/// <summary>Answers of the door to a tenant, over the window.</summary>
/// <param name="Model">Empty where none is known.</param>
internal sealed record DoorSums(
    string Tenant,
    LatencyClass Class,
    string Model,
    long Accepted,
    long Limited,
    long ClientFaults,
    long Failed,
    IReadOnlyList<long> Disconnects
);

/// <summary>A tenant's webhook deliveries over the window.</summary>
internal sealed record CallbackSums(string Tenant, long Delivered, long Punctual, long Failed);

/// <summary>A period, the hours of it that count, and its sums by class.</summary>
internal sealed record PeriodSums(CalendarPeriod Period, double Hours, IReadOnlyDictionary<LatencyClass, SlaSums> Classes);

/// <summary>Groups in a band of time; see <see cref="OutcomeBandView"/>.</summary>
internal sealed record OutcomeSums(int Band, long Groups, long Reported, long Accepted, double? Value);

/// <summary>Everything a report is made of, as it was read.</summary>
internal sealed record ReportData
{
    public required ReportWindow Window { get; init; }
    public required double Hours { get; init; }
    public required bool Complete { get; init; }
    public required string? Tenant { get; init; }
    public required string SourceSha256 { get; init; }
    public required IReadOnlyList<KeyedSums> Sums { get; init; }
    public required IReadOnlyList<PeriodSums> Periods { get; init; }
    public required IReadOnlyList<DoorSums> Doors { get; init; }
    public required IReadOnlyList<CallbackSums> Callbacks { get; init; }
    public required IReadOnlyList<OutcomeSums> Outcomes { get; init; }
    public required IReadOnlyList<ExclusionView> Exclusions { get; init; }
    public required BreachesView Breaches { get; init; }
}

/// <summary>Makes a report of what was read: arithmetic only.</summary>
internal static class ReportMaker
{
    /// <summary>Raised with every change of what the same rows come to.</summary>
    public const string Method = "sla.v3";

    private static readonly (string Name, SlaTime Time)[] Stages =
    [
        ("waiting", SlaTime.Queued),
        ("staged", SlaTime.Staged),
        ("device", SlaTime.Device),
        ("writing", SlaTime.Writing),
    ];

    public static SlaReport Make(ReportData data, IReadOnlyList<Objective> objectives)
    {
        var classes = ByClass(data.Sums);
        return new SlaReport
        {
            Method = Method,
            SourceSha256 = data.SourceSha256,
            From = data.Window.From,
            To = data.Window.To,
            TimeZone = data.Window.Zone.Id,
            Hours = Math.Round(data.Hours, 4),
            Complete = data.Complete,
            Tenant = data.Tenant,
            Objectives =
            [
                .. objectives.Where(o => o.Tenant is null || data.Tenant is null || o.Tenant == data.Tenant).Select(o => View(o, data)),
            ],
            Rows = Rows(data),
            Periods = [.. data.Periods.SelectMany(Periods)],
            Stages = [.. classes.SelectMany(c => StagesOf(c.Class, c.Sums))],
            Bands = Bands(classes, data.Doors),
            Outcomes = [.. data.Outcomes.OrderBy(o => o.Band).Select(View)],
            Acceptance = Acceptance(data.Doors),
            AcceptanceByModel = AcceptanceByModel(data.Doors),
            Callbacks = View(data.Callbacks),
            Breaches = data.Breaches,
            Exclusions = data.Exclusions,
        };
    }

    private static List<(LatencyClass Class, SlaSums Sums)> ByClass(IEnumerable<KeyedSums> sums) =>
        [.. sums.GroupBy(s => s.Class).OrderBy(g => g.Key).Select(g => (g.Key, SlaSums.Total(g.Select(s => s.Sums))))];

    private static ObjectiveView View(Objective objective, ReportData data)
    {
        var (good, total) = objective.Indicator switch
        {
            Indicator.Requests => Sum(
                data.Doors.Where(d => objective.Covers(d.Class, d.Tenant, d.Model)).Select(d => (d.Accepted, d.Accepted + d.Failed))
            ),
            Indicator.Callbacks => Sum(
                data.Callbacks.Where(c => objective.Tenant is null || objective.Tenant == c.Tenant)
                    .Select(c => (c.Punctual, c.Delivered + c.Failed))
            ),
            _ => Sum(data.Sums.Where(s => objective.Covers(s.Class, s.Tenant, s.Model)).Select(s => objective.Count(s.Sums))),
        };
        var (attained, badShare) = (Share(good, total), total == 0 ? (double?)null : (double)(total - good) / total);
        var burn = badShare / (1 - objective.Target);
        return new ObjectiveView
        {
            Slo = objective.Slo,
            Name = objective.Name,
            Indicator = System.Text.Json.JsonNamingPolicy.SnakeCaseLower.ConvertName(objective.Indicator.ToString()),
            Class = objective.Class,
            Tenant = objective.Tenant,
            Model = objective.Model,
            LimitMs = TimesView.Ms(objective.LimitUs),
            Target = objective.Target,
            Good = good,
            Total = total,
            Attained = attained,
            Met = total == 0 ? null : badShare <= 1 - objective.Target + 1e-12,
            BudgetLeft = Round(1 - burn),
            Burn = Round(burn),
        };
    }

    private static (long Good, long Total) Sum(IEnumerable<(long Good, long Total)> parts) =>
        parts.Aggregate((Good: 0L, Total: 0L), (sum, part) => (sum.Good + part.Good, sum.Total + part.Total));

    private static List<SlaRowView> Rows(ReportData data)
    {
        var window = data.Window;
        return
        [
            .. data
                .Sums.GroupBy(s =>
                    (
                        Class: window.ByClass ? (LatencyClass?)s.Class : null,
                        Tenant: window.ByTenant ? s.Tenant : null,
                        Model: window.ByModel ? s.Model : null
                    )
                )
                .OrderBy(g => g.Key.Class)
                .ThenBy(g => g.Key.Tenant, StringComparer.Ordinal)
                .ThenBy(g => g.Key.Model, StringComparer.Ordinal)
                .Select(g => Row(g.Key.Class, g.Key.Tenant, g.Key.Model, SlaSums.Total(g.Select(s => s.Sums)), data)),
        ];
    }

    private static SlaRowView Row(LatencyClass? latencyClass, string? tenant, string? model, SlaSums sums, ReportData data)
    {
        var doors = data
            .Doors.Where(d =>
                (latencyClass is null || d.Class == latencyClass)
                && (tenant is null || d.Tenant == tenant)
                && (model is null || d.Model == model)
            )
            .ToList();
        return new SlaRowView
        {
            Class = latencyClass,
            Tenant = tenant,
            Model = model,
            Succeeded = sums[SlaCount.Succeeded],
            Failed = sums[SlaCount.Failed],
            ClientFaults = sums[SlaCount.ClientFaults],
            Expired = sums[SlaCount.Expired],
            Cancelled = sums[SlaCount.Cancelled],
            TasksWithin = Share(sums[SlaCount.Within], sums.Answerable),
            JobsCompleted = sums[SlaCount.JobsCompleted],
            JobsExpired = sums[SlaCount.JobsExpired],
            JobsWithin = Share(sums[SlaCount.JobsWithin], sums.Jobs),
            QueueWaitMs = TimesView.Of(sums[SlaTime.Queued]),
            DeviceMs = TimesView.Of(sums[SlaTime.Device]),
            EndToEndMs = TimesView.Of(sums[SlaTime.Total]),
            FirstResultMs = TimesView.Of(sums[SlaTime.FirstResult]),
            JobEndToEndMs = TimesView.Of(sums[SlaTime.JobTotal]),
            TasksPerSecond = Rate(sums, data.Hours),
            Availability = Share(doors.Sum(d => d.Accepted), doors.Sum(d => d.Accepted + d.Failed)),
            CostPicoUsd = sums[SlaCount.CostPico],
            PricePicoUsd = sums[SlaCount.PricePico],
            CostPerTaskPicoUsd = CostPerTask(sums),
            ReusedShare = Share(sums[SlaCount.ReusedJob] + sums[SlaCount.ReusedCache], sums[SlaCount.Succeeded]),
            CacheShare = Share(sums[SlaCount.ReusedCache], sums[SlaCount.Succeeded]),
            SavedPicoUsd = sums[SlaCount.SavedPico],
            TasksPerBatch = sums[SlaCount.Ran] == 0 ? null : Round((double)sums[SlaCount.BatchRows] / sums[SlaCount.Ran]),
            PaddingShare = Share(sums[SlaCount.PaddedUnits] - sums[SlaCount.Units], sums[SlaCount.PaddedUnits]),
        };
    }

    private static IEnumerable<PeriodView> Periods(PeriodSums period) =>
        period
            .Classes.OrderBy(c => c.Key)
            .Select(c => new PeriodView
            {
                Period = period.Period.Name,
                From = period.Period.From,
                To = period.Period.To,
                Hours = Math.Round(period.Hours, 4),
                Class = c.Key,
                Ended = c.Value.Ended,
                Expired = c.Value[SlaCount.Expired],
                TasksWithin = Share(c.Value[SlaCount.Within], c.Value.Answerable),
                JobsWithin = Share(c.Value[SlaCount.JobsWithin], c.Value.Jobs),
                EndToEndMs = TimesView.Of(c.Value[SlaTime.Total]),
                TasksPerSecond = Rate(c.Value, period.Hours),
                CostPerTaskPicoUsd = CostPerTask(c.Value),
            });

    private static IEnumerable<StageView> StagesOf(LatencyClass latencyClass, SlaSums sums)
    {
        var total = Stages.Aggregate((Int128)0, (sum, stage) => sum + sums[stage.Time].Sum);
        foreach (var (name, time) in total == 0 ? [] : Stages)
        {
            var share = (double)sums[time].Sum / (double)total;
            yield return new StageView
            {
                Class = latencyClass,
                Stage = name,
                Ms = TimesView.Of(sums[time]),
                Share = Math.Round(share, 6),
                Gain2 = Round(Amdahl.Gain(share, 2)),
                Gain10 = Round(Amdahl.Gain(share, 10)),
                GainInfinite = Round(Amdahl.Gain(share, double.PositiveInfinity)),
            };
        }
    }

    private static List<BandView> Bands(List<(LatencyClass Class, SlaSums Sums)> classes, IReadOnlyList<DoorSums> doors)
    {
        var bands = new List<BandView>();
        foreach (var latencyClass in classes.Select(c => c.Class).Union(doors.Select(d => d.Class)).Order())
        {
            var sums = classes.Find(c => c.Class == latencyClass).Sums ?? new SlaSums();
            for (var band = 0; band <= SlaSums.BandsUs.Count; band++)
            {
                var tasks = sums[SlaCount.Band100 + band];
                bands.Add(
                    new BandView
                    {
                        Class = latencyClass,
                        UpToMs = EndOf(band),
                        Tasks = tasks,
                        Share = Share(tasks, sums[SlaCount.Succeeded]),
                        Disconnects = doors.Where(d => d.Class == latencyClass).Sum(d => d.Disconnects[band]),
                    }
                );
            }
        }

        return bands;
    }

    private static List<DoorView> Acceptance(IReadOnlyList<DoorSums> doors) =>
        [
            .. doors
                .GroupBy(d => d.Class)
                .OrderBy(g => g.Key)
                .Select(g => new DoorView
                {
                    Class = g.Key,
                    Accepted = g.Sum(d => d.Accepted),
                    Limited = g.Sum(d => d.Limited),
                    ClientFaults = g.Sum(d => d.ClientFaults),
                    Failed = g.Sum(d => d.Failed),
                    Disconnects = g.Sum(d => d.Disconnects.Sum()),
                    Availability = Share(g.Sum(d => d.Accepted), g.Sum(d => d.Accepted + d.Failed)),
                }),
        ];

    private static List<ModelDoorView> AcceptanceByModel(IReadOnlyList<DoorSums> doors) =>
        [
            .. doors
                .GroupBy(d => (d.Class, d.Model))
                .OrderBy(g => g.Key.Class)
                .ThenBy(g => g.Key.Model, StringComparer.Ordinal)
                .Select(g => new ModelDoorView
                {
                    Class = g.Key.Class,
                    Model = g.Key.Model.Length == 0 ? null : g.Key.Model,
                    Accepted = g.Sum(d => d.Accepted),
                    Limited = g.Sum(d => d.Limited),
                    ClientFaults = g.Sum(d => d.ClientFaults),
                    Failed = g.Sum(d => d.Failed),
                    Disconnects = g.Sum(d => d.Disconnects.Sum()),
                    Availability = Share(g.Sum(d => d.Accepted), g.Sum(d => d.Accepted + d.Failed)),
                }),
        ];

    private static CallbacksView View(IReadOnlyList<CallbackSums> callbacks)
    {
        var (delivered, punctual, failed) = (callbacks.Sum(c => c.Delivered), callbacks.Sum(c => c.Punctual), callbacks.Sum(c => c.Failed));
        return new CallbacksView
        {
            Delivered = delivered,
            Punctual = punctual,
            Failed = failed,
            Punctuality = Share(punctual, delivered + failed),
        };
    }

    private static OutcomeBandView View(OutcomeSums sums) =>
        new()
        {
            UpToMs = EndOf(sums.Band),
            Groups = sums.Groups,
            Reported = sums.Reported,
            Accepted = sums.Accepted,
            AcceptanceRate = Share(sums.Accepted, sums.Reported),
            Value = sums.Value,
        };

    private static double? EndOf(int band) => band < SlaSums.BandsUs.Count ? SlaSums.BandsUs[band] / 1000.0 : null;

    private static double Rate(SlaSums sums, double hours) => hours > 0 ? Math.Round(sums[SlaCount.Succeeded] / (hours * 3600), 6) : 0;

    private static double? CostPerTask(SlaSums sums) =>
        sums.Ended == 0 ? null : Math.Round((double)sums[SlaCount.CostPico] / sums.Ended, 3);

    private static double? Share(long part, long of) => of == 0 ? null : Math.Round((double)part / of, 6);

    private static double? Round(double? value) => value is { } number ? Math.Round(number, 6) : null;
}
