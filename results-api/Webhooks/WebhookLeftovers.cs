using Npgsql;
using Pipeline.ResultsApi.Recurring;
using Pipeline.ResultsApi.Recurring.Works;

namespace Pipeline.ResultsApi.Webhooks;

/// <summary>
/// Removes what endpoints leave behind: the log of deleted ones, then those themselves; callbacks that no job has used for as long as logs are
/// kept; secrets that sign no more.
/// </summary>
internal sealed class WebhookLeftovers(NpgsqlDataSource database, WebhookOptions options, RetentionOptions ages, TimeProvider time)
    : IRecurringWork
{
    public string Name => "webhook-leftovers";
    public string Purpose => "Removes deleted webhook endpoints with their log, callbacks long unused, and replaced secrets.";
    public Schedule Schedule { get; } = Schedule.Every(TimeSpan.FromMinutes(5));

    public async Task<IReadOnlyDictionary<string, long>> RunAsync(CancellationToken stop)
    {
        var removed = 0L;
        while (true)
        {
            await using var command = database.CreateCommand(LogSql);
            command.Parameters.Add(new NpgsqlParameter<int> { TypedValue = options.SweepRowsMax });
            var rows = (int)(await command.ExecuteScalarAsync(stop))!;
            removed += rows;
            if (rows < options.SweepRowsMax)
            {
                break;
            }
        }

        return new Dictionary<string, long> { ["deliveries_removed"] = removed, ["endpoints_removed"] = await RemoveEndpointsAsync(stop) };
    }

    private async Task<long> RemoveEndpointsAsync(CancellationToken stop)
    {
        var now = time.GetUtcNow();
        await using var command = database.CreateCommand(EmptySql);
        command.Parameters.Add(DeliveryQueue.Moment(now));
        command.Parameters.Add(DeliveryQueue.Moment(now - ages.Logs));
        try
        {
            return (long)(await command.ExecuteScalarAsync(stop))!;
        }
        catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.ForeignKeyViolation)
        {
            // A delivery was written for a callback that seemed unused: all stay until the next run.
            return 0;
        }
    }

    private const string LogSql = """
        WITH old AS MATERIALIZED (
          SELECT d.id FROM webhook_endpoints e JOIN webhook_deliveries d ON d.endpoint = e.id
          WHERE e.state = 'deleted' AND d.state <> 'pending' LIMIT $1
        ), removed AS (
          DELETE FROM webhook_deliveries d USING old WHERE d.id = old.id RETURNING d.id
        ), attempts AS (
          DELETE FROM webhook_attempts a USING removed WHERE a.delivery = removed.id
        )
        SELECT count(*)::int FROM removed
        """;

    private const string EmptySql = """
        WITH empty AS (
          DELETE FROM webhook_endpoints e
          WHERE (e.state = 'deleted' OR (e.callback AND e.created_at < $2))
            AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.endpoint = e.id)
          RETURNING id
        ), secrets AS (
          DELETE FROM webhook_secrets s WHERE s.expires_at < $1 OR s.owner IN (SELECT id FROM empty)
        )
        SELECT count(*) FROM empty
        """;
}
