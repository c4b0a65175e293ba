using Pipeline.ResultsApi.Alerts;
using Xunit;

namespace Pipeline.Tests.Unit.Alerts;

/// <summary>
/// A simulated service: tasks come at random around a rate that has a day's rhythm, wait for one server, and take a time that scatters. What
/// is asked of the detector is asked of it as it runs: looked at every minute, at what was known then.
/// </summary>
public class RegressionTests
{
    private static readonly DateTimeOffset Start = new(2026, 3, 2, 0, 0, 0, TimeSpan.Zero);
    private const int DayMinutes = 24 * 60;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Steady_load_with_a_days_rhythm_alarms_at_most_once_a_week(int seed)
    {
        var week = new Service(seed, 7 * DayMinutes, perSecond: 10);

        Assert.InRange(week.Alarms(from: 60).Count, 0, 1);
    }

    [Theory]
    [InlineData(1, 9)]
    [InlineData(2, 9)]
    [InlineData(3, 3)]
    [InlineData(4, 15)]
    [InlineData(5, 21)]
    public void A_slowdown_of_a_fifth_is_found_within_ten_minutes_at_ten_tasks_a_second(int seed, int hour)
    {
        var slowAt = DayMinutes + (hour * 60);
        var service = new Service(seed, slowAt + 30, perSecond: 10, slowAt, slowBy: 1.2);

        var alarm = service.Alarms(from: 60).FirstOrDefault();

        Assert.InRange(alarm, slowAt, slowAt + 10);
    }

    [Fact]
    public void It_is_found_on_the_first_day_when_there_is_no_yesterday()
    {
        var service = new Service(seed: 6, minutes: 150, perSecond: 10, slowAt: 120, slowBy: 1.2);

        Assert.InRange(Assert.Single(service.Alarms(from: 60)), 120, 130);
    }

    [Fact]
    public void What_was_found_stays_found_while_it_lasts_and_not_longer()
    {
        var (slowAt, wellAt) = (DayMinutes + 120, DayMinutes + 480);
        var service = new Service(seed: 8, minutes: wellAt + 120, perSecond: 10, slowAt, slowBy: 1.2, wellAt);

        var found = Enumerable
            .Range(slowAt + 10, 460)
            .Where(minute => service.Look(minute, Start.AddMinutes(slowAt + 1)) is not null)
            .ToList();

        Assert.Equal(Enumerable.Range(slowAt + 10, 350), found.Where(minute => minute < wellAt));
        Assert.DoesNotContain(found, minute => minute > wellAt + 10);
    }

    [Fact]
    public void Few_events_are_not_judged()
    {
        var service = new Service(seed: 9, minutes: 150, perSecond: 1, slowAt: 120, slowBy: 1.5);

        Assert.Empty(service.Alarms(from: 60));
    }

    /// <summary>Bins of 2 % of the times from acceptance to the end, for every minute.</summary>
    private sealed class Service
    {
        private const int Bins = 500;
        private readonly int[][] _minutes;

        public Service(int seed, int minutes, int perSecond, int slowAt = int.MaxValue, double slowBy = 1, int wellAt = int.MaxValue)
        {
            var random = new Random(seed);
            _minutes = [.. Enumerable.Range(0, minutes).Select(_ => new int[Bins])];
            // Seconds; a server that is busy for 35 % of the night and 65 % of the day.
            var (clock, free) = (0.0, 0.0);
            while (true)
            {
                var rhythm = 1 - (0.3 * Math.Cos(2 * Math.PI * clock / 86_400));
                clock += -Math.Log(1 - random.NextDouble()) / (perSecond * rhythm);
                var minute = (int)(clock / 60);
                if (minute >= minutes)
                {
                    return;
                }

                var slow = minute >= slowAt && minute < wellAt ? slowBy : 1;
                var takes = slow * 0.045 / perSecond * 10 * Math.Exp(0.4 * ChangePointTests.Normal(random));
                free = Math.Max(clock, free) + takes;
                // Beside the queue every task has a fixed way of its own, which slows down with the rest.
                var latency = (free - clock) + (slow * 0.1);
                _minutes[minute][Math.Clamp((int)(Math.Log(latency / 0.001) / 0.02), 0, Bins - 1)]++;
            }
        }

        /// <summary>The minutes at which an alarm begins; one that lasts is one.</summary>
        public List<int> Alarms(int from)
        {
            var alarms = new List<int>();
            var ringing = false;
            for (var minute = from; minute <= _minutes.Length; minute++)
            {
                var found = Look(minute, ringing ? Start.AddMinutes(alarms[^1]) : null) is not null;
                if (found && !ringing)
                {
                    alarms.Add(minute);
                }

                ringing = found;
            }

            return alarms;
        }

        public Regressed? Look(int minute, DateTimeOffset? began) =>
            Regression.Of(Between, Start.AddMinutes(minute), began, RegressionBounds.Default);

        private Weighted[] Between(DateTimeOffset from, DateTimeOffset to)
        {
            var sums = new int[Bins];
            var (first, end) = (Math.Max(0, (int)(from - Start).TotalMinutes), Math.Min(_minutes.Length, (int)(to - Start).TotalMinutes));
            for (var minute = first; minute < end; minute++)
            {
                for (var bin = 0; bin < Bins; bin++)
                {
                    sums[bin] += _minutes[minute][bin];
                }
            }

            return [.. sums.Select((count, bin) => new Weighted(0.001 * Math.Exp((bin + 0.5) * 0.02), count)).Where(b => b.Count > 0)];
        }
    }
}
