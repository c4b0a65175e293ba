using System.Text.Json;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Migrations;

/// <summary>Something an operator does, as the audit keeps it.</summary>
/// <param name="Action"><c>job.cancel</c>, <c>operator.sign_in</c>, ….</param>
/// <param name="SubjectKind"><c>job</c>, <c>operator</c>, <c>bulk_action</c>.</param>
public sealed record Deed(string Action, string SubjectKind, string Subject)
{
    public TenantId? Tenant { get; init; }
    public string? Reason { get; init; }
    public bool Done { get; init; } = true;
    public string? Detail { get; init; }

    /// <summary>How it was and is, to be written as JSON objects.</summary>
    public object? Before { get; init; }
    public object? After { get; init; }
}

/// <summary>
/// Writes who did what, to what, why, and how it was before and after. What goes to another service is noted before it is asked and
/// completed after, so that not even an instance that dies in between leaves an action without a trace.
/// </summary>
public sealed class AuditTrail(NpgsqlDataSource database, TimeProvider time)
{
    private const string NotKnown = "begun; how it ended is not known";

    /// <summary>Notes what is about to be done.</summary>
    /// <returns>The row, to be completed by <see cref="CompleteAsync"/>.</returns>
    public Task<Guid> BeginAsync(Guid? operatorId, string operatorName, string? address, Deed deed, CancellationToken stop) =>
        AddAsync(operatorId, operatorName, address, deed with { Done = false, Detail = NotKnown }, stop);

    /// <summary>Says of what was begun how it ended.</summary>
    /// <param name="before">How it was, where that was not known when it was begun.</param>
    public async Task CompleteAsync(Guid row, bool done, string? detail, object? after, CancellationToken stop, object? before = null)
    {
        await using var command = database.CreateCommand(
            "UPDATE audit SET done = $2, detail = $3, after = $4, before = coalesce($5, before) WHERE id = $1"
        );
        command.Parameters.Add(new() { Value = row });
        command.Parameters.Add(new() { Value = done });
        command.Parameters.Add(Text(detail));
        command.Parameters.Add(Json(after));
        command.Parameters.Add(Json(before));
        await command.ExecuteNonQueryAsync(stop);
    }

    /// <summary>Notes what was done.</summary>
    /// <param name="within">The connection whose transaction does it; null for one of its own.</param>
    public async Task<Guid> AddAsync(
        Guid? operatorId,
        string operatorName,
        string? address,
        Deed deed,
        CancellationToken stop,
        NpgsqlConnection? within = null
    )
    {
        var now = time.GetUtcNow();
        var id = Guid.CreateVersion7(now);
        await using var command = within?.CreateCommand() ?? database.CreateCommand();
        command.CommandText = """
            INSERT INTO audit (id, at, operator, operator_name, action, subject_kind, subject, tenant, reason, done, detail, before, after, address)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
            """;
        command.Parameters.Add(new() { Value = id });
        command.Parameters.Add(new() { Value = now });
        command.Parameters.Add(new() { Value = (object?)operatorId ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid });
        command.Parameters.Add(Text(operatorName));
        command.Parameters.Add(Text(deed.Action));
        command.Parameters.Add(Text(deed.SubjectKind));
        command.Parameters.Add(Text(deed.Subject));
        command.Parameters.Add(new() { Value = (object?)deed.Tenant?.Value ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid });
        command.Parameters.Add(Text(deed.Reason));
        command.Parameters.Add(new() { Value = deed.Done });
        command.Parameters.Add(Text(deed.Detail));
        command.Parameters.Add(Json(deed.Before));
        command.Parameters.Add(Json(deed.After));
        command.Parameters.Add(Text(address));
        await command.ExecuteNonQueryAsync(stop);
        return id;
    }

    /// <summary>What is refused is kept, too, and may hold what PostgreSQL's texts cannot: a NUL is shown as U+FFFD.</summary>
    private static NpgsqlParameter Text(string? value) =>
        new() { Value = (object?)value?.Replace('\0', '\uFFFD') ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text };

    private static NpgsqlParameter Json(object? value) =>
        new()
        {
            Value = value is null ? DBNull.Value : JsonSerializer.Serialize(value, ApiJson.Options),
            NpgsqlDbType = NpgsqlDbType.Jsonb,
        };
}
