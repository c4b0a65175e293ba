using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Jobs;
using Pipeline.ResultsApi.Jobs;

namespace Pipeline.ResultsApi.Dashboard.Failures;

/// <summary>
/// Dismisses failures that need nothing any more: the failed tasks of a job, of one kind at one model. They leave the list of open
/// failures; results, errors and the job stay.
/// </summary>
internal sealed class DismissedFailures(NpgsqlDataSource database, AuditLog audit, DashboardOptions options, TimeProvider time)
{
    /// <param name="failed">Which; a worker says which jobs are meant, and not which of their tasks.</param>
    /// <returns>Refused where nothing is left to dismiss, so a second click does no harm.</returns>
    public async Task<ActionOutcome> AddAsync(Actor actor, TenantId tenant, JobId job, FailureFilter failed, CancellationToken stop)
    {
        var deed = new Deed("job.dismiss", "job", job.ToString()) { Tenant = tenant, Reason = actor.Reason };
        var row = await audit.BeginAsync(actor.Id, actor.Name, actor.Address, deed, stop);
        var dismissed = await InsertAsync(job, failed, stop);
        var tasks = dismissed.Sum(d => d.Tasks);
        var detail = tasks > 0 ? $"{tasks} failed {(tasks == 1 ? "task" : "tasks")} dismissed" : "it has no such failure that is open";
        await audit.CompleteAsync(
            row,
            tasks > 0,
            detail,
            dismissed.ConvertAll(d => new
            {
                error = d.Error,
                model = d.Model,
                tasks = d.Tasks,
            })
        );
        return new(tasks > 0, detail);
    }

    private async Task<List<(string Error, string Model, int Tasks)>> InsertAsync(JobId job, FailureFilter failed, CancellationToken stop)
    {
        await using var command = database.CreateCommand(options);
        var filter = new SqlFilter(command)
            .Add("r.job = {0}", job.Value, NpgsqlDbType.Uuid)
            .Add("r.status = 'failed'")
            .Add("r.error_code = {0}", failed.Error, NpgsqlDbType.Text)
            .Add("r.model = {0}", failed.Model, NpgsqlDbType.Text)
            // While it runs, more may fail: those would be dismissed unseen.
            .Add("EXISTS (SELECT FROM jobs j WHERE j.id = r.job AND j.finished_at IS NOT NULL)");
        command.CommandText = $"""
            INSERT INTO dismissed_failures (job, error_code, model, tasks, at)
            SELECT r.job, r.error_code, r.model, count(*)::int, {filter.Parameter(time.GetUtcNow(), NpgsqlDbType.TimestampTz)}
            FROM results r {filter.Where} GROUP BY r.job, r.error_code, r.model
            ON CONFLICT DO NOTHING
            RETURNING error_code, model, tasks
            """;
        return await Rows.ReadAsync(command, row => (row.GetString(0), row.GetString(1), row.GetInt32(2)), stop);
    }
}
