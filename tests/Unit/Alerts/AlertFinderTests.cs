using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Alerts;
using Pipeline.ResultsApi.Alerts.Probes;
using Xunit;

namespace Pipeline.Tests.Unit.Alerts;

/// <summary>Each rule finds what it is for, and nothing where all is well.</summary>
public class AlertFinderTests
{
    private static readonly DateTimeOffset Now = new(2026, 3, 3, 12, 0, 0, TimeSpan.Zero);
    private static readonly SeriesKey Express = new(LatencyClass.Express, "words@1");
    private static readonly SeriesKey Bulk = new(LatencyClass.Bulk, "words@1");
    private static readonly SeriesKey Newer = new(LatencyClass.Bulk, "words@2");
    private readonly SlaHistory _minutes = new();
    private readonly SlaHistory _hours = new();
    private long _bad;
    private readonly List<ProbeFacts> _probes = [];
    private readonly List<LateJob> _late = [];
    private readonly Dictionary<string, DateTimeOffset> _open = [];
    private readonly Dictionary<string, DateTimeOffset> _accepted = [];
    private readonly Dictionary<string, RuleSetting> _settings = AlertRules.All.ToDictionary(r => r.Name, RuleSetting.Of);
    private DoorCount _door;

    [Fact]
    public void Nothing_is_found_where_nothing_happened() => Assert.Empty(Find());

    [Fact]
    public void Nothing_is_found_where_all_is_well()
    {
        Tasks(Express, minutes: 65, perMinute: 600, ms: 80);
        Hours(Bulk, 48, _ => 3000, costPico: 500);
        Probe(Enumerable.Repeat(ProbeOutcome.Right, 120));
        _door = new DoorCount(3000, 2);

        Assert.Empty(Find());
    }

    [Theory]
    [InlineData(400, AlertRules.FirstResultLate, Severity.Warning)]
    [InlineData(700, AlertRules.FirstResultSlow, Severity.Critical)]
    public void Late_first_results_of_express_are_found_once_by_the_rule_they_exceed(int ms, string rule, Severity severity)
    {
        FirstResults(LatencyClass.Express, 40, ms);

        var found = Assert.Single(Find());

        Assert.Equal((rule, severity, "express"), (found.Rule, found.Severity, found.Labels["class"]));
        Assert.Equal(ms / 1000.0, found.Evidence["p95_s"]!.GetValue<double>(), 0.01 * ms / 1000);
    }

    [Fact]
    public void First_results_of_bulk_and_those_of_few_jobs_are_nobodys_alarm()
    {
        FirstResults(LatencyClass.Bulk, 400, ms: 60_000);
        FirstResults(LatencyClass.Express, 19, ms: 60_000);

        Assert.Empty(Find());
    }

    [Fact]
    public void A_threshold_that_was_changed_and_a_rule_that_was_switched_off_count()
    {
        FirstResults(LatencyClass.Express, 40, ms: 400);
        Set(AlertRules.FirstResultLate, s => s with { Threshold = 0.41 });
        Assert.Empty(Find());

        Set(AlertRules.FirstResultLate, s => s with { Threshold = 0.2 });
        Assert.Single(Find());

        Set(AlertRules.FirstResultLate, s => s with { Enabled = false });
        Assert.Empty(Find());
    }

    [Fact]
    public void Errors_are_found_by_class_and_model_without_the_clients_faults()
    {
        Sums(Bulk, SlaCount.Succeeded, 970);
        Sums(Bulk, SlaCount.Failed, 30);
        Sums(Bulk, SlaCount.ClientFaults, 30);
        Assert.Empty(Find());

        Sums(Bulk, SlaCount.Failed, 11);
        Sums(Bulk, SlaCount.Expired, 4);
        var found = Assert.Single(Find());
        Assert.Equal((AlertRules.ErrorRate, "bulk", "words@1"), (found.Rule, found.Labels["class"], found.Labels["model"]));
        Assert.Contains("15 of 985 tasks", found.Summary, StringComparison.Ordinal);
    }

    [Fact]
    public void A_door_that_takes_nothing_is_found_and_one_that_nobody_knocks_at_is_not()
    {
        _door = new DoorCount(0, 4);
        Assert.Empty(Find());

        _door = new DoorCount(0, 5);
        Assert.Equal(AlertRules.NothingAccepted, Assert.Single(Find()).Rule);

        _door = new DoorCount(1, 500);
        Assert.Empty(Find());
    }

    [Fact]
    public void A_budget_that_burns_is_found_by_objective_with_the_severity_of_its_windows()
    {
        _bad = 150;

        var found = Assert.Single(Find());

        Assert.Equal(
            (AlertRules.BudgetBurn, Severity.Warning, "jobs-within-target", "99 %"),
            (found.Rule, found.Severity, found.Labels["slo"], found.Labels["objective"])
        );
        Assert.Equal(1.5, found.Evidence["long"]!["burn"]!.GetValue<double>(), 6);
    }

    [Theory]
    [InlineData(AlertRules.ProbeFailing, ProbeOutcome.Wrong, ProbeOutcome.Right, ProbeOutcome.Failed)]
    [InlineData(AlertRules.ProbeSlow, ProbeOutcome.Slow, ProbeOutcome.Refused, ProbeOutcome.Right)]
    public void Two_of_a_probes_last_three_answers_decide(string rule, params string[] outcomes)
    {
        Probe(outcomes);

        var found = Assert.Single(Find());

        Assert.Equal((rule, "greeting"), (found.Rule, found.Labels["probe"]));
    }

    [Theory]
    [InlineData(ProbeOutcome.Wrong, ProbeOutcome.Right, ProbeOutcome.Right)]
    [InlineData(ProbeOutcome.Right, ProbeOutcome.Right, ProbeOutcome.Right, ProbeOutcome.Wrong, ProbeOutcome.Wrong)]
    public void One_wrong_answer_or_old_ones_do_not(params string[] outcomes)
    {
        Probe(outcomes);

        Assert.Empty(Find());
    }

    [Fact]
    public void Answers_that_are_wrong_more_often_than_before_are_found()
    {
        // Newest first: of the last 40 every fourth was wrong, of those before none.
        Probe(Enumerable.Range(0, 120).Select(i => i < 40 && i % 4 == 3 ? ProbeOutcome.Wrong : ProbeOutcome.Right));

        var found = Assert.Single(Find());

        Assert.Equal(AlertRules.LessRight, found.Rule);
        Assert.InRange(found.Evidence["after"]!.GetValue<double>(), 0.65, 0.85);
    }

    [Fact]
    public void Jobs_that_will_be_late_are_told_together_with_the_first_of_them()
    {
        for (var i = 0; i < 30; i++)
        {
            _late.Add(new LateJob(JobId.New(Now), Bulk, Now.AddMinutes(60 - i), Now.AddMinutes(61)));
        }

        var found = Assert.Single(Find());

        Assert.Equal(30, found.Evidence["jobs"]!.GetValue<int>());
        Assert.Equal(20, found.Evidence["first"]!.AsArray().Count);
        Assert.Contains("30 min", found.Summary, StringComparison.Ordinal);
    }

    [Fact]
    public void A_regression_names_the_medians_and_stays_found_against_what_was_before_it()
    {
        Tasks(Express, minutes: 65, perMinute: 600, ms: 80);
        Tasks(Express, minutes: 5, perMinute: 6000, ms: 120);

        var found = Find().Where(f => f.Rule == AlertRules.Slower).ToList();

        Assert.Equal(0.5, Assert.Single(found).Evidence["before"]!["shift"]!.GetValue<double>(), 0.02);
        _open[found[0].Fingerprint] = Now.AddMinutes(-1);
        Assert.Contains(Find(), f => f.Rule == AlertRules.Slower);
    }

    [Fact]
    public void A_level_that_an_operator_accepted_is_normal_from_then_on()
    {
        Tasks(Express, minutes: 65, perMinute: 600, ms: 80);
        Tasks(Express, minutes: 5, perMinute: 6000, ms: 120);
        foreach (var found in Find())
        {
            _accepted[found.Fingerprint] = Now.AddMinutes(-4);
        }

        Assert.Empty(Find());
    }

    [Fact]
    public void A_day_that_is_worse_than_the_one_before_is_found()
    {
        Hours(Bulk, 48, hour => hour <= 24 ? 3800 : 3000, costPico: 500);

        var found = Assert.Single(Find());

        Assert.Equal(AlertRules.WorseThanYesterday, found.Rule);
    }

    [Fact]
    public void Tasks_that_became_dearer_are_found_with_the_hour_it_began()
    {
        Hours(Bulk, 48, _ => 3000, hour => hour <= 10 ? 650 : 500);

        var found = Assert.Single(Find());

        Assert.Equal(AlertRules.Dearer, found.Rule);
        Assert.Equal("2026-03-03T02:00:00Z", found.Evidence["since"]!.GetValue<string>());
    }

    [Fact]
    public void A_version_that_is_slower_than_the_one_before_is_found()
    {
        Hours(Bulk, 48, _ => 3000, costPico: 500, until: 6);
        Hours(Newer, 6, _ => 3000, costPico: 500, deviceMs: 14);

        var found = Assert.Single(Find());

        Assert.Equal((AlertRules.VersionWorse, "words@2"), (found.Rule, found.Labels["model"]));
        Assert.Contains("slower on the device", found.Summary, StringComparison.Ordinal);
        Assert.DoesNotContain("dearer", found.Summary, StringComparison.Ordinal);
    }

    [Fact]
    public void A_wait_that_grows_by_the_hour_is_found_before_it_is_the_target()
    {
        var target = LatencyClasses.Defaults[LatencyClass.Standard].Target.TotalSeconds;
        var standard = new SeriesKey(LatencyClass.Standard, "words@1");
        Hours(standard, 48, _ => 10, costPico: 500, queuedMs: hour => 1000 * target * (48 - hour) / 90);

        var found = Assert.Single(Find(), f => f.Rule == AlertRules.CapacityExhausted);

        Assert.Equal("standard", found.Labels["class"]);
        Assert.InRange(found.Evidence["hours_left"]!.GetValue<double>(), 41, 45);
    }

    [Fact]
    public void A_days_rhythm_is_no_growth()
    {
        var target = LatencyClasses.Defaults[LatencyClass.Standard].Target.TotalSeconds;
        var standard = new SeriesKey(LatencyClass.Standard, "words@1");
        Hours(standard, 48, _ => 10, costPico: 500, queuedMs: hour => 500 * target * (1 + (0.8 * Math.Sin(hour * Math.PI / 12))));

        Assert.DoesNotContain(Find(), f => f.Rule == AlertRules.CapacityExhausted);
    }

    [Fact]
    public void Every_rule_has_a_name_of_its_own_and_says_what_to_do()
    {
        Assert.Distinct(AlertRules.All.Select(r => r.Name));
        Assert.All(AlertRules.All, r => Assert.Matches("^[a-z_]+$", r.Name));
        Assert.All(AlertRules.All, r => Assert.False(string.IsNullOrWhiteSpace(r.What) || string.IsNullOrWhiteSpace(r.Next)));
        Assert.All(AlertRules.All, r => Assert.Equal(r.Threshold is null, r.Unit is null));
    }

    private IReadOnlyList<Finding> Find() =>
        new AlertFinder(
            new AlertFacts
            {
                Now = Now,
                Minutes = _minutes,
                Hours = _hours,
                Objectives =
                [
                    new(
                        new Dictionary<string, string> { ["slo"] = "jobs-within-target", ["objective"] = "99 %" },
                        0.99,
                        _ => new EventCount(10_000, _bad)
                    ),
                ],
                Door = _door,
                Probes = _probes,
                LateJobs = _late,
                Open = _open,
                Accepted = _accepted,
            },
            _settings
        ).Find();

    private void Set(string rule, Func<RuleSetting, RuleSetting> change) => _settings[rule] = change(_settings[rule]);

    private void Sums(SeriesKey key, SlaCount count, long value) => _minutes.Of(Now.AddMinutes(-2), key)[count] += value;

    private void FirstResults(LatencyClass latencyClass, int jobs, int ms) =>
        _minutes.Of(Now.AddMinutes(-1), new SeriesKey(latencyClass, "words@1"))[SlaTime.FirstResult].Add(1000L * ms, jobs);

    private void Probe(IEnumerable<string> newestFirst) =>
        _probes.Add(new ProbeFacts("greeting", "words", [.. newestFirst.Select(outcome => (outcome, (string?)null))]));

    /// <summary>Tasks of the last minutes, with times that scatter a little.</summary>
    private void Tasks(SeriesKey key, int minutes, int perMinute, int ms)
    {
        for (var minute = 1; minute <= minutes; minute++)
        {
            var sums = _minutes.Of(Now.AddMinutes(-minute), key);
            for (var part = 0; part < 10; part++)
            {
                sums[SlaTime.Total].Add(1000L * ms * (95 + part) / 100, perMinute / 10);
                sums[SlaTime.Device].Add(10_000, perMinute / 10);
            }

            sums[SlaCount.Succeeded] += perMinute;
        }
    }

    /// <summary>1,000 tasks in each of the last hours; functions are given how many hours ago an hour began.</summary>
    private void Hours(
        SeriesKey key,
        int hours,
        Func<int, double> totalMs,
        Func<int, double> costPico,
        int until = 0,
        int deviceMs = 10,
        Func<int, double>? queuedMs = null
    )
    {
        for (var hour = until + 1; hour <= hours; hour++)
        {
            var sums = _hours.Of(Now.AddHours(-hour), key);
            for (var part = 0; part < 10; part++)
            {
                sums[SlaTime.Total].Add((long)(1000 * totalMs(hour) * (95 + part) / 100), 100);
                sums[SlaTime.Device].Add(10L * deviceMs * (95 + part), 100);
                sums[SlaTime.Queued].Add((long)(1000 * (queuedMs?.Invoke(hour) ?? 1)), 100);
            }

            sums[SlaCount.Succeeded] += 1000;
            sums[SlaCount.Within] += 1000;
            sums[SlaCount.Ran] += 1000;
            // Prices scatter, or their noise would be nothing.
            sums[SlaCount.CostPico] += (long)(1000 * costPico(hour)) + (hour * 7919 % 20_000);
        }
    }

    private void Hours(
        SeriesKey key,
        int hours,
        Func<int, double> totalMs,
        double costPico,
        int until = 0,
        int deviceMs = 10,
        Func<int, double>? queuedMs = null
    ) => Hours(key, hours, totalMs, _ => costPico, until, deviceMs, queuedMs);
}
