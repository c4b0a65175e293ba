using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;

namespace Pipeline.Ingest.Door;

/// <summary>
/// Writes the door's counts, all that have changed in one statement. They are written as they stand, under this process's own name: a write
/// whose outcome nobody knows is simply repeated. What a process that dies had counted since its last write is lost.
/// </summary>
internal sealed partial class DoorCountsWriter(
    NpgsqlDataSource database,
    DoorCounts counts,
    IngestOptions options,
    TimeProvider time,
    ILogger<DoorCountsWriter> log
) : BackgroundService
{
    private readonly Guid _instance = Guid.CreateVersion7();

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(options.DoorCountsEvery, time);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                await TurnAsync(stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping: what is left is written below.
        }

        using var soon = new CancellationTokenSource(options.DoorCountsEvery, time);
        await TurnAsync(soon.Token);
    }

    /// <summary>Writes what has changed; what fails is written by a later turn.</summary>
    internal async Task TurnAsync(CancellationToken stop)
    {
        var unwritten = counts.Unwritten();
        if (unwritten.Count == 0)
        {
            return;
        }

        try
        {
            await WriteAsync(unwritten, stop);
            counts.Written(unwritten);
        }
        catch (Exception e) when (Problems.IsLostServer(e) || e is TimeoutException or OperationCanceledException)
        {
            LogAway(log, e.Message);
        }
        catch (PostgresException e)
        {
            LogFailed(log, e.SqlState, e.MessageText);
        }
    }

    private async Task WriteAsync(IReadOnlyList<(DoorKey Key, DoorCount Count)> rows, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            INSERT INTO sla_doors (at, tenant, class, model, instance, accepted, limited, client_faults, failed, disconnects)
            SELECT u.at, u.tenant, u.class, u.model, $10, u.accepted, u.limited, u.client_faults, u.failed, u.gone::bigint[]
            FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) AS u (at, tenant, class, model, accepted, limited, client_faults, failed, gone)
            ON CONFLICT (at, tenant, class, model, instance) DO UPDATE SET
              accepted = excluded.accepted, limited = excluded.limited, client_faults = excluded.client_faults, failed = excluded.failed,
              disconnects = excluded.disconnects
            """
        );
        Add(NpgsqlDbType.TimestampTz, rows.Select(r => r.Key.Minute).ToArray());
        Add(NpgsqlDbType.Uuid, rows.Select(r => r.Key.Tenant.Value).ToArray());
        Add(NpgsqlDbType.Text, rows.Select(r => r.Key.Class.Name()).ToArray());
        Add(NpgsqlDbType.Text, rows.Select(r => r.Key.Model).ToArray());
        Add(NpgsqlDbType.Bigint, rows.Select(r => r.Count.Accepted).ToArray());
        Add(NpgsqlDbType.Bigint, rows.Select(r => r.Count.Limited).ToArray());
        Add(NpgsqlDbType.Bigint, rows.Select(r => r.Count.ClientFaults).ToArray());
        Add(NpgsqlDbType.Bigint, rows.Select(r => r.Count.Failed).ToArray());

        // An array of arrays would be unnested to its numbers, so each row's five come as text.
        Add(NpgsqlDbType.Text, rows.Select(r => $"{{{string.Join(',', r.Count.Disconnects)}}}").ToArray());
        command.Parameters.Add(new() { Value = _instance });
        await command.ExecuteNonQueryAsync(stop);

        void Add(NpgsqlDbType element, object values) =>
            command.Parameters.Add(new() { Value = values, NpgsqlDbType = NpgsqlDbType.Array | element });
    }

    [LoggerMessage(96, LogLevel.Warning, "Could not write the door's counts, and will again: {Reason}")]
    private static partial void LogAway(ILogger log, string reason);

    [LoggerMessage(
        97,
        LogLevel.Error,
        "The door's counts were refused ({SqlState}: {Reason}), and will be tried again; availability stands still until then"
    )]
    private static partial void LogFailed(ILogger log, string sqlState, string reason);
}
