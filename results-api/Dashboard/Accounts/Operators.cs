using Npgsql;
using NpgsqlTypes;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Dashboard.Accounts;

/// <summary>What came of trying to sign in.</summary>
internal enum SignInOutcome
{
    Ok,

    /// <summary>No such operator, a wrong password, or a disabled account: who tries is not told which.</summary>
    Wrong,
    Locked,
}

/// <summary>The accounts of operators.</summary>
internal sealed class Operators(NpgsqlDataSource database, Passwords passwords, AuditLog audit, DashboardOptions options, TimeProvider time)
{
    /// <summary>
    /// Checks a password. The account's row is locked meanwhile, so guesses at one account come one after the other and each is counted.
    /// </summary>
    public async Task<(SignInOutcome Outcome, Operator? Operator)> CheckAsync(string name, string password, CancellationToken stop)
    {
        var now = time.GetUtcNow();
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var transaction = await connection.BeginTransactionAsync(stop);
        var (found, hash, lockedUntil) = await LockAsync(connection, Normal(name), stop);
        if (found is not null && lockedUntil > now)
        {
            return (SignInOutcome.Locked, found);
        }

        var right = await passwords.IsRightAsync(hash, password, stop);
        if (found is null)
        {
            return (SignInOutcome.Wrong, null);
        }

        await using var note = new NpgsqlCommand(
            right
                ? "UPDATE operators SET failures = 0, locked_until = NULL WHERE id = $1"
                : "UPDATE operators SET failures = failures + 1, locked_until = CASE WHEN failures + 1 >= $2 THEN $3 END WHERE id = $1",
            connection
        );
        note.Parameters.Add(new() { Value = found.Id });
        if (!right)
        {
            note.Parameters.Add(new() { Value = options.SignInFailuresMax });
            note.Parameters.Add(new() { Value = now + options.LockedFor });
        }

        await note.ExecuteNonQueryAsync(stop);
        await transaction.CommitAsync(stop);
        return right ? (SignInOutcome.Ok, found) : (SignInOutcome.Wrong, found);
    }

    /// <summary>The operator whom the company's sign-on names; one it names for the first time becomes a viewer.</summary>
    /// <returns>Null for a disabled one, or where the name cannot be one.</returns>
    public async Task<Operator?> EnsureAsync(HttpContext http, string name)
    {
        var stop = http.RequestAborted;
        if (!IsName(Normal(name)))
        {
            return null;
        }

        if (await FindAsync("name = $1", Normal(name), stop) is { } known)
        {
            return known.DisabledAt is null ? new(known.Id, known.Name, known.Role) : null;
        }

        var now = time.GetUtcNow();
        var made = new Operator(Guid.CreateVersion7(now), Normal(name), OperatorRole.Viewer);
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var transaction = await connection.BeginTransactionAsync(stop);
        await using var command = new NpgsqlCommand(
            """
            INSERT INTO operators (id, name, role, created_at) VALUES ($1, $2, 'viewer', $3)
            ON CONFLICT (name) DO NOTHING
            """,
            connection
        );
        command.Parameters.Add(new() { Value = made.Id });
        command.Parameters.Add(new() { Value = made.Name });
        command.Parameters.Add(new() { Value = now });
        if (await command.ExecuteNonQueryAsync(stop) == 1)
        {
            var deed = new Deed("operator.create", "operator", made.Name) { After = new { role = made.Role.Name() } };
            await audit.AddAsync(http, made, deed, connection);
        }

        await transaction.CommitAsync(stop);
        return await EnsureAsync(http, name);
    }

    public async Task<List<OperatorEntry>> ListAsync(CancellationToken stop)
    {
        await using var command = database.CreateCommand($"{SelectSql} ORDER BY o.name");
        command.Parameters.Add(new() { Value = time.GetUtcNow() - options.SessionIdleMax });
        return await ReadAsync(command, stop);
    }

    public Task<OperatorEntry?> FindAsync(Guid id, CancellationToken stop) => FindAsync("id = $1", id, stop);

    /// <summary>Sets the role, or disables and enables; whoever is disabled is signed out everywhere.</summary>
    /// <returns>False where it would leave no admin.</returns>
    public async Task<bool> ChangeAsync(Guid id, OperatorRole role, bool disabled, CancellationToken stop)
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var transaction = await connection.BeginTransactionAsync(stop);
        await using var command = new NpgsqlCommand(
            """
            WITH admins AS (SELECT id FROM operators WHERE role = 'admin' AND disabled_at IS NULL FOR UPDATE)
            UPDATE operators SET role = $2, disabled_at = CASE WHEN $3 THEN coalesce(disabled_at, $4) END, failures = 0, locked_until = NULL
            WHERE id = $1 AND (($2 = 'admin' AND NOT $3) OR EXISTS (SELECT FROM admins WHERE id <> $1))
            """,
            connection
        );
        command.Parameters.Add(new() { Value = id });
        command.Parameters.Add(new() { Value = role.Name() });
        command.Parameters.Add(new() { Value = disabled });
        command.Parameters.Add(new() { Value = time.GetUtcNow(), NpgsqlDbType = NpgsqlDbType.TimestampTz });
        var changed = await command.ExecuteNonQueryAsync(stop) == 1;
        if (changed && disabled)
        {
            await using var signOut = new NpgsqlCommand("DELETE FROM operator_sessions WHERE operator = $1", connection);
            signOut.Parameters.Add(new() { Value = id });
            await signOut.ExecuteNonQueryAsync(stop);
        }

        await transaction.CommitAsync(stop);
        return changed;
    }

    /// <summary>Names are told apart without regard to case.</summary>
    public static string Normal(string name) => name.Trim().ToLowerInvariant();

    public static bool IsName(string name) =>
        name.Length is >= 1 and <= 100 && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_' or '@' or '+');

    private const string SelectSql = """
        SELECT o.id, o.name, o.role, o.password IS NOT NULL, o.locked_until, o.created_at, o.disabled_at,
               (SELECT max(s.last_seen) FROM operator_sessions s WHERE s.operator = o.id AND s.last_seen > $1)
        FROM operators o
        """;

    private async Task<OperatorEntry?> FindAsync(string condition, object value, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            $"""
            SELECT id, name, role, password IS NOT NULL, locked_until, created_at, disabled_at, NULL::timestamptz
            FROM operators WHERE {condition}
            """
        );
        command.Parameters.Add(new() { Value = value });
        return (await ReadAsync(command, stop)).FirstOrDefault();
    }

    private static async Task<List<OperatorEntry>> ReadAsync(NpgsqlCommand command, CancellationToken stop)
    {
        await using var reader = await command.ExecuteReaderAsync(stop);
        var all = new List<OperatorEntry>();
        while (await reader.ReadAsync(stop))
        {
            DateTimeOffset? Time(int column) => reader.IsDBNull(column) ? null : reader.GetFieldValue<DateTimeOffset>(column);
            all.Add(
                new OperatorEntry(
                    reader.GetGuid(0),
                    reader.GetString(1),
                    OperatorRoles.Parse(reader.GetString(2)) ?? OperatorRole.Viewer,
                    reader.GetBoolean(3),
                    Time(4),
                    reader.GetFieldValue<DateTimeOffset>(5),
                    Time(6),
                    Time(7)
                )
            );
        }

        return all;
    }

    private static async Task<(Operator? Found, string? Hash, DateTimeOffset? LockedUntil)> LockAsync(
        NpgsqlConnection connection,
        string name,
        CancellationToken stop
    )
    {
        await using var command = new NpgsqlCommand(
            "SELECT id, role, password, locked_until FROM operators WHERE name = $1 AND disabled_at IS NULL FOR UPDATE",
            connection
        );
        command.Parameters.Add(new() { Value = name });
        await using var reader = await command.ExecuteReaderAsync(stop);
        return await reader.ReadAsync(stop)
            ? (
                new Operator(reader.GetGuid(0), name, OperatorRoles.Parse(reader.GetString(1)) ?? OperatorRole.Viewer),
                reader.IsDBNull(2) ? null : reader.GetString(2),
                reader.IsDBNull(3) ? null : reader.GetFieldValue<DateTimeOffset>(3)
            )
            : (null, null, null);
    }
}

/// <summary>An account as the page of operators shows it.</summary>
/// <param name="LastSeen">When a session of theirs was last used; null for who is signed out.</param>
public sealed record OperatorEntry(
    Guid Id,
    string Name,
    OperatorRole Role,
    bool HasPassword,
    DateTimeOffset? LockedUntil,
    DateTimeOffset CreatedAt,
    DateTimeOffset? DisabledAt,
    DateTimeOffset? LastSeen
);
