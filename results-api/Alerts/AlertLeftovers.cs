using Npgsql;
using Pipeline.ResultsApi.Alerts.Probes;
using Pipeline.ResultsApi.Recurring;
using Pipeline.ResultsApi.Webhooks;

namespace Pipeline.ResultsApi.Alerts;

/// <summary>Removes alerts and silences that ended long ago, and old runs of probes.</summary>
internal sealed class AlertLeftovers(NpgsqlDataSource database, AlertOptions alerts, ProbeOptions probes, TimeProvider time)
    : IRecurringWork
{
    public string Name => "alert-leftovers";
    public string Purpose => "Removes alerts and silences that ended long ago, and old runs of probes.";
    public Schedule Schedule { get; } = Schedule.Every(TimeSpan.FromHours(1));

    public async Task<IReadOnlyDictionary<string, long>> RunAsync(CancellationToken stop)
    {
        var now = time.GetUtcNow();
        return new Dictionary<string, long>
        {
            ["alerts"] = await RemoveAsync("alerts WHERE state = 'resolved' AND resolved_at < $1", now - alerts.Keep, stop),
            ["silences"] = await RemoveAsync("alert_silences WHERE ends_at < $1", now - alerts.Keep, stop),
            ["probe_runs"] = await RemoveAsync("probe_runs WHERE at < $1", now - probes.KeepRuns, stop),
        };
    }

    private async Task<long> RemoveAsync(string what, DateTimeOffset before, CancellationToken stop)
    {
        await using var command = database.CreateCommand($"DELETE FROM {what}");
        command.Parameters.Add(DeliveryQueue.Moment(before));
        return await command.ExecuteNonQueryAsync(stop);
    }
}
