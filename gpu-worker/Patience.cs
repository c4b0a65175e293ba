using Microsoft.Extensions.Logging;
using Npgsql;

namespace Pipeline.GpuWorker;

/// <summary>Asks PostgreSQL again and again while it is away, each pause twice as long as the one before, up to a maximum.</summary>
internal static partial class Patience
{
    /// <exception cref="PostgresException">It is there, and refuses: asking again gives the same answer.</exception>
    public static async Task UntilAsync(Func<CancellationToken, Task> ask, WorkerParts parts, ILogger log, CancellationToken stop)
    {
        var options = parts.Options;
        for (var pause = options.RetryPauseMin; ; pause = Next(pause, options))
        {
            try
            {
                await ask(stop);
                return;
            }
            catch (Exception e) when (IsAway(e) && !stop.IsCancellationRequested)
            {
                LogAway(log, pause.TotalMilliseconds, e.Message);
                await Task.Delay(pause, parts.Time, stop);
            }
        }
    }

    public static TimeSpan Next(TimeSpan pause, WorkerOptions options) =>
        pause * 2 < options.RetryPauseMax ? pause * 2 : options.RetryPauseMax;

    /// <summary>True for whatever may be otherwise later: no connection, a server that starts or stops, a deadlock, a full disk.</summary>
    public static bool IsAway(Exception e) =>
        e switch
        {
            PostgresException refusal => !IsRefusal(refusal),
            NpgsqlException or IOException or TimeoutException => true,
            _ => false,
        };

    /// <summary>Classes 22 (data) and 23 (constraints) of PostgreSQL's error codes: the same question gets the same answer.</summary>
    public static bool IsRefusal(PostgresException e) =>
        e.SqlState.StartsWith("22", StringComparison.Ordinal) || e.SqlState.StartsWith("23", StringComparison.Ordinal);

    [LoggerMessage(1, LogLevel.Warning, "PostgreSQL is away, next attempt in {PauseMs} ms: {Reason}")]
    private static partial void LogAway(ILogger log, double pauseMs, string reason);
}
