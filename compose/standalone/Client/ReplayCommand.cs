using System.CommandLine;
using System.Globalization;
using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Scheduler.Service;

namespace Pipeline.Standalone.Client;

/// <summary>
/// <c>replay</c>: feeds a scheduler's journal into a fresh planner and shows that it decides the same. It needs no running system.
/// </summary>
internal static class ReplayCommand
{
    public static Command Create()
    {
        var file = new Argument<string>("file") { Description = "The journal, as the scheduler wrote it (.ndjson or .ndjson.gz)" };
        var until = new Option<string?>("--until")
        {
            Description = "Stop before what happened at this time or later (2026-01-02T03:04:05Z)",
        };
        var decisions = new Option<bool>("--decisions") { Description = "Print every decision with its reason, one a line" };
        var job = new Option<string?>("--job") { Description = "Print the decisions about this job" };
        var command = new Command(
            "replay",
            "Live a scheduler's journal again in a fresh planner. Exit code 1 when it decides something else than was recorded, or the file cannot be read."
        )
        {
            file,
            until,
            decisions,
            job,
        };
        command.SetAction(parsed =>
            Run(
                parsed.GetValue(file)!,
                parsed.GetValue(until) is { } time ? Time(time) : null,
                parsed.GetValue(job) is { } id ? About(id)
                    : parsed.GetValue(decisions) ? static _ => true
                    : static _ => false
            )
        );
        return command;
    }

    private static int Run(string path, DateTimeOffset? until, Func<Decision, bool> shown)
    {
        if (!File.Exists(path))
        {
            throw new CommandException($"There is no file {path}.");
        }

        try
        {
            using var journal = JournalReader.Open(path);
            return Replay(journal, until, shown);
        }
        catch (JournalException e)
        {
            throw new CommandException(e.Message);
        }
    }

    private static int Replay(JournalReader journal, DateTimeOffset? until, Func<Decision, bool> shown)
    {
        var replay = new JournalReplay(journal.Head);
        var (last, end, differs) = (journal.Head.Started, (string?)null, (string?)null);
        foreach (var line in journal.Lines())
        {
            if (line.Ticks >= until?.UtcTicks)
            {
                end = $"stopped before line {journal.Line}";
                break;
            }

            last = Math.Max(last, line.Ticks);
            end = (line as JournalEnd)?.Reason;
            foreach (var decision in Take(replay, line, journal.Line).Where(shown))
            {
                Console.WriteLine(Show(decision, line.Ticks));
            }

            if (replay.Difference is { } difference)
            {
                differs ??= $"differs at line {journal.Line}: {difference}";
            }
        }

        Tell(journal, replay, new TimeSpan(last - journal.Head.Started), journal.CutOff ?? end ?? "the file ends here, and says no reason");
        Console.WriteLine(differs ?? "same decisions as recorded");
        return differs is null ? ExitCode.Ok : ExitCode.Failed;
    }

    /// <summary>A policy that throws is what a replay is for: it says at which line.</summary>
    private static IReadOnlyList<Decision> Take(JournalReplay replay, JournalLine line, int number)
    {
        try
        {
            return replay.Take(line);
        }
        catch (Exception e)
        {
            throw new CommandException($"The policy failed at line {number}: {e}");
        }
    }

    private static void Tell(JournalReader journal, JournalReplay replay, TimeSpan time, string end)
    {
        var head = journal.Head;
        Console.WriteLine(
            string.Create(
                CultureInfo.InvariantCulture,
                $"epoch {head.Epoch}, {At(head.Started)}, {time:c}: {replay.Facts:N0} facts, {replay.Plans:N0} plans, {replay.Decisions:N0} decisions"
            )
        );
        Console.WriteLine($"end: {end}");
        if (head.Program != JournalForm.Program)
        {
            Console.WriteLine($"written by version {head.Program}, replayed by {JournalForm.Program}: another policy may decide otherwise");
        }

        Console.WriteLine($"hash {TraceHash.Text(replay.Hash)}");
    }

    private static string Show(Decision decision, long ticks)
    {
        var what = decision switch
        {
            SendDispatch { Dispatch: var d } => $" -> {d.Lane.Name()} of worker {d.Worker}, dispatch {d.Id}, {d.Slices.Count} slices",
            EndChunks end => $" -> {end.Chunks.Count} chunks of job {end.Chunks[0].Job} end {end.Outcome.Name()}",
            FailTasks fail => $" -> {(fail.FirstOnly ? "the first task" : "tasks")} of chunk {fail.Slice.Chunk}",
            DeclareLost lost => $" -> worker {lost.Worker}",
            WantWorkers want => $" -> {want.Workers} workers in pool {want.Pool}",
            _ => "",
        };
        return $"{At(ticks)} {JournalNames.Of(decision) ?? decision.GetType().Name} {decision.Why}{what}";
    }

    private static string At(long ticks) => new DateTime(ticks, DateTimeKind.Utc).ToString("O", CultureInfo.InvariantCulture);

    private static Func<Decision, bool> About(string id) =>
        JobId.TryParse(id, out var job)
            ? decision => DecisionLog.JobsOf(decision).Contains(job)
            : throw new CommandException($"--job expects the id of a job, given \"{id}\".");

    private static DateTimeOffset Time(string text) =>
        DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time)
            ? time
            : throw new CommandException($"--until expects a time as in RFC 3339 (2026-01-02T03:04:05Z), given \"{text}\".");
}
