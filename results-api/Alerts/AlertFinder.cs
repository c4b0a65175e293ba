using System.Globalization;
using System.Text.Json.Nodes;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Alerts.Probes;

namespace Pipeline.ResultsApi.Alerts;

/// <summary>What is wrong, by the rules as they are set. Pure: facts in, findings out.</summary>
public sealed class AlertFinder(AlertFacts facts, IReadOnlyDictionary<string, RuleSetting> settings)
{
    private const int JobsShown = 20;
    private const int TasksMin = 100;
    private const int BadMin = 5;
    private const int JobsMin = 20;
    private const int LevelErrorsMin = 6;
    private const int AgreementErrorsMin = 4;
    private const int HoursMin = 24;
    private static readonly TimeSpan Minutes5 = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan Hour = TimeSpan.FromHours(1);
    private static readonly TimeSpan Day = TimeSpan.FromDays(1);
    private readonly List<Finding> _found = [];

    /// <summary>How much of the past the rules look at, in minutes and in hours; the same time yesterday as much later as earlier.</summary>
    public static readonly TimeSpan MinutesBack = RegressionBounds.Default.Window + RegressionBounds.Default.Reference;
    public static readonly TimeSpan HoursBack = 2 * Day;

    public IReadOnlyList<Finding> Find()
    {
        FirstResults();
        NothingAccepted();
        Burns();
        Probes();
        LateJobs();
        foreach (var key in facts.Minutes.Keys)
        {
            Errors(key);
            EndToEnd(key);
            CacheShare(key);
            Regressed(AlertRules.Slower, key, SlaTime.Total, "Tasks take longer from acceptance to result");
            Regressed(AlertRules.DeviceSlower, key, SlaTime.Device, "Tasks take longer on the device");
        }

        foreach (var key in facts.Hours.Keys)
        {
            WorseThanYesterday(key);
            Dearer(key);
        }

        Versions();
        foreach (var latencyClass in facts.Hours.Keys.Select(k => k.Class).Distinct())
        {
            Exhausted(latencyClass);
        }

        return _found;
    }

    private void FirstResults()
    {
        var first = facts.Minutes.Sum(k => k.Class == LatencyClass.Express, facts.Now - Minutes5, facts.Now)[SlaTime.FirstResult];
        if (first.Count < JobsMin || first.Percentile(95) is not { } p95)
        {
            return;
        }

        // One of the two is enough: the slower says it all.
        foreach (var rule in (string[])[AlertRules.FirstResultSlow, AlertRules.FirstResultLate])
        {
            if (On(rule) is { } set && Seconds(p95) > set.Threshold)
            {
                Add(
                    set,
                    new Dictionary<string, string> { ["class"] = LatencyClass.Express.Name() },
                    $"The first results of {first.Count} express jobs of 5 minutes: p95 {Show(p95)}, the limit is {set.Threshold:0.###} s.",
                    new JsonObject
                    {
                        ["jobs"] = first.Count,
                        ["p50_s"] = Seconds(first.Percentile(50)!.Value),
                        ["p95_s"] = Seconds(p95),
                        ["limit_s"] = set.Threshold,
                    }
                );
                return;
            }
        }
    }

    private void NothingAccepted()
    {
        if (On(AlertRules.NothingAccepted) is { } set && facts.Door.Accepted == 0 && facts.Door.Failed >= set.Threshold)
        {
            Add(
                set,
                new Dictionary<string, string>(),
                $"{facts.Door.Failed} requests of 5 minutes failed at the door, and none was accepted.",
                new JsonObject { ["accepted"] = 0, ["failed"] = facts.Door.Failed }
            );
        }
    }

    private void Errors(SeriesKey key)
    {
        if (On(AlertRules.ErrorRate) is not { } set)
        {
            return;
        }

        var sums = facts.Minutes.Sum(key, facts.Now - Minutes5, facts.Now);
        var bad = sums[SlaCount.Failed] - sums[SlaCount.ClientFaults] + sums[SlaCount.Expired];
        if (sums.Answerable >= TasksMin && bad >= BadMin && (double)bad / sums.Answerable > set.Threshold)
        {
            Add(
                set,
                Labels(key),
                $"{bad} of {sums.Answerable} tasks of {key.Model} ({key.Class.Name()}) failed or expired in 5 minutes: {Percent(bad, sums.Answerable)}, "
                    + $"the limit is {set.Threshold:P1}.",
                new JsonObject
                {
                    ["tasks"] = sums.Answerable,
                    ["failed"] = sums[SlaCount.Failed] - sums[SlaCount.ClientFaults],
                    ["expired"] = sums[SlaCount.Expired],
                }
            );
        }
    }

    private void EndToEnd(SeriesKey key)
    {
        if (key.Class != LatencyClass.Express || On(AlertRules.EndToEndSlow) is not { } set)
        {
            return;
        }

        var total = facts.Minutes.Sum(key, facts.Now - Minutes5, facts.Now)[SlaTime.Total];
        if (total.Count >= JobsMin && total.Percentile(95) is { } p95 && Seconds(p95) > set.Threshold)
        {
            Add(
                set,
                Labels(key),
                $"{total.Count} express tasks of {key.Model} in 5 minutes: p95 {Show(p95)}, the limit is {set.Threshold:0.###} s.",
                new JsonObject
                {
                    ["tasks"] = total.Count,
                    ["p95_s"] = Seconds(p95),
                    ["limit_s"] = set.Threshold,
                }
            );
        }
    }

    private void CacheShare(SeriesKey key)
    {
        if (On(AlertRules.CacheShare) is not { } set)
        {
            return;
        }

        var sums = facts.Minutes.Sum(key, facts.Now - Hour, facts.Now);
        var reused = sums[SlaCount.ReusedCache] + sums[SlaCount.ReusedJob];
        if (sums[SlaCount.Succeeded] >= TasksMin && (double)reused / sums[SlaCount.Succeeded] < set.Threshold)
        {
            Add(
                set,
                Labels(key),
                $"{Percent(reused, sums[SlaCount.Succeeded])} of the tasks of {key.Model} ({key.Class.Name()}) of the last hour were reused, "
                    + $"the floor is {set.Threshold:P1}.",
                new JsonObject { ["tasks"] = sums[SlaCount.Succeeded], ["reused"] = reused }
            );
        }
    }

    private void Burns()
    {
        if (On(AlertRules.BudgetBurn) is not { } set)
        {
            return;
        }

        foreach (var objective in facts.Objectives)
        {
            var burning = BurnRate.Worst(objective.Target, BurnWindows.Defaults, objective.Count, TasksMin, BadMin);
            if (burning is { Windows: var windows })
            {
                Add(
                    set with
                    {
                        Severity = windows.Severity,
                    },
                    objective.Labels,
                    $"The error budget of {string.Join(' ', objective.Labels.Values)} ({objective.Target:P2}) goes at {burning.LongBurn:0.#} times the "
                        + $"allowed rate over {Length(windows.Long)} and {burning.ShortBurn:0.#} over {Length(windows.Short)}; the limit is {windows.Factor}.",
                    new JsonObject
                    {
                        ["target"] = objective.Target,
                        ["factor"] = windows.Factor,
                        ["long"] = Window(windows.Long, burning.Long, burning.LongBurn),
                        ["short"] = Window(windows.Short, burning.Short, burning.ShortBurn),
                    }
                );
            }
        }

        static JsonObject Window(TimeSpan length, EventCount count, double burn) =>
            new()
            {
                ["seconds"] = length.TotalSeconds,
                ["events"] = count.Total,
                ["bad"] = count.Bad,
                ["burn"] = burn,
            };
    }

    private void Probes()
    {
        foreach (var probe in facts.Probes)
        {
            var last = probe.Runs.Take(3).ToList();
            Last(AlertRules.ProbeFailing, "wrong or missing", [ProbeOutcome.Wrong, ProbeOutcome.Failed]);
            Last(AlertRules.ProbeSlow, "slow or refused", [ProbeOutcome.Slow, ProbeOutcome.Refused]);
            Agreement(probe);

            void Last(string rule, string what, string[] outcomes)
            {
                var count = last.Count(run => outcomes.Contains(run.Outcome));
                if (On(rule) is { } set && count >= set.Threshold)
                {
                    var (outcome, detail) = last.First(run => outcomes.Contains(run.Outcome));
                    Add(
                        set,
                        Labels(probe),
                        $"{count} of the last {last.Count} answers to the probe {probe.Probe} ({probe.Model}) were {what}.",
                        new JsonObject
                        {
                            ["outcomes"] = new JsonArray([.. last.Select(run => (JsonNode)run.Outcome)]),
                            ["last"] = outcome,
                            ["detail"] = detail,
                        }
                    );
                }
            }
        }
    }

    /// <summary>Whether a probe's answers became wrong more often, at the clearest change of its runs.</summary>
    private void Agreement(ProbeFacts probe)
    {
        var right = probe
            .Runs.Where(run => run.Outcome != ProbeOutcome.Refused)
            .Reverse()
            .Select(run => run.Outcome is ProbeOutcome.Right or ProbeOutcome.Slow ? 1.0 : 0)
            .ToList();
        if (On(AlertRules.LessRight) is not { } set || ChangePoint.Clearest(right, sideMin: 10) is not { } change)
        {
            return;
        }

        var (before, after) = (right.Take(change.At).Average(), right.Skip(change.At).Average());
        var all = right.Average();
        var error = Math.Sqrt(all * (1 - all) * ((1.0 / change.At) + (1.0 / (right.Count - change.At))));
        if (before - after >= set.Threshold && error > 0 && (before - after) / error >= AgreementErrorsMin)
        {
            Add(
                set,
                Labels(probe),
                $"The probe {probe.Probe} ({probe.Model}) was right in {before:P0} of {change.At} runs, and in {after:P0} of the {right.Count - change.At} since.",
                new JsonObject
                {
                    ["before"] = before,
                    ["after"] = after,
                    ["runs_before"] = change.At,
                    ["runs_after"] = right.Count - change.At,
                    ["standard_errors"] = (before - after) / error,
                }
            );
        }
    }

    private void LateJobs()
    {
        if (On(AlertRules.DeadlineAtRisk) is not { } set)
        {
            return;
        }

        foreach (var group in facts.LateJobs.GroupBy(j => j.Key))
        {
            var jobs = group.OrderBy(j => j.Deadline).ThenBy(j => j.Job).ToList();
            var worst = jobs.Max(j => j.Predicted - j.Deadline);
            Add(
                set,
                Labels(group.Key),
                $"{jobs.Count} jobs of {group.Key.Model} ({group.Key.Class.Name()}) are predicted to end after their deadline, the latest by {Length(worst)}.",
                new JsonObject
                {
                    ["jobs"] = jobs.Count,
                    ["latest_by_s"] = Math.Round(worst.TotalSeconds, 3),
                    ["first"] = new JsonArray([
                        .. jobs.Take(JobsShown)
                            .Select(j =>
                                (JsonNode)
                                    new JsonObject
                                    {
                                        ["job"] = j.Job.ToString(),
                                        ["deadline"] = Moment(j.Deadline),
                                        ["predicted_at"] = Moment(j.Predicted),
                                    }
                            ),
                    ]),
                }
            );
        }
    }

    private void Regressed(string rule, SeriesKey key, SlaTime time, string what)
    {
        if (On(rule) is not { } set)
        {
            return;
        }

        var labels = Labels(key);
        var fingerprint = AlertLabels.Fingerprint(rule, labels);
        var bounds = RegressionBounds.Default with { ShiftMin = set.Threshold!.Value };
        var accepted = facts.Accepted.GetValueOrDefault(fingerprint, DateTimeOffset.MinValue);
        DateTimeOffset? began = facts.Open.TryGetValue(fingerprint, out var since)
            ? SlaTables.Floor(SlaGrain.Minute, since) - bounds.Window
            : null;
        var regressed = Regression.Of(
            (from, to) => facts.Minutes.Between(key, time, from > accepted ? from : accepted, to),
            facts.Now,
            began,
            bounds
        );
        if (regressed is not { Before: var before })
        {
            return;
        }

        Add(
            set,
            labels,
            $"{what}: {key.Model} ({key.Class.Name()}), median {Show(before.SecondMedian)} in the last 5 minutes after {Show(before.FirstMedian)} in the "
                + $"hour before ({before.Shift:+0%;-0%}), {before.Superiority:P0} likely to be longer, {before.Z:0} standard errors.",
            new JsonObject
            {
                ["from"] = Moment(regressed.From),
                ["began_by"] = Moment(regressed.To),
                ["before"] = Compared(before),
                ["yesterday"] = regressed.Yesterday is { } yesterday ? Compared(yesterday) : null,
            }
        );
    }

    private void WorseThanYesterday(SeriesKey key)
    {
        if (On(AlertRules.WorseThanYesterday) is not { } set)
        {
            return;
        }

        var end = SlaTables.Floor(SlaGrain.Hour, facts.Now);
        var (today, before) = (
            facts.Hours.Sum(key, end - Day, end)[SlaTime.Total],
            facts.Hours.Sum(key, end - (2 * Day), end - Day)[SlaTime.Total]
        );
        if (
            Math.Min(today.Count, before.Count) >= RegressionBounds.Default.EventsMin
            && today.Percentile(95) is { } now
            && before.Percentile(95) is { } then and > 0
            && (now / then) - 1 >= set.Threshold
        )
        {
            Add(
                set,
                Labels(key),
                $"p95 of the time to a result of {key.Model} ({key.Class.Name()}) is {Show(now)} in the last 24 hours after {Show(then)} in the 24 before "
                    + $"({(now / then) - 1:+0%}).",
                new JsonObject
                {
                    ["p95_s"] = Seconds(now),
                    ["p95_before_s"] = Seconds(then),
                    ["tasks"] = today.Count,
                    ["tasks_before"] = before.Count,
                }
            );
        }
    }

    private void Dearer(SeriesKey key)
    {
        if (On(AlertRules.Dearer) is not { } set)
        {
            return;
        }

        var labels = Labels(key);
        var accepted = facts.Accepted.GetValueOrDefault(AlertLabels.Fingerprint(set.Rule.Name, labels), DateTimeOffset.MinValue);
        var hours = HourlySums(k => k == key, accepted).Where(h => h.Sums[SlaCount.Ran] >= TasksMin).ToList();
        var costs = hours.Select(h => (double)h.Sums[SlaCount.CostPico] / h.Sums[SlaCount.Ran]).ToList();
        if (ChangePoint.Clearest(costs, sideMin: 3) is not { } change || change.Z < LevelErrorsMin || change.Shift < set.Threshold)
        {
            return;
        }

        Add(
            set,
            labels,
            $"A task of {key.Model} ({key.Class.Name()}) costs {change.After / Cost.PicoPerUsd:0.######} USD since {Moment(hours[change.At].At)}, "
                + $"{change.Shift:+0%} of what it did in the {change.At} hours before.",
            new JsonObject
            {
                ["since"] = Moment(hours[change.At].At),
                ["pico_usd"] = Math.Round(change.After),
                ["pico_usd_before"] = Math.Round(change.Before),
                ["standard_errors"] = change.Z,
            }
        );
    }

    /// <summary>Compares the newest version of each model with the one before, where it began within the hours that are known.</summary>
    private void Versions()
    {
        if (On(AlertRules.VersionWorse) is not { } set)
        {
            return;
        }

        var bounds = RegressionBounds.Default with { ShiftMin = set.Threshold!.Value };
        foreach (var versions in facts.Hours.Keys.GroupBy(k => (k.Class, Name: k.Model.Split('@')[0])))
        {
            var newest = versions
                .Select(key => (Key: key, First: HourlySums(k => k == key, default).First(h => h.Sums.Ended > 0).At))
                .OrderByDescending(v => v.First)
                .ThenBy(v => v.Key.Model, StringComparer.Ordinal)
                .Take(2)
                .ToArray();
            if (newest is not [var now, var before] || now.First == before.First)
            {
                continue;
            }

            var labels = new Dictionary<string, string> { ["class"] = versions.Key.Class.Name(), ["model"] = now.Key.Model };
            if (facts.Accepted.ContainsKey(AlertLabels.Fingerprint(set.Rule.Name, labels)))
            {
                continue;
            }

            var (old, young) = (Whole(before.Key), Whole(now.Key));
            var compared = RankComparison.Of(SlaHistory.Bins(old[SlaTime.Device]), SlaHistory.Bins(young[SlaTime.Device]));
            var (oldCost, youngCost) = (TaskCost(old), TaskCost(young));
            var dearer =
                Math.Min(old[SlaCount.Ran], young[SlaCount.Ran]) >= bounds.EventsMin && youngCost >= oldCost * (1 + set.Threshold.Value);
            var slower = compared is not null && Regression.IsHigher(compared, bounds);
            if (slower || dearer)
            {
                Add(
                    set,
                    labels,
                    $"{now.Key.Model} ({versions.Key.Class.Name()}) is {(slower ? $"slower on the device ({compared!.Shift:+0%})" : "")}"
                        + $"{(slower && dearer ? " and " : "")}{(dearer ? $"dearer ({(youngCost / oldCost) - 1:+0%} a task)" : "")} than {before.Key.Model}.",
                    new JsonObject
                    {
                        ["version_before"] = before.Key.Model,
                        ["device"] = compared is null ? null : Compared(compared),
                        ["pico_usd"] = Math.Round(youngCost),
                        ["pico_usd_before"] = Math.Round(oldCost),
                    }
                );
            }
        }

        SlaSums Whole(SeriesKey key) => facts.Hours.Sum(key, DateTimeOffset.MinValue, DateTimeOffset.MaxValue);

        static double TaskCost(SlaSums sums) => sums[SlaCount.Ran] > 0 ? (double)sums[SlaCount.CostPico] / sums[SlaCount.Ran] : 0;
    }

    /// <summary>
    /// Whether waiting grows by the hour so that it will use up the class's target: the line through the p95 of every hour, when nearly all
    /// pairs of hours rise, as they do not in a day's rhythm.
    /// </summary>
    private void Exhausted(LatencyClass latencyClass)
    {
        if (On(AlertRules.CapacityExhausted) is not { } set)
        {
            return;
        }

        var target = LatencyClasses.Defaults[latencyClass].Target.TotalSeconds;
        var waits = HourlySums(k => k.Class == latencyClass, default)
            .Where(h => h.Sums[SlaTime.Queued].Count >= TasksMin)
            .Select(h => Seconds(h.Sums[SlaTime.Queued].Percentile(95)!.Value))
            .ToList();
        if (waits.Count < HoursMin || Trend.Of(waits) is not { LowPerStep: > 0 } trend)
        {
            return;
        }

        if (trend.StepsUntil(target) is { } hours && hours <= set.Threshold)
        {
            Add(
                set,
                new Dictionary<string, string> { ["class"] = latencyClass.Name() },
                $"The wait of {latencyClass.Name()} tasks (p95) is {trend.Now:0.###} s and grows by {trend.PerStep:0.###} s an hour: in {hours:0} hours it is "
                    + $"the class's whole target of {target:0.###} s.",
                new JsonObject
                {
                    ["hours_left"] = Math.Round(hours, 1),
                    ["wait_p95_s"] = trend.Now,
                    ["growth_s_per_hour"] = trend.PerStep,
                    ["target_s"] = target,
                    ["hours_seen"] = waits.Count,
                }
            );
        }
    }

    /// <summary>The whole hours from a moment on, in order, with what the chosen series came to together; hours without anything are left out.</summary>
    private IEnumerable<(DateTimeOffset At, SlaSums Sums)> HourlySums(Func<SeriesKey, bool> chosen, DateTimeOffset from)
    {
        var end = SlaTables.Floor(SlaGrain.Hour, facts.Now);
        for (var at = end - HoursBack; at < end; at += Hour)
        {
            if (at >= from && facts.Hours.Sum(chosen, at, at + Hour) is { Ended: > 0 } sums)
            {
                yield return (at, sums);
            }
        }
    }

    private RuleSetting? On(string rule) => settings[rule] is { Enabled: true } set ? set : null;

    private void Add(RuleSetting set, IReadOnlyDictionary<string, string> labels, string summary, JsonObject evidence) =>
        _found.Add(new Finding(set.Rule.Name, set.Severity, labels, summary, evidence));

    private static Dictionary<string, string> Labels(SeriesKey key) => new() { ["class"] = key.Class.Name(), ["model"] = key.Model };

    private static Dictionary<string, string> Labels(ProbeFacts probe) => new() { ["probe"] = probe.Probe };

    private static JsonObject Compared(RankComparison compared) =>
        new()
        {
            ["events_before"] = compared.First,
            ["events"] = compared.Second,
            ["median_before_s"] = Seconds(compared.FirstMedian),
            ["median_s"] = Seconds(compared.SecondMedian),
            ["shift"] = Math.Round(compared.Shift, 4),
            ["superiority"] = Math.Round(compared.Superiority, 4),
            ["standard_errors"] = Math.Round(compared.Z, 2),
        };

    private static double Seconds(double microseconds) => Math.Round(microseconds / 1e6, 6);

    private static string Show(double microseconds) =>
        microseconds < 1e6 ? $"{microseconds / 1000:0.#} ms" : $"{microseconds / 1e6:0.##} s";

    private static string Percent(long part, long whole) => ((double)part / whole).ToString("P1", CultureInfo.InvariantCulture);

    private static string Moment(DateTimeOffset at) => at.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    private static string Length(TimeSpan length) =>
        length.TotalHours >= 24 ? $"{length.TotalDays:0.#} d"
        : length.TotalMinutes >= 60 ? $"{length.TotalHours:0.#} h"
        : length.TotalSeconds >= 60 ? $"{length.TotalMinutes:0.#} min"
        : $"{length.TotalSeconds:0.#} s";
}
