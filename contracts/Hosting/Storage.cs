using Npgsql;

namespace Pipeline.Hosting;

/// <summary>
/// PostgreSQL, under names of our own. A data source without one is named by its connection string, and metrics would show host and user.
/// </summary>
public static class Storage
{
    /// <summary>What a service works with.</summary>
    public const string Service = "pipeline";

    /// <summary>What is done before: waiting for the server, the schema, the first key.</summary>
    public const string Setup = "pipeline setup";

    public static NpgsqlDataSource Create(string connectionString, string name) =>
        // The types are PostgreSQL's own, whose numbers are known: read from the catalog of a new database they took 60 ms before the first statement.
        new NpgsqlDataSourceBuilder(connectionString) { Name = name }
            .ConfigureTypeLoading(t => t.EnableTypeLoading(false))
            .Build();

    /// <summary>For what is done before a service works.</summary>
    public static NpgsqlDataSource ForSetup(string connectionString) => Create(connectionString, Setup);
}
