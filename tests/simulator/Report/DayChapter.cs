using System.Globalization;

namespace Pipeline.Simulator.Report;

/// <summary>A day of 1,000 workers and ten million tasks.</summary>
internal sealed class DayChapter(ReportPlan plan, Lives lives) : IChapter
{
    private SimResult? _result;
    private double? _cpuSeconds;

    public IEnumerable<Cell> Cells => plan.Day ? [new Cell("day", 60, Live)] : [];

    private void Live()
    {
        var before = Grid.CpuSeconds();
        _result = lives.Live("day", Scenarios.Find("day"), Policies.Find(Policies.Ours), new Parameters { Seed = plan.Seed });
        _cpuSeconds = Grid.CpuSeconds() - before;
    }

    public void Write(ReportText text, Figures figures)
    {
        text.Heading("6. A day: 1,000 workers, 10 million tasks");
        if (!plan.Day)
        {
            text.Block("Left out of the quick report.");
        }
        else if (_result is not { } day)
        {
            text.Block("Ours failed.");
        }
        else
        {
            Write(text, day);
        }
    }

    private void Write(ReportText text, SimResult day)
    {
        var cpu = _cpuSeconds is { } seconds
            ? string.Create(CultureInfo.InvariantCulture, $"{seconds:0} s of CPU on one core, while the other cores lived other cells")
            : "CPU time is not known here";
        text.Block(
            FormattableString.Invariant(
                $"4 million express tasks on a daily curve (ten tenants, target 60 s) and 24 bulk jobs of 250,000 (due in 6 h), 2 s + 3 s a task a batch. Express attained {100 * day.Express.Attainment:0.000} %, bulk {100 * day.Bulk.Attainment:0.000} %, {day.Bulk.Starved:N0} starved; express waits {day.Express.Wait.Quantile(0.99) / TimeSpan.TicksPerSecond:0.0} s at the 99th percentile and {(double)day.Express.Wait.Max / TimeSpan.TicksPerSecond:0.0} s at most, bulk {day.Bulk.Wait.Max / (double)TimeSpan.TicksPerHour:0.00} h at most; devices are busy {100 * day.Utilisation:0.0} % of the time. {day.Events:N0} events, {day.Plans:N0} turns, {day.Decisions:N0} decisions: {cpu} (goal: 120 s)."
            )
        );
    }
}
