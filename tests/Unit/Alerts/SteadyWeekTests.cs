using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Alerts;
using Xunit;

namespace Pipeline.Tests.Unit.Alerts;

/// <summary>
/// A week of three classes whose load has a day's rhythm, looked at every hour by all rules that look at hours: days that are compared, levels of cost,
/// waits that grow, budgets that burn. What looks at minutes is asked the same in <see cref="RegressionTests"/>.
/// </summary>
public class SteadyWeekTests
{
    private const int Week = 7 * 24;
    private const int TasksPerHour = 36_000;
    private static readonly DateTimeOffset Start = new(2026, 3, 2, 0, 0, 0, TimeSpan.Zero);

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Steady_load_with_a_days_rhythm_alarms_at_most_once_a_week_and_class(int seed)
    {
        var random = new Random(seed);
        var hours = new SlaHistory();
        for (var hour = 0; hour < 2 * 24; hour++)
        {
            AddHour(hours, hour, random);
        }

        var (alarms, ringing) = (new Dictionary<string, int>(), new HashSet<string>());
        for (var hour = 2 * 24; hour < 2 * 24 + Week; hour++)
        {
            var found = Look(hours, Start.AddHours(hour));
            foreach (var finding in found.Where(f => !ringing.Contains(f.Fingerprint)))
            {
                var latencyClass = finding.Labels["class"];
                alarms[latencyClass] = alarms.GetValueOrDefault(latencyClass) + 1;
            }

            ringing = [.. found.Select(f => f.Fingerprint)];
            AddHour(hours, hour, random);
            hours.Forget(Start, Start.AddHours(hour - 80));
        }

        Assert.All(alarms, alarm => Assert.True(alarm.Value <= 1, $"{alarm.Value} alarms of {alarm.Key}."));
    }

    /// <summary>Waits double by day, and everything scatters: tasks, their costs, and by a tenth the load of a day.</summary>
    private static void AddHour(SlaHistory hours, int hour, Random random)
    {
        foreach (var latencyClass in Enum.GetValues<LatencyClass>())
        {
            var target = SlaSums.TargetUs(latencyClass);
            var rhythm = 1.5 - (0.5 * Math.Cos(2 * Math.PI * hour / 24)) + (0.1 * ChangePointTests.Normal(random));
            var sums = hours.Of(Start.AddHours(hour), new SeriesKey(latencyClass, "words@1"));
            for (var part = 0; part < 400; part++)
            {
                var waits = 0.05 * target * rhythm * Math.Exp(0.5 * ChangePointTests.Normal(random));
                var runs = 0.02 * target * Math.Exp(0.3 * ChangePointTests.Normal(random));
                sums.AddSucceeded(latencyClass, TasksPerHour / 400, (long)waits, 1000, (long)runs, (long)(waits + runs + 1000));
            }

            sums[SlaCount.Succeeded] += TasksPerHour;
            sums[SlaCount.Ran] += TasksPerHour;
            // Fuller batches by day make a task cheaper.
            sums[SlaCount.CostPico] += (long)(
                TasksPerHour * 500_000.0 * (1.1 - (0.1 * rhythm)) * (1 + (0.05 * ChangePointTests.Normal(random)))
            );
            // One task in a thousand fails.
            sums[SlaCount.Failed] += random.Next(2 * TasksPerHour / 1000);
        }
    }

    private static IReadOnlyList<Finding> Look(SlaHistory hours, DateTimeOffset now)
    {
        var objectives = Enum.GetValues<LatencyClass>()
            .Select(latencyClass => new WatchedObjective(
                new Dictionary<string, string> { ["class"] = latencyClass.Name() },
                0.99,
                length =>
                {
                    var sums = hours.Sum(
                        k => k.Class == latencyClass,
                        now - (length < TimeSpan.FromHours(1) ? TimeSpan.FromHours(1) : length),
                        now
                    );
                    return new EventCount(sums.Answerable, sums.Answerable - sums[SlaCount.Within]);
                }
            ))
            .ToList();
        var facts = new AlertFacts
        {
            Now = now,
            Minutes = new SlaHistory(),
            Hours = hours,
            Objectives = objectives,
            Door = default,
            Probes = [],
            LateJobs = [],
            Open = new Dictionary<string, DateTimeOffset>(),
            Accepted = new Dictionary<string, DateTimeOffset>(),
        };
        return new AlertFinder(facts, AlertRules.All.ToDictionary(r => r.Name, RuleSetting.Of)).Find();
    }
}
