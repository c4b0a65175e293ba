using System.Globalization;
using Microsoft.AspNetCore.WebUtilities;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Bulk;
using Pipeline.ResultsApi.Dashboard.Layout;
using Pipeline.ResultsApi.Jobs;

namespace Pipeline.ResultsApi.Dashboard.Jobs;

/// <summary>What the filters of the page of jobs say: the API's, and a tenant by its name, and a job by its id.</summary>
/// <param name="CustomId">A task's, to be looked for in those jobs.</param>
/// <param name="Mistake">Why they were not understood; then nothing is searched.</param>
public sealed record JobSearch(JobFilter Filter, Guid? After, string? Tenant, Guid? Id, string? CustomId, string? Mistake)
{
    /// <summary>Why it cannot choose many jobs at once; null where it can.</summary>
    public string? NotForMany =>
        Mistake ?? (Id is null && CustomId is null ? null : "Many jobs are chosen by filters, not by the id of a job or a task.");

    private const string UsdForm = "US dollars such as 0.25";
    private const decimal UsdMax = 1_000_000_000;

    /// <param name="query">As the form sends it: empty fields ask for nothing.</param>
    public static async Task<JobSearch> ReadAsync(IQueryCollection query, NpgsqlDataSource database, CancellationToken stop)
    {
        var parameters = new QueryParameters(new QueryCollection(Links.Filled(query)));
        var tenant = parameters.Text("tenant");
        var id = parameters.Value<Guid>("id", "the id of a job", ListJobs.ParseId);
        var after = parameters.Value<Guid>("after", "the id of a job", ListJobs.ParseId);
        var (failures, notRetried, paused) = (parameters.Flag("failures"), parameters.Flag("not_retried"), parameters.Flag("paused"));
        var failed = FailedOf(parameters);
        var filter = JobFilter.Read(parameters, tenant is null ? null : await FindTenantAsync(database, tenant, stop)) with
        {
            WithFailures = failures || failed != new FailureFilter(),
            NotRetried = notRetried,
            Failed = failed == new FailureFilter() ? null : failed,
            Paused = paused,
            CostMinPico = parameters.Value<decimal>("cost_min", UsdForm, ParseUsd),
            CostMaxPico = parameters.Value<decimal>("cost_max", UsdForm, ParseUsd),
        };
        var customId = parameters.Text("custom_id");
        // Of the bulk form and the export, which send the same filters.
        foreach (var other in new[] { "action", BulkPages.ToClass, BulkPages.ToDeadline, "format", "form_token" })
        {
            parameters.Text(other);
        }

        return new(filter, after, tenant, id, customId, parameters.Refusal()?.Value?.Detail);
    }

    /// <summary>A page of jobs, newest first, with the names of their tenants.</summary>
    public async Task<List<FoundJob>> FindAsync(NpgsqlDataSource database, DashboardOptions options, int rows, CancellationToken stop)
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var command = ListJobs.Select(Filter, After, rows);
        command.Connection = connection;
        command.CommandTimeout = (int)options.QueryTimeMax.TotalSeconds;
        var jobs = new List<JobView>();
        await using (var reader = await command.ExecuteReaderAsync(stop))
        {
            while (await reader.ReadAsync(stop))
            {
                jobs.Add(JobViews.Read(reader));
            }
        }

        await using var names = new NpgsqlCommand(
            "SELECT j.id, t.name FROM jobs j JOIN tenants t ON t.id = j.tenant WHERE j.id = ANY ($1)",
            connection
        );
        names.Parameters.Add(new() { Value = jobs.Select(j => j.Id.Value).ToArray() });
        var tenants = new Dictionary<Guid, string>();
        await using (var reader = await names.ExecuteReaderAsync(stop))
        {
            while (await reader.ReadAsync(stop))
            {
                tenants[reader.GetGuid(0)] = reader.GetString(1);
            }
        }

        return [.. jobs.Select(job => new FoundJob(job, tenants.GetValueOrDefault(job.Id.Value, "")))];
    }

    /// <summary>Which failures a stored query asks for.</summary>
    public static FailureFilter FailedOf(string query) =>
        FailedOf(new QueryParameters(new QueryCollection(Links.Filled(QueryHelpers.ParseQuery(query)))));

    private static FailureFilter FailedOf(QueryParameters parameters) =>
        new()
        {
            Error = parameters.Text("error"),
            Model = parameters.Text("failed_model"),
            Worker = parameters.Text("failed_worker"),
            NotDismissed = parameters.Flag("not_dismissed"),
        };

    /// <returns>US dollars as pico-USD, or null.</returns>
    private static decimal? ParseUsd(string text) =>
        decimal.TryParse(text, NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent, CultureInfo.InvariantCulture, out var dollars)
        && dollars is >= 0 and <= UsdMax
            ? dollars * Cost.PicoPerUsd
            : null;

    /// <summary>The tenant of that name; an id that is nobody's where there is none, so that nothing is found.</summary>
    private static async Task<TenantId> FindTenantAsync(NpgsqlDataSource database, string name, CancellationToken stop)
    {
        await using var command = database.CreateCommand("SELECT id FROM tenants WHERE name = $1");
        command.Parameters.Add(new() { Value = name });
        return new TenantId(await command.ExecuteScalarAsync(stop) is Guid id ? id : Guid.Empty);
    }
}

/// <summary>A job and whose it is.</summary>
public sealed record FoundJob(JobView Job, string Tenant);
