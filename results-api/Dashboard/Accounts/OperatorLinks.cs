using Npgsql;
using NpgsqlTypes;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Dashboard.Accounts;

/// <summary>What a link was made for: a new operator of a role, or a new password for one who is there.</summary>
public sealed record OperatorLink(OperatorRole? Role, Guid? Operator, string? OperatorName);

/// <summary>Links that work once: how accounts begin, the first admin's too. So no password is ever told by one person to another.</summary>
internal sealed class OperatorLinks(
    NpgsqlDataSource database,
    Passwords passwords,
    AuditLog audit,
    DashboardOptions options,
    TimeProvider time
)
{
    /// <summary>Path and query of a link.</summary>
    public static string PathOf(string token) => $"{DashboardServices.Root}/welcome?token={token}";

    /// <summary>A link for the first admin, as a path; null where there is an admin.</summary>
    public static async Task<string?> ForFirstAdminAsync(NpgsqlDataSource database, TimeSpan validFor, CancellationToken stop)
    {
        await using var find = database.CreateCommand("SELECT EXISTS (SELECT FROM operators WHERE role = 'admin' AND disabled_at IS NULL)");
        if (await find.ExecuteScalarAsync(stop) is true)
        {
            return null;
        }

        var token = Tokens.Create();
        var now = DateTimeOffset.UtcNow;
        await InsertAsync(database, token, OperatorRole.Admin, null, now, now + validFor, stop);
        return PathOf(token);
    }

    /// <summary>Makes a link for a new operator, or one for who is there and has lost the password.</summary>
    /// <returns>Path and query; they are shown once and stored nowhere.</returns>
    public async Task<string> CreateAsync(OperatorRole? role, Guid? operatorId, CancellationToken stop)
    {
        var token = Tokens.Create();
        var now = time.GetUtcNow();
        await InsertAsync(database, token, role, operatorId, now, now + options.LinkFor, stop);
        return PathOf(token);
    }

    /// <returns>What the link is for, or null where it does not work (any more).</returns>
    public async Task<OperatorLink?> FindAsync(string token, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            SELECT l.role, l.operator, o.name FROM operator_links l LEFT JOIN operators o ON o.id = l.operator
            WHERE l.token = $1 AND l.expires_at > $2
            """
        );
        command.Parameters.Add(new() { Value = Tokens.Hash(token) });
        command.Parameters.Add(new() { Value = time.GetUtcNow() });
        await using var reader = await command.ExecuteReaderAsync(stop);
        return await reader.ReadAsync(stop)
            ? new OperatorLink(
                reader.IsDBNull(0) ? null : OperatorRoles.Parse(reader.GetString(0)),
                reader.IsDBNull(1) ? null : reader.GetGuid(1),
                reader.IsDBNull(2) ? null : reader.GetString(2)
            )
            : null;
    }

    /// <summary>
    /// Uses a link: it is gone, and with it every other for a first admin once there is one. The sessions of who gets a new password end.
    /// </summary>
    /// <returns>The operator; null where the link does not work any more, or the name is taken.</returns>
    public async Task<Operator?> UseAsync(HttpContext http, string token, string name, string password)
    {
        var stop = http.RequestAborted;
        var hash = await passwords.HashAsync(password, stop);
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var transaction = await connection.BeginTransactionAsync(stop);
        // One after the other: of two that open links for a first admin at the same moment the second finds its own gone.
        await using (var turn = new NpgsqlCommand("SELECT pg_advisory_xact_lock(hashtextextended('operator links', 0))", connection))
        {
            await turn.ExecuteNonQueryAsync(stop);
        }

        await using var command = new NpgsqlCommand(
            """
            WITH used AS (DELETE FROM operator_links WHERE token = $1 AND expires_at > $2 RETURNING role, operator),
            first AS (
              DELETE FROM operator_links WHERE role = 'admin' AND token <> $1 AND EXISTS (SELECT FROM used WHERE role = 'admin')
                AND NOT EXISTS (SELECT FROM operators WHERE role = 'admin' AND disabled_at IS NULL)
            ),
            made AS (
              INSERT INTO operators (id, name, role, password, created_at)
              SELECT $3, $4, role, $5, $2 FROM used WHERE role IS NOT NULL
              ON CONFLICT (name) DO NOTHING RETURNING id, name, role
            ),
            changed AS (
              UPDATE operators o SET password = $5, failures = 0, locked_until = NULL FROM used WHERE o.id = used.operator
              RETURNING o.id, o.name, o.role
            ),
            signed_out AS (DELETE FROM operator_sessions WHERE operator IN (SELECT id FROM changed))
            SELECT id, name, role, 'operator.create' FROM made UNION ALL SELECT id, name, role, 'operator.password' FROM changed
            """,
            connection
        );
        command.Parameters.Add(new() { Value = Tokens.Hash(token) });
        command.Parameters.Add(new() { Value = time.GetUtcNow() });
        command.Parameters.Add(new() { Value = Guid.CreateVersion7(time.GetUtcNow()) });
        command.Parameters.Add(new() { Value = Operators.Normal(name) });
        command.Parameters.Add(new() { Value = hash });
        (Operator? made, var action) = (null, "");
        await using (var reader = await command.ExecuteReaderAsync(stop))
        {
            if (await reader.ReadAsync(stop))
            {
                made = new(reader.GetGuid(0), reader.GetString(1), OperatorRoles.Parse(reader.GetString(2)) ?? OperatorRole.Viewer);
                action = reader.GetString(3);
            }
        }

        if (made is not null)
        {
            var deed = new Deed(action, "operator", made.Name) { After = new { role = made.Role.Name() } };
            await audit.AddAsync(http, made, deed, connection);
            await transaction.CommitAsync(stop);
        }

        return made;
    }

    private static async Task InsertAsync(
        NpgsqlDataSource database,
        string token,
        OperatorRole? role,
        Guid? operatorId,
        DateTimeOffset now,
        DateTimeOffset expiresAt,
        CancellationToken stop
    )
    {
        await using var command = database.CreateCommand(
            """
            WITH old AS (DELETE FROM operator_links WHERE expires_at < $4)
            INSERT INTO operator_links (token, role, operator, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)
            """
        );
        command.Parameters.Add(new() { Value = Tokens.Hash(token) });
        command.Parameters.Add(new() { Value = (object?)role?.Name() ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text });
        command.Parameters.Add(new() { Value = (object?)operatorId ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid });
        command.Parameters.Add(new() { Value = now });
        command.Parameters.Add(new() { Value = expiresAt });
        await command.ExecuteNonQueryAsync(stop);
    }
}
