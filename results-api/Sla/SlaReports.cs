using System.Text.Json;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Sla.Objectives;

namespace Pipeline.ResultsApi.Sla;

/// <summary>Makes reports, and keeps those that are to be kept.</summary>
internal sealed class SlaReports(
    NpgsqlDataSource database,
    ReportReader reader,
    ObjectiveSet objectives,
    SlaOptions options,
    TimeProvider time
) : IDisposable
{
    /// <summary>Told to webhooks once a report is kept.</summary>
    public const string ReadyEvent = "report.ready";

    /// <summary>After a period's end, for what is counted beside the rollups and written some seconds later.</summary>
    private static readonly TimeSpan Settle = TimeSpan.FromMinutes(1);

    private readonly SemaphoreSlim _free = new(options.ReportsMax);

    /// <summary>Makes a report; null where as many as may be are being made.</summary>
    /// <param name="tenant">Only of this one; null for all.</param>
    public async Task<SlaReport?> TryMakeAsync(ReportWindow window, TenantId? tenant, CancellationToken stop)
    {
        if (!await _free.WaitAsync(TimeSpan.Zero, stop))
        {
            return null;
        }

        try
        {
            return await MakeAsync(window, tenant, stop);
        }
        finally
        {
            _free.Release();
        }
    }

    /// <summary>Keeps a report that was asked for, and has it told to webhooks.</summary>
    /// <param name="owner">Who may read it.</param>
    public async Task<StoredReportView> KeepAsync(SlaReport report, TenantId owner, CancellationToken stop) =>
        (await KeepAsync(report, owner, "request", stop))!;

    /// <summary>
    /// Makes and keeps the reports of the week or month that ended last, by the clocks of <see cref="SlaOptions.TimeZone"/>: for every tenant of which
    /// something ended in it its own, and for every operator one of all tenants. Each once, however often this is called and by how many; a call
    /// that comes before all of the period is rolled up makes none, and a later one does.
    /// </summary>
    /// <param name="unit">A week or a month.</param>
    /// <returns>How many were made.</returns>
    public async Task<int> MakeOfPeriodThatEndedAsync(CalendarUnit unit, CancellationToken stop)
    {
        var zone = ReportCalendar.Zone(options.TimeZone)!;
        var period = ReportCalendar.JustEnded(unit, time.GetUtcNow(), zone);
        var occasion = unit == CalendarUnit.Week ? "week" : "month";
        var made = 0;
        foreach (var (tenant, all) in await MissingAsync(period, occasion, stop))
        {
            var window = new ReportWindow(period.From, period.To, zone, CalendarUnit.Day, ByClass: true, ByTenant: all, ByModel: true);
            var report = await MakeAsync(window, all ? null : tenant, stop);
            made += await KeepAsync(report, tenant, occasion, stop) is null ? 0 : 1;
        }

        return made;
    }

    /// <summary>A tenant's reports, newest first, without their documents.</summary>
    public async Task<List<StoredReportView>> ListAsync(TenantId tenant, Guid? after, int limit, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            $"SELECT {Columns}, NULL::bytea FROM reports WHERE tenant = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3"
        );
        command.Parameters.Add(new() { Value = tenant.Value });
        command.Parameters.Add(new() { Value = (object?)after ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid });
        command.Parameters.Add(new() { Value = limit });
        return await ReadAsync(command, stop);
    }

    /// <summary>A report with its document; null where there is none of that id.</summary>
    /// <param name="tenant">Whose it must be; null for anybody's.</param>
    public async Task<StoredReportView?> FindAsync(TenantId? tenant, Guid id, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            $"SELECT {Columns}, body FROM reports WHERE id = $2 AND ($1::uuid IS NULL OR tenant = $1)"
        );
        command.Parameters.Add(new() { Value = (object?)tenant?.Value ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid });
        command.Parameters.Add(new() { Value = id });
        return (await ReadAsync(command, stop)).SingleOrDefault();
    }

    public void Dispose() => _free.Dispose();

    private async Task<SlaReport> MakeAsync(ReportWindow window, TenantId? tenant, CancellationToken stop)
    {
        var data = await reader.ReadAsync(window, tenant, objectives.All, stop);
        return ReportMaker.Make(data, objectives.All);
    }

    /// <summary>Whose report of a period is not made yet; nobody's before all of it is rolled up.</summary>
    private async Task<List<(TenantId Tenant, bool All)>> MissingAsync(CalendarPeriod period, string occasion, CancellationToken stop)
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        if (time.GetUtcNow() < period.To + Settle || await SlaStore.RolledUpAsync(connection, stop) < period.To)
        {
            return [];
        }

        await using var command = new NpgsqlCommand(MissingSql, connection);
        command.Parameters.Add(new() { Value = period.From, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        command.Parameters.Add(new() { Value = period.To, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        command.Parameters.Add(new() { Value = occasion });
        command.Parameters.Add(new() { Value = options.TimeZone });
        await using var row = await command.ExecuteReaderAsync(stop);
        var missing = new List<(TenantId, bool)>();
        while (await row.ReadAsync(stop))
        {
            missing.Add((new TenantId(row.GetGuid(0)), row.GetBoolean(1)));
        }

        return missing;
    }

    /// <summary>Null where it is there already.</summary>
    private async Task<StoredReportView?> KeepAsync(SlaReport report, TenantId owner, string occasion, CancellationToken stop)
    {
        var now = time.GetUtcNow();
        await using var command = database.CreateCommand(KeepSql);
        command.Parameters.Add(new() { Value = Guid.CreateVersion7(now) });
        command.Parameters.Add(new() { Value = owner.Value });
        command.Parameters.Add(new() { Value = report.Tenant is null });
        command.Parameters.Add(new() { Value = occasion });
        command.Parameters.Add(new() { Value = report.From, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        command.Parameters.Add(new() { Value = report.To, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        command.Parameters.Add(new() { Value = report.TimeZone });
        command.Parameters.Add(new() { Value = now, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        command.Parameters.Add(new() { Value = JsonSerializer.SerializeToUtf8Bytes(report, ApiJson.Options) });
        command.Parameters.Add(new() { Value = options.StoredReportsMax });
        return (await ReadAsync(command, stop)).SingleOrDefault();
    }

    private static async Task<List<StoredReportView>> ReadAsync(NpgsqlCommand command, CancellationToken stop)
    {
        await using var row = await command.ExecuteReaderAsync(stop);
        var reports = new List<StoredReportView>();
        while (await row.ReadAsync(stop))
        {
            reports.Add(
                new StoredReportView
                {
                    Id = row.GetGuid(0),
                    AllTenants = row.GetBoolean(1),
                    Occasion = row.GetString(2),
                    From = row.GetFieldValue<DateTimeOffset>(3),
                    To = row.GetFieldValue<DateTimeOffset>(4),
                    TimeZone = row.GetString(5),
                    CreatedAt = row.GetFieldValue<DateTimeOffset>(6),
                    Report = row.IsDBNull(7) ? null : JsonSerializer.Deserialize<SlaReport>(row.GetFieldValue<byte[]>(7), ApiJson.Options),
                }
            );
        }

        return reports;
    }

    private const string Columns = "id, all_tenants, occasion, from_at, to_at, time_zone, created_at";

    /// <summary>The report and the event that tells of it are one statement; the oldest beyond the maximum go.</summary>
    private const string KeepSql = $"""
        WITH kept AS (
          INSERT INTO reports (id, tenant, all_tenants, occasion, from_at, to_at, time_zone, created_at, body)
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
          ON CONFLICT DO NOTHING
          RETURNING *
        ), told AS (
          INSERT INTO events (tenant, type, data, created_at)
          SELECT tenant, '{ReadyEvent}',
                 jsonb_build_object('report', id, 'occasion', occasion, 'from', from_at, 'to', to_at, 'time_zone', time_zone,
                                    'all_tenants', all_tenants),
                 created_at
          FROM kept
        ), gone AS (
          DELETE FROM reports WHERE id IN (SELECT id FROM reports WHERE tenant = $2 ORDER BY id DESC OFFSET $10 - 1) AND EXISTS (SELECT FROM kept)
        )
        SELECT {Columns}, body FROM kept
        """;

    /// <summary>Hours are enough to see whether something ended: a period begins and ends with one, in nearly every zone.</summary>
    private const string MissingSql = """
        WITH active AS (
          SELECT DISTINCT tenant FROM sla_hours WHERE at > $1 - interval '1 hour' AND at < $2
        ), due AS (
          SELECT tenant, false AS all_tenants FROM active
          UNION ALL
          SELECT DISTINCT k.tenant, true FROM api_keys k WHERE k.operator AND k.revoked_at IS NULL AND EXISTS (SELECT FROM active)
        )
        SELECT d.tenant, d.all_tenants FROM due d
        WHERE NOT EXISTS (
          SELECT FROM reports r
          WHERE r.tenant = d.tenant AND r.all_tenants = d.all_tenants AND r.occasion = $3 AND r.from_at = $1 AND r.time_zone = $4
        )
        ORDER BY d.tenant, d.all_tenants
        """;
}

/// <summary>A report that is kept.</summary>
internal sealed record StoredReportView
{
    public required Guid Id { get; init; }
    public string Object { get; } = "report";

    /// <summary>True where it is about all tenants.</summary>
    public required bool AllTenants { get; init; }

    /// <summary>Why it was made: <c>request</c>, <c>week</c> or <c>month</c>.</summary>
    public required string Occasion { get; init; }
    public required DateTimeOffset From { get; init; }
    public required DateTimeOffset To { get; init; }
    public required string TimeZone { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>The report; null in lists.</summary>
    public required SlaReport? Report { get; init; }
}
