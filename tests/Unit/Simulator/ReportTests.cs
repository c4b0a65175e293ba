using System.Text.Json;
using Pipeline.Simulator.Report;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator;

public sealed class ReportTests
{
    [Fact]
    public void The_same_plan_writes_the_same_report_on_one_thread_and_on_three()
    {
        var plan = ReportPlan.Mini(seed: 5);
        var (one, figures) = ReportCommand.Make(plan, threads: 1, TextWriter.Null);
        var (three, again) = ReportCommand.Make(plan, threads: 3, TextWriter.Null);
        Assert.Equal(one.ToString(), three.ToString());
        Assert.Equal(one.Plots.OrderBy(p => p.Key), three.Plots.OrderBy(p => p.Key));
        Assert.Equal(figures.Json(), again.Json());
        Assert.Contains("## 8. Where ours loses, and why", one.ToString(), StringComparison.Ordinal);
        Assert.All(one.Plots.Keys, name => Assert.Contains($"(plots/{name})", one.ToString(), StringComparison.Ordinal));
    }

    [Fact]
    public void The_last_line_has_every_figure_and_null_for_what_is_not_known()
    {
        using var json = JsonDocument.Parse(
            new Figures
            {
                Cells = 4,
                CellsAtLeastBest = 3,
                ExpressAttainment = 0.9995,
            }.Json()
        );
        Assert.Equal(
            [
                "cells",
                "cells_at_least_best",
                "worst_gap_pct",
                "express_attainment",
                "bulk_retained",
                "cost_saving_pct",
                "fidelity_mean_pt",
                "fidelity_max_pt",
            ],
            json.RootElement.EnumerateObject().Select(p => p.Name)
        );
        Assert.Equal(0.9995, json.RootElement.GetProperty("express_attainment").GetDouble());
        Assert.Equal(JsonValueKind.Null, json.RootElement.GetProperty("fidelity_mean_pt").ValueKind);
    }

    [Fact]
    public void Every_cell_is_lived_once_whatever_the_number_of_threads()
    {
        var lived = new int[50];
        Grid.Live(lived.Select((_, i) => new Cell($"{i}", i % 7, () => Interlocked.Increment(ref lived[i]))), threads: 4, TextWriter.Null);
        Assert.All(lived, times => Assert.Equal(1, times));
    }
}
