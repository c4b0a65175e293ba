using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Hosting;

namespace Pipeline.Migrations;

/// <summary>
/// One loop of this process as its owner sees it. A turn is <see cref="TryBegin"/>, the work, <see cref="End"/>; neither waits for anything.
/// </summary>
public sealed class Loop(string name, string purpose, TimeSpan every, TimeProvider time)
{
    private readonly Lock _lock = new();
    private LoopTurns _turns;
    private DateTimeOffset? _askedAt;
    private bool _paused;
    private bool _asked;
    private string? _error;
    private DateTimeOffset _startedAt;

    public string Name => name;
    public string Purpose => purpose;
    public TimeSpan Every => every;

    /// <summary>False while operators have paused it, but for one turn each time they ask for one.</summary>
    public bool TryBegin()
    {
        lock (_lock)
        {
            if (_paused && !_asked)
            {
                return false;
            }

            (_asked, _error, _startedAt) = (false, null, time.GetUtcNow());
            return true;
        }
    }

    /// <summary>Notes that the turn that was begun has failed; it is to be ended all the same.</summary>
    public void Fail(string error)
    {
        lock (_lock)
        {
            _error = error;
        }
    }

    public void End()
    {
        lock (_lock)
        {
            var failures = _turns.Failures + (_error is null ? 0 : 1);
            _turns = new LoopTurns(_turns.Turns + 1, failures, _startedAt, time.GetUtcNow(), _error);
        }
    }

    /// <summary>What was done since it was last told, and no more is.</summary>
    internal LoopTurns Take()
    {
        lock (_lock)
        {
            var turns = _turns;
            _turns = turns with { Turns = 0, Failures = 0 };
            return turns;
        }
    }

    /// <summary>Counts again what could not be written.</summary>
    internal void GiveBack(LoopTurns turns)
    {
        lock (_lock)
        {
            var last = _turns.Turns > 0 ? _turns : turns;
            _turns = last with { Turns = _turns.Turns + turns.Turns, Failures = _turns.Failures + turns.Failures };
        }
    }

    /// <param name="askedAt">When a turn was last asked for; what was asked for before this process began is not its business.</param>
    internal void Steer(bool paused, DateTimeOffset? askedAt, DateTimeOffset since)
    {
        lock (_lock)
        {
            _paused = paused;
            _asked |= askedAt > (_askedAt ?? since);
            _askedAt = askedAt;
        }
    }
}

/// <summary>Turns of a loop since they were last written, and the last of them.</summary>
internal readonly record struct LoopTurns(long Turns, long Failures, DateTimeOffset StartedAt, DateTimeOffset EndedAt, string? Error);

/// <summary>
/// The loops of this process in <c>recurring_loops</c>: every few seconds it writes how they went, and reads whether operators have paused
/// them. So a loop itself never asks the database for it, and a pause takes those seconds to be heeded.
/// </summary>
public sealed partial class LoopBook(NpgsqlDataSource database, TimeProvider time, ILogger<LoopBook> log) : BackgroundService
{
    public static readonly TimeSpan WriteEvery = TimeSpan.FromSeconds(2);
    private const int ErrorLengthMax = 2000;

    private readonly List<Loop> _loops = [];
    private readonly string _instance = $"{Environment.MachineName}-{Environment.ProcessId}";
    private readonly DateTimeOffset _since = time.GetUtcNow();

    /// <summary>Enters a loop.</summary>
    /// <param name="name">Lower case, words joined by hyphens; never changed.</param>
    /// <param name="purpose">What it does, in a sentence for operators.</param>
    /// <param name="every">The time between its turns.</param>
    public Loop Add(string name, string purpose, TimeSpan every)
    {
        var loop = new Loop(name, purpose, every, time);
        lock (_loops)
        {
            _loops.Add(loop);
            _loops.Sort((a, b) => string.CompareOrdinal(a.Name, b.Name));
        }

        return loop;
    }

    /// <summary>Writes what the loops did since the last time, and reads what is wanted of them.</summary>
    public async Task TurnAsync(CancellationToken stop)
    {
        List<Loop> loops;
        lock (_loops)
        {
            loops = [.. _loops];
        }

        var turns = loops.ConvertAll(loop => loop.Take());
        try
        {
            await WriteAsync(loops, turns, stop);
        }
        catch
        {
            for (var i = 0; i < loops.Count; i++)
            {
                loops[i].GiveBack(turns[i]);
            }

            throw;
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(WriteEvery, time);
        try
        {
            do
            {
                try
                {
                    await TurnAsync(stoppingToken);
                }
                catch (Exception e) when (Problems.IsLostServer(e) || e is TimeoutException or PostgresException)
                {
                    LogAgain(log, e.Message);
                }
            } while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    /// <summary>Rows in the order of their names, as all processes write them.</summary>
    private async Task WriteAsync(List<Loop> loops, List<LoopTurns> turns, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            INSERT INTO recurring_loops AS l (name, purpose, every, started_at, ended_at, error, instance, turns, failures)
            SELECT u.name, u.purpose, u.every, u.started_at, u.ended_at, u.error, CASE WHEN u.turns > 0 THEN $9 END, u.turns, u.failures
            FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) AS u (name, purpose, every, started_at, ended_at, error, turns, failures)
            ON CONFLICT (name) DO UPDATE SET
              purpose = excluded.purpose, every = excluded.every, started_at = coalesce(excluded.started_at, l.started_at),
              ended_at = coalesce(excluded.ended_at, l.ended_at), instance = coalesce(excluded.instance, l.instance),
              error = CASE WHEN excluded.turns > 0 THEN excluded.error ELSE l.error END,
              turns = l.turns + excluded.turns, failures = l.failures + excluded.failures
            RETURNING name, paused, asked_at
            """
        );
        Add(NpgsqlDbType.Text, loops.Select(l => l.Name).ToArray());
        Add(NpgsqlDbType.Text, loops.Select(l => l.Purpose).ToArray());
        Add(NpgsqlDbType.Interval, loops.Select(l => l.Every).ToArray());
        Add(NpgsqlDbType.TimestampTz, turns.Select(t => t.Turns > 0 ? t.StartedAt.UtcDateTime : (DateTime?)null).ToArray());
        Add(NpgsqlDbType.TimestampTz, turns.Select(t => t.Turns > 0 ? t.EndedAt.UtcDateTime : (DateTime?)null).ToArray());
        Add(NpgsqlDbType.Text, turns.Select(t => t.Error?.Length > ErrorLengthMax ? t.Error[..ErrorLengthMax] : t.Error).ToArray());
        Add(NpgsqlDbType.Bigint, turns.Select(t => t.Turns).ToArray());
        Add(NpgsqlDbType.Bigint, turns.Select(t => t.Failures).ToArray());
        command.Parameters.Add(new() { Value = _instance });
        await using var reader = await command.ExecuteReaderAsync(stop);
        while (await reader.ReadAsync(stop))
        {
            var loop = loops.Find(l => l.Name == reader.GetString(0))!;
            DateTimeOffset? askedAt = await reader.IsDBNullAsync(2, stop) ? null : reader.GetFieldValue<DateTimeOffset>(2);
            loop.Steer(reader.GetBoolean(1), askedAt, _since);
        }

        void Add(NpgsqlDbType element, object values) =>
            command.Parameters.Add(new() { Value = values, NpgsqlDbType = NpgsqlDbType.Array | element });
    }

    [LoggerMessage(104, LogLevel.Warning, "Could not write how the loops went, and will again: {Reason}")]
    private static partial void LogAgain(ILogger log, string reason);
}

public static class LoopServices
{
    /// <summary>Adds the book of the process's loops, once, whichever services share the process.</summary>
    public static IServiceCollection AddLoops(this IServiceCollection services)
    {
        services.TryAddSingleton<LoopBook>();
        return services.AddHostedService(static provider => provider.GetRequiredService<LoopBook>());
    }
}
