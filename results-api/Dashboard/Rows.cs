using Npgsql;

namespace Pipeline.ResultsApi.Dashboard;

/// <summary>How pages read: within the time a page may take, all rows at once.</summary>
internal static class Rows
{
    /// <summary>A command that gives up after <see cref="DashboardOptions.QueryTimeMax"/>.</summary>
    public static NpgsqlCommand CreateCommand(this NpgsqlDataSource database, DashboardOptions options, string sql = "")
    {
        var command = database.CreateCommand(sql);
        command.CommandTimeout = (int)options.QueryTimeMax.TotalSeconds;
        return command;
    }

    public static async Task<List<T>> ReadAsync<T>(NpgsqlCommand command, Func<NpgsqlDataReader, T> read, CancellationToken stop)
    {
        await using var reader = await command.ExecuteReaderAsync(stop);
        var rows = new List<T>();
        while (await reader.ReadAsync(stop))
        {
            rows.Add(read(reader));
        }

        return rows;
    }
}
