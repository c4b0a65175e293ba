using MassTransit;
using Microsoft.AspNetCore.Http;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Storage;

namespace Pipeline.Ingest;

/// <summary>
/// What a job's owner may ask of it: cancel, pause, resume. The row is changed and committed first, then the scheduler is told. Each may
/// be asked again: nothing changes, and the scheduler is told again.
/// </summary>
internal sealed class JobCommands(
    IBus bus,
    NpgsqlDataSource database,
    JobStore store,
    BrokerGate broker,
    IngestOptions options,
    TimeProvider time
)
{
    private const string CancelSql = """
        WITH changed AS (
          UPDATE jobs SET state = 'cancelling' WHERE id = $1 AND tenant = $2 AND state IN ('queued', 'running') RETURNING id, tenant
        )
        INSERT INTO events (tenant, job, type, data, created_at)
        SELECT tenant, id, 'job.cancelling', jsonb_build_object('job', id, 'state', 'cancelling'), $3 FROM changed
        """;

    /// <summary>Cancels a queued job for its owner, who has gone; one that has ended stays as it is.</summary>
    public async Task CancelAsync(TenantId tenant, JobId job, CancellationToken stop)
    {
        if (await ExecuteAsync(CancelSql, tenant, job, stop) > 0)
        {
            await bus.PublishAsync(new JobChanged { Job = job, Change = JobChange.Cancelled }, options.PublishWaitMax, stop);
        }
    }

    /// <summary>Ends what has not ended. A job whose body is still coming in is taken back as if it had never been sent.</summary>
    public Task<IResult> CancelAsync(string id, HttpContext http) =>
        ChangeAsync(id, http, JobChange.Cancelled, CancelSql, static job => job.State is JobState.Cancelling or JobState.Cancelled);

    /// <summary>Holds back what is not dispatched yet; answered when the scheduler plans by it, or cannot be asked now.</summary>
    public Task<IResult> PauseAsync(string id, HttpContext http) => SetPausedAsync(id, http, paused: true);

    /// <summary>Lets a paused job go on.</summary>
    public Task<IResult> ResumeAsync(string id, HttpContext http) => SetPausedAsync(id, http, paused: false);

    /// <summary>
    /// Tells the scheduler once more of jobs that wait to be cancelled: the message of the first time may have been lost with the broker.
    /// Gives how many.
    /// </summary>
    public async Task<int> SweepOnceAsync(CancellationToken stop)
    {
        var jobs = new List<JobId>();
        await using (var command = database.CreateCommand("SELECT id FROM jobs WHERE state = 'cancelling' ORDER BY id LIMIT 1000"))
        await using (var reader = await command.ExecuteReaderAsync(stop))
        {
            while (await reader.ReadAsync(stop))
            {
                jobs.Add(new JobId(reader.GetGuid(0)));
            }
        }

        foreach (var job in jobs)
        {
            await bus.PublishAsync(new JobChanged { Job = job, Change = JobChange.Cancelled }, options.PublishWaitMax, stop);
        }

        return jobs.Count;
    }

    private Task<IResult> SetPausedAsync(string id, HttpContext http, bool paused) =>
        ChangeAsync(
            id,
            http,
            paused ? JobChange.Paused : JobChange.Resumed,
            $"""
            WITH changed AS (
              UPDATE jobs SET paused = {paused} WHERE id = $1 AND tenant = $2 AND state IN ('queued', 'running') AND paused <> {paused}
              RETURNING id, tenant, state
            )
            INSERT INTO events (tenant, job, type, data, created_at)
            SELECT tenant, id, '{(paused ? "job.paused" : "job.resumed")}', jsonb_build_object('job', id, 'state', state), $3 FROM changed
            """,
            job => job.State is JobState.Queued or JobState.Running && job.Paused == paused
        );

    private async Task<IResult> ChangeAsync(string id, HttpContext http, JobChange change, string sql, Func<JobView, bool> isAsAsked)
    {
        if (broker.Refusal() is { } away)
        {
            return away;
        }

        var stop = http.RequestAborted;
        var tenant = http.Tenant();
        if (!JobId.TryParse(id, out var job))
        {
            return Unknown(id);
        }

        await ExecuteAsync(sql, tenant, job, stop);
        var view = await JobViews.FindAsync(database, tenant, job, stop);
        if (view is { State: JobState.Receiving } && change == JobChange.Cancelled && await store.DeleteReceivingAsync(job, stop))
        {
            return Results.Json(view with { State = JobState.Cancelled, FinishedAt = time.GetUtcNow() }, ApiJson.Options);
        }

        if (view is null)
        {
            return Unknown(id);
        }

        if (!isAsAsked(view))
        {
            return Problems.Result(
                FailureKind.InvalidState,
                $"A job that is {view.State.Name()} cannot be {change.ToString().ToLowerInvariant()}.",
                "state"
            );
        }

        await TellAsync(new JobChanged { Job = job, Change = change }, stop);
        return Results.Json(view, ApiJson.Options);
    }

    /// <summary>
    /// After a pause nothing of the job should begin, so its answer waits for the scheduler's. Where none comes in time it is paused all the same,
    /// as soon as the scheduler hears of it.
    /// </summary>
    private Task TellAsync(JobChanged changed, CancellationToken stop) =>
        changed.Change == JobChange.Paused
            ? TellScheduler.AndWaitAsync<JobChanged, JobChangeObserved>(bus, changed, options.PauseWaitMax, stop)
            : bus.PublishAsync(changed, options.PublishWaitMax, stop);

    private async Task<int> ExecuteAsync(string sql, TenantId tenant, JobId job, CancellationToken stop)
    {
        await using var command = database.CreateCommand(sql);
        command.Parameters.Add(new() { Value = job.Value });
        command.Parameters.Add(new() { Value = tenant.Value });
        command.Parameters.Add(new() { Value = time.GetUtcNow().UtcDateTime, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        return await command.ExecuteNonQueryAsync(stop);
    }

    public static ProblemResult Unknown(string id) => Problems.Result(FailureKind.UnknownJob, $"There is no job \"{id}\".", "id");
}
