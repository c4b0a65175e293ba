using System.Text;
using Npgsql;

namespace Pipeline.Tests.Support.Servers;

/// <summary>
/// Makes a migrated database that a test has used as good as new: the rows of the migrations and no others, every sequence at its start. So it
/// needs no copy of the template's files, and none of the checkpoints of <c>CREATE</c> and <c>DROP DATABASE</c>.
/// </summary>
internal sealed class EmptyAgain
{
    /// <summary>Deleted rows stay in their file until it is vacuumed; a table larger than that is not worth emptying.</summary>
    private const int TableBytesMax = 4 << 20;

    private const int UserOidMin = 16384;
    private const string Schemas = "'public', 'quartz'";

    /// <summary>
    /// Every change of a table, column, constraint, index, trigger or function is a new row of the catalog by a later transaction, so the sum grows.
    /// Copies of the template keep its rows as they are. The schemas of temporary tables outlive their sessions and mean nothing.
    /// </summary>
    private static readonly string ReadSchema =
        "SELECT concat_ws(' ', "
        + string.Join(
            ", ",
            new[] { "pg_class c", "pg_proc c", "pg_constraint c", "pg_trigger c", "pg_attrdef c", "pg_type c" }
                .Select(catalog => Sum(catalog, "c.oid"))
                .Append(Sum("pg_attribute c", "c.attrelid"))
                .Append(Sum("pg_index c", "c.indexrelid"))
                .Append(Sum("pg_namespace c", "c.oid", " AND nspname !~ '^pg_(toast_)?temp_'"))
        )
        + ", (SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = current_database()))";

    /// <summary>Fails where a table is too large. Foreign keys need no order: with all rows gone they all hold.</summary>
    private static readonly string DeleteAll = $"""
        DO $$
        DECLARE
          used record;
        BEGIN
          SET LOCAL session_replication_role = replica;
          FOR used IN
            SELECT c.oid::regclass AS name, pg_table_size(c.oid) AS bytes FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind = 'r' AND n.nspname IN ({Schemas}) AND pg_relation_size(c.oid) > 0
          LOOP
            ASSERT used.bytes <= {TableBytesMax}, used.name;
            EXECUTE format('DELETE FROM %s', used.name);
          END LOOP;
          PERFORM setval(format('%I.%I', schemaname, sequencename), start_value, false) FROM pg_sequences WHERE last_value IS NOT NULL;
        END $$;
        """;

    private readonly string _schema;
    private readonly string _empty;

    private EmptyAgain(string schema, string empty) => (_schema, _empty) = (schema, empty);

    /// <summary>Reads what a new database is like.</summary>
    public static async Task<EmptyAgain> ReadAsync(NpgsqlConnectionStringBuilder template)
    {
        await using var connection = new NpgsqlConnection(template.ConnectionString);
        await connection.OpenAsync();
        var empty = new StringBuilder(DeleteAll);
        foreach (var table in await ReadUsedTablesAsync(connection))
        {
            // The few rows that migrations write, as text that becomes the same rows again.
            if (await ScalarAsync(connection, $"SELECT json_agg(t)::text FROM {table} t") is { } rows)
            {
                empty.Append($"INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, $rows${rows}$rows$);");
            }
        }

        return new EmptyAgain((await ScalarAsync(connection, ReadSchema))!, empty.ToString());
    }

    /// <summary>False where it cannot be emptied: its schema is another than the template's, it has grown, or somebody does not let go of it.</summary>
    public async Task<bool> TryAsync(NpgsqlConnectionStringBuilder server, string name, string next)
    {
        try
        {
            await using (var maintenance = new NpgsqlConnection(server.ConnectionString))
            {
                await maintenance.OpenAsync();
                await ScalarAsync(
                    maintenance,
                    $"SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE datname = '{name}'"
                );
                await ScalarAsync(maintenance, $"ALTER DATABASE {name} RENAME TO {next}");
            }

            await using var connection = new NpgsqlConnection(
                new NpgsqlConnectionStringBuilder(server.ConnectionString) { Database = next }.ConnectionString
            );
            await connection.OpenAsync();
            if (await ScalarAsync(connection, ReadSchema) != _schema)
            {
                return false;
            }

            await ScalarAsync(connection, _empty);
            return true;
        }
        catch (NpgsqlException)
        {
            return false;
        }
    }

    private static string Sum(string catalog, string oid, string and = "") =>
        $"(SELECT concat(count(*), '/', sum(c.xmin::text::bigint)) FROM {catalog} WHERE {oid} >= {UserOidMin}{and})";

    private static async Task<List<string>> ReadUsedTablesAsync(NpgsqlConnection connection)
    {
        await using var command = new NpgsqlCommand(
            $"""
            SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind = 'r' AND n.nspname IN ({Schemas}) AND pg_relation_size(c.oid) > 0 ORDER BY 1
            """,
            connection
        );
        await using var reader = await command.ExecuteReaderAsync();
        var tables = new List<string>();
        while (await reader.ReadAsync())
        {
            tables.Add(reader.GetString(0));
        }

        return tables;
    }

    private static async Task<string?> ScalarAsync(NpgsqlConnection connection, string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        return (await command.ExecuteScalarAsync())?.ToString();
    }
}
