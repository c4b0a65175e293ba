using Npgsql;
using Pipeline.Hosting;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Alerts;

/// <summary>
/// Looks for what is wrong, again and again. Every instance looks, and a lock lets one of them at a time judge: alerts and the events that tell
/// of them are written in one transaction, so nothing is told twice, whoever dies.
/// </summary>
internal sealed partial class Alerter(
    NpgsqlDataSource database,
    AlertReader facts,
    AlertStore store,
    AlertOptions options,
    LoopBook loops,
    TimeProvider time,
    ILogger<Alerter> log
) : BackgroundService
{
    private readonly Loop _loop = loops.Add("alerts", "Looks for what is wrong, and raises and ends alerts.", options.LookEvery);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(options.LookEvery, time);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                if (!_loop.TryBegin())
                {
                    continue;
                }

                try
                {
                    await TurnAsync(stoppingToken);
                }
                catch (Exception e) when (Problems.IsLostServer(e) || e is TimeoutException)
                {
                    _loop.Fail(e.Message);
                    LogAway(log, e.Message);
                }
                catch (Exception e) when (e is PostgresException or InvalidDataException)
                {
                    _loop.Fail(e.Message);
                    LogFailed(log, e);
                }

                _loop.End();
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    /// <summary>One look. Returns what changed; nothing while another instance judges.</summary>
    internal async Task<IReadOnlyList<AlertChange>> TurnAsync(CancellationToken stop)
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var transaction = await connection.BeginTransactionAsync(stop);
        await using (
            var lockIt = new NpgsqlCommand("SELECT pg_try_advisory_xact_lock(hashtextextended('alerts', 0))", connection, transaction)
        )
        {
            if (await lockIt.ExecuteScalarAsync(stop) is not true)
            {
                return [];
            }
        }

        var settings = await store.SettingsAsync(stop);
        var seen = await facts.ReadAsync(stop);
        var findings = new AlertFinder(seen, settings).Find();
        var open = await AlertStore.OpenAsync(connection, transaction, stop);
        var now = time.GetUtcNow();
        var quiet = await AlertStore.QuietAsync(connection, transaction, now, stop);
        var changes = AlertBook.Judge(
            open,
            findings,
            rule => TimingOf(settings, rule),
            quiet,
            options.GroupWindow,
            now,
            () => Guid.CreateVersion7(now)
        );
        await AlertStore.WriteAsync(connection, transaction, changes, stop);
        await transaction.CommitAsync(stop);
        foreach (var (alert, tell) in changes)
        {
            if (tell)
            {
                LogTold(log, alert.State.Word(), alert.Severity.Word(), alert.Rule, alert.Summary);
            }
        }

        return changes;
    }

    /// <summary>An alert of a rule that is no more is resolved at the next look.</summary>
    private static AlertTiming TimingOf(Dictionary<string, RuleSetting> settings, string rule) =>
        settings.TryGetValue(rule, out var set) ? set.Timing : new AlertTiming(TimeSpan.Zero, TimeSpan.Zero, EscalateAfter: null);

    [LoggerMessage(91, LogLevel.Warning, "Could not look for what is wrong, and will again: {Reason}")]
    private static partial void LogAway(ILogger log, string reason);

    [LoggerMessage(92, LogLevel.Error, "It could not be looked for what is wrong, and no alert is raised until it can")]
    private static partial void LogFailed(ILogger log, Exception error);

    [LoggerMessage(93, LogLevel.Warning, "Alert {State} ({Severity}, {Rule}): {Summary}")]
    private static partial void LogTold(ILogger log, string state, string severity, string rule, string summary);
}
