using System.Globalization;
using Npgsql;
using NpgsqlTypes;

namespace Pipeline.ResultsApi;

/// <summary>The conditions of a WHERE, with only those in it that were asked for: so each combination has a plan of its own.</summary>
public sealed class SqlFilter(NpgsqlCommand command)
{
    private readonly List<string> _conditions = [];

    /// <param name="condition">With <c>{0}</c> where the parameter stands.</param>
    /// <param name="value">Null leaves the condition out.</param>
    public SqlFilter Add(string condition, object? value, NpgsqlDbType type)
    {
        if (value is not null)
        {
            command.Parameters.Add(new NpgsqlParameter { Value = value, NpgsqlDbType = type });
            _conditions.Add(string.Format(CultureInfo.InvariantCulture, condition, $"${command.Parameters.Count}"));
        }

        return this;
    }

    /// <summary>Adds a condition without a parameter, where it holds that it is wanted.</summary>
    public SqlFilter Add(string condition, bool wanted = true)
    {
        if (wanted)
        {
            _conditions.Add(condition);
        }

        return this;
    }

    /// <summary>Adds a parameter for a condition that needs several: gives its place, <c>$3</c>.</summary>
    public string Parameter(object value, NpgsqlDbType type)
    {
        command.Parameters.Add(new NpgsqlParameter { Value = value, NpgsqlDbType = type });
        return string.Create(CultureInfo.InvariantCulture, $"${command.Parameters.Count}");
    }

    /// <summary><c>WHERE a AND b</c>, or nothing.</summary>
    public string Where => _conditions.Count == 0 ? "" : $"WHERE {string.Join(" AND ", _conditions)}";
}
