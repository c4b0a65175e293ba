using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Accounts;

namespace Pipeline.ResultsApi.Dashboard;

/// <summary>The audit as the dashboard writes and shows it.</summary>
internal sealed class AuditLog(NpgsqlDataSource database, AuditTrail trail)
{
    /// <param name="within">The connection whose transaction does it; null where nothing is done that could be undone.</param>
    public async Task AddAsync(HttpContext http, Operator? who, Deed deed, NpgsqlConnection? within = null) =>
        await trail.AddAsync(who?.Id, who?.Name ?? "", http.Connection.RemoteIpAddress?.ToString(), deed, http.RequestAborted, within);

    /// <inheritdoc cref="AuditTrail.AddAsync"/>
    public Task AddAsync(Actor actor, Deed deed, NpgsqlConnection within, CancellationToken stop) =>
        trail.AddAsync(actor.Id, actor.Name, actor.Address, deed with { Reason = actor.Reason }, stop, within);

    /// <summary>Does what who is signed in asks for: noted before it is done, and completed whatever comes of it.</summary>
    public async Task<DeedOutcome> KeepAsync(HttpContext http, Deed deed, Func<Task<DeedOutcome>> act)
    {
        var who = Guard.OperatorOf(http)!;
        var row = await BeginAsync(who.Id, who.Name, http.Connection.RemoteIpAddress?.ToString(), deed, http.RequestAborted);
        var outcome = await act();
        await CompleteAsync(row, outcome.Refusal is null, outcome.Refusal, outcome.After);
        return outcome;
    }

    /// <inheritdoc cref="AuditTrail.BeginAsync"/>
    public Task<Guid> BeginAsync(Guid operatorId, string operatorName, string? address, Deed deed, CancellationToken stop) =>
        trail.BeginAsync(operatorId, operatorName, address, deed, stop);

    /// <summary>Says of what was begun how it ended; that the browser has gone away meanwhile changes nothing.</summary>
    public Task CompleteAsync(Guid row, bool done, string? detail, object? after) =>
        trail.CompleteAsync(row, done, detail, after, CancellationToken.None);

    /// <summary>A page of the audit, newest first.</summary>
    /// <param name="subject">Only what was done to this; null for all.</param>
    /// <param name="before">Rows older than this one.</param>
    public async Task<List<AuditEntry>> ListAsync(
        string? subject,
        string? name,
        string? action,
        Guid? before,
        int rows,
        CancellationToken stop
    )
    {
        await using var command = database.CreateCommand();
        var filter = new SqlFilter(command)
            .Add("subject = {0}", subject, NpgsqlDbType.Text)
            .Add("operator_name = {0}", name, NpgsqlDbType.Text)
            .Add("action = {0}", action, NpgsqlDbType.Text)
            .Add("id < {0}", before, NpgsqlDbType.Uuid);
        command.CommandText = $"""
            SELECT id, at, operator_name, action, subject_kind, subject, reason, done, detail, before::text, after::text, address
            FROM audit {filter.Where} ORDER BY id DESC LIMIT {rows}
            """;
        await using var reader = await command.ExecuteReaderAsync(stop);
        var all = new List<AuditEntry>();
        while (await reader.ReadAsync(stop))
        {
            string? Maybe(int column) => reader.IsDBNull(column) ? null : reader.GetString(column);
            all.Add(
                new AuditEntry(
                    reader.GetGuid(0),
                    reader.GetFieldValue<DateTimeOffset>(1),
                    reader.GetString(2),
                    reader.GetString(3),
                    reader.GetString(4),
                    reader.GetString(5),
                    Maybe(6),
                    reader.GetBoolean(7),
                    Maybe(8),
                    Maybe(9),
                    Maybe(10),
                    Maybe(11)
                )
            );
        }

        return all;
    }
}

/// <summary>A row of the audit as its page shows it.</summary>
public sealed record AuditEntry(
    Guid Id,
    DateTimeOffset At,
    string Operator,
    string Action,
    string SubjectKind,
    string Subject,
    string? Reason,
    bool Done,
    string? Detail,
    string? Before,
    string? After,
    string? Address
);
