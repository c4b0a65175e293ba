using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;

namespace Pipeline.Simulator.Report;

/// <summary>A part of the report that is lived by itself and leaves what came of it in a place of its own.</summary>
/// <param name="Weight">About how long it takes, in the unit of the other cells; the longest begin first.</param>
internal sealed record Cell(string Name, double Weight, Action Live);

/// <summary>A chapter: cells, lived in any order, and what is written of them when all have been.</summary>
internal interface IChapter
{
    IEnumerable<Cell> Cells { get; }

    void Write(ReportText text, Figures figures);
}

/// <summary>Lives cells on all cores. No cell knows of another, so neither their order nor the number of threads changes a result.</summary>
internal static class Grid
{
    public static void Live(IEnumerable<Cell> cells, int threads, TextWriter progress)
    {
        var waiting = cells.OrderByDescending(c => c.Weight).ToList();
        var (all, done, count) = (waiting.Sum(c => c.Weight), 0.0, waiting.Count);
        var watch = Stopwatch.StartNew();
        var ordered = Partitioner.Create(waiting, EnumerablePartitionerOptions.NoBuffering);
        Parallel.ForEach(
            ordered,
            new ParallelOptions { MaxDegreeOfParallelism = threads },
            cell =>
            {
                var before = CpuSeconds();
                cell.Live();
                var cpu = CpuSeconds() - before;
                lock (waiting)
                {
                    done += cell.Weight;
                    var left = TimeSpan.FromSeconds(watch.Elapsed.TotalSeconds * (all - done) / done);
                    progress.WriteLine(
                        string.Create(
                            CultureInfo.InvariantCulture,
                            $"{watch.Elapsed:mm\\:ss}  {100 * done / all, 5:0.0} %  about {left:mm\\:ss} left  {--count} cells to go  {cell.Name} ({cpu:0.0} s)"
                        )
                    );
                }
            }
        );
    }

    /// <summary>What this thread has run so far, where the system says (Linux counts nanoseconds a thread).</summary>
    public static double? CpuSeconds()
    {
        const string Counted = "/proc/thread-self/schedstat";
        return File.Exists(Counted) && long.TryParse(File.ReadAllText(Counted).Split(' ')[0], CultureInfo.InvariantCulture, out var ns)
            ? ns / 1e9
            : null;
    }
}
