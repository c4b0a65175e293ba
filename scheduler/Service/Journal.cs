using Pipeline.Scheduler.Policy;

namespace Pipeline.Scheduler.Service;

/// <summary>
/// Writes down what the planner observes and when it plans, a file for each term, so that <c>pipeline replay</c> can live the term
/// again. The loop only leaves lines in a queue; when they are written, or whether they can be, never holds it up.
/// </summary>
internal sealed partial class Journal(SchedulerOptions options, TimeProvider time, ILogger<Journal> log)
{
    private readonly JournalOptions _options = options.Journal;
    private JournalFile? _file;
    private Task _written = Task.CompletedTask;

    /// <summary>Starts the journal of a term, where journals are wanted.</summary>
    public void Begin(long epoch, DateTimeOffset at)
    {
        if (_options.Folder is null)
        {
            return;
        }

        End(at, "another term began");
        _file = new JournalFile(new JournalHead(JournalForm.Program, at.UtcTicks, epoch, options.Policy), _options);
        _written = Task.WhenAll(_written, WriteAsync(_file));
    }

    public void Observed(Fact fact, DateTimeOffset at) => _file?.Add(new JournalFact(at.UtcTicks, fact));

    public void Planned(IReadOnlyList<Decision> decisions, DateTimeOffset at) => _file?.AddPlan(decisions, at.UtcTicks);

    /// <summary>Ends the term's file with the reason.</summary>
    public void End(DateTimeOffset at, string reason)
    {
        _file?.End(at.UtcTicks, reason);
        _file = null;
    }

    /// <summary>Waits until what was ended is written.</summary>
    public Task DrainAsync() => _written;

    /// <summary>Runs beside the loop. A disk that is full ends this journal and nothing else.</summary>
    private Task WriteAsync(JournalFile file) =>
        Task.Run(async () =>
        {
            try
            {
                Directory.CreateDirectory(_options.Folder!);
                var path = Path.Combine(_options.Folder!, file.Name);
                RemoveOld();
                LogBegun(log, path);
                if (await file.WriteAsync(path, time) is { } cut)
                {
                    LogCut(log, path, cut);
                }
            }
            catch (Exception e)
            {
                file.Abandon();
                LogFailed(log, file.Name, e.Message);
            }
        });

    /// <summary>Names sort by the time they tell, so the first are the oldest. One place is left for the file that comes.</summary>
    private void RemoveOld()
    {
        var old = Directory.GetFiles(_options.Folder!, JournalFile.Pattern).Order(StringComparer.Ordinal).ToList();
        foreach (var path in old.SkipLast(_options.FilesKept - 1))
        {
            File.Delete(path);
        }
    }

    [LoggerMessage(1, LogLevel.Information, "What is observed and planned is written to {Path}")]
    private static partial void LogBegun(ILogger log, string path);

    [LoggerMessage(2, LogLevel.Warning, "The journal {Path} ends before its term: {Reason}. Scheduling goes on")]
    private static partial void LogCut(ILogger log, string path, string reason);

    [LoggerMessage(3, LogLevel.Warning, "The journal {Name} could not be written: {Reason}. Scheduling goes on")]
    private static partial void LogFailed(ILogger log, string name, string reason);
}
