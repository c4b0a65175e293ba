using System.CommandLine;
using System.Diagnostics;
using System.Text.Json;

namespace Pipeline.Simulator.Report;

/// <summary>
/// Lives the whole comparison and writes it down: <c>./pipeline simulate all</c>. What it writes depends on the seed and on nothing of
/// the machine but the CPU seconds of the day.
/// </summary>
internal static class ReportCommand
{
    public static Command Create()
    {
        var quick = new Option<bool>("--quick") { Description = "A smaller grid, in four minutes" };
        var seed = new Option<ulong>("--seed") { Description = "Seed of all chance", DefaultValueFactory = _ => 1 };
        var to = new Option<string?>("--out")
        {
            Description = "Folder to write REPORT.md and plots/ to (tests/simulator; with --quick a temporary folder)",
        };
        var command = new Command("all", "Compares all policies on a grid of scenarios, and writes REPORT.md with its plots.")
        {
            quick,
            seed,
            to,
        };
        command.SetAction(parsed =>
        {
            var watch = Stopwatch.StartNew();
            var plan = parsed.GetValue(quick) ? ReportPlan.Quick(parsed.GetValue(seed)) : ReportPlan.Full(parsed.GetValue(seed));
            var folder =
                parsed.GetValue(to) ?? (parsed.GetValue(quick) ? Path.Combine(Path.GetTempPath(), "pipeline-report-quick") : Folder);
            var (text, figures) = Make(plan, Environment.ProcessorCount, Console.Error);
            Write(folder, text);
            Console.Error.WriteLine($"{watch.Elapsed:mm\\:ss}  wrote {Path.GetFullPath(Path.Combine(folder, "REPORT.md"))}");
            Console.WriteLine(figures.Json());
            return 0;
        });
        return command;
    }

    /// <summary>Lives all cells, then writes chapter by chapter.</summary>
    public static (ReportText Text, Figures Figures) Make(ReportPlan plan, int threads, TextWriter progress)
    {
        var lives = new Lives();
        IChapter[] chapters =
        [
            new SingleClass(plan, lives),
            new Goodput(plan, lives),
            new MixedChapter(plan, lives),
            new StarvationChapter(plan, lives),
            new TwoPoolsChapter(plan, lives),
            new DayChapter(plan, lives),
            new UntunedChapter(plan, lives),
        ];
        Grid.Live(chapters.SelectMany(c => c.Cells), threads, progress);
        var (body, figures) = (new ReportText(), new Figures());
        foreach (var chapter in chapters)
        {
            chapter.Write(body, figures);
        }

        ReadFidelity(figures);
        Losses(body, figures, lives);
        var text = new ReportText();
        Begin(text, plan, figures);
        text.Block(body.ToString());
        foreach (var (name, plot) in body.Plots)
        {
            text.Plots[name] = plot;
        }

        return (text, figures);
    }

    private static void Begin(ReportText text, ReportPlan plan, Figures figures)
    {
        text.Block("# What the policy is worth, beside the published ones");
        text.Block(
            $"Made by `./pipeline simulate {plan.Name} --seed {plan.Seed}`; the same command writes the same report on any machine (but for the CPU seconds of chapter 6). "
                + "\"Ours\" is the policy of production, `scheduler/Policy`, in one configuration for all chapters. The others are re-implementations from the papers and the public code, behind the same interface and in the same "
                + "simulated world (README.md says what that world has and leaves out); they keep to their systems' ideas, not to their every line."
        );
        text.Table(
            ["figure", "here", "goal"],
            [
                [
                    "cells in which ours keeps at least what the best baseline keeps (1)",
                    $"{figures.CellsAtLeastBest} of {figures.Cells}",
                    "95 %",
                ],
                ["cells in which ours keeps 95 % of the ceiling (1)", $"{figures.CellsAtGoal} of {figures.Cells}", "all"],
                ["worst gap (1)", $"{ReportText.Number(figures.WorstGapPct, 2)} %", "1 %"],
                ["express attained, mixed, burstier trace (3)", Share(figures.ExpressAttainment, 3), "99.9 %"],
                ["bulk keeps, same life (3)", Share(figures.BulkRetained, 1), "90 %"],
                [
                    "cost saved at equal attainment (5)",
                    figures.CostSavingPct is { } saved ? $"{ReportText.Number(saved, 1)} %" : "none is equal",
                    "15 %",
                ],
                [
                    "fidelity to the running system, mean and most",
                    $"{Points(figures.FidelityMeanPt)}, {Points(figures.FidelityMaxPt)}",
                    "0.5, 1.6 points",
                ],
            ]
        );
    }

    private static void Losses(ReportText text, Figures figures, Lives lives)
    {
        text.Heading("8. Where ours loses, and why");
        if (figures.Losses.Count == 0)
        {
            text.Block("Nowhere in this run.");
        }

        figures.Losses.ForEach(loss => text.Line($"- {loss}"));
        text.Line();
        foreach (var (life, message) in lives.Failures)
        {
            text.Line($"- Failed: {life}: {message}");
        }

        text.Line();
        var kept = Path.Combine(Folder, "Report", "Weaknesses.md");
        if (File.Exists(kept))
        {
            text.Block(File.ReadAllText(kept).ReplaceLineEndings("\n").Trim());
        }
    }

    /// <summary>What the comparison with the running system came to, where it was made.</summary>
    private static void ReadFidelity(Figures figures)
    {
        var path = Path.Combine(Folder, "fidelity.json");
        if (File.Exists(path))
        {
            using var json = JsonDocument.Parse(File.ReadAllText(path));
            figures.FidelityMeanPt = json.RootElement.GetProperty("mean_pt").GetDouble();
            figures.FidelityMaxPt = json.RootElement.GetProperty("max_pt").GetDouble();
        }
    }

    private static void Write(string folder, ReportText text)
    {
        var plots = Directory.CreateDirectory(Path.Combine(folder, "plots"));
        foreach (var (name, plot) in text.Plots)
        {
            File.WriteAllText(Path.Combine(plots.FullName, name), plot);
        }

        File.WriteAllText(Path.Combine(folder, "REPORT.md"), text.ToString());
    }

    private static string Share(double? share, int digits) => share is { } known ? $"{ReportText.Percent(known, digits)} %" : "–";

    private static string Points(double? points) => points is { } known ? ReportText.Number(known, 2) : "not measured yet";

    /// <summary>Where the simulator lies in the repository.</summary>
    private static string Folder => Path.Combine(SharedData.Repository ?? ".", "tests", "simulator");
}
