using MassTransit;
using Microsoft.AspNetCore.Http;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Tasks;
using Pipeline.Migrations;

namespace Pipeline.Ingest;

/// <summary>
/// <c>PATCH /v1/jobs/{id}</c>: another class or deadline for what has not ended of a job. Decided as a new job is, by what is left; the row
/// is changed and committed, then the scheduler is told. What was done keeps its price.
/// </summary>
internal sealed class ChangeJob(
    IBus bus,
    NpgsqlDataSource database,
    ModelCatalog models,
    Admission admission,
    JobGate gate,
    PriceList prices,
    HeldWork held,
    Estimates estimates,
    Forecasts forecasts,
    BrokerGate broker,
    IngestOptions options,
    TimeProvider time
)
{
    /// <summary>
    /// Everything is read from the row as it is locked. Units that were done before are charged at the old price: the difference to the new
    /// one is kept beside it. What is held of the tenant's budget becomes what the job is predicted to come to now.
    /// </summary>
    private static readonly string ChangeSql = $$"""
        WITH done AS (
          SELECT coalesce(sum(units_done), 0) AS units FROM chunks WHERE job = $1
        ), before AS (
          SELECT j.id, j.class, j.deadline, j.class <> $3 AS moved,
                 CASE WHEN j.class <> $3 THEN coalesce({{JobSql.Price("d.units", "j")}}, 0)::bigint + $7 END AS estimate
          FROM jobs j, done d
          WHERE j.id = $1 AND j.tenant = $2 AND j.state IN ('queued', 'running') AND (j.class <> $3 OR j.deadline <> $4)
          FOR UPDATE OF j
        ), changed AS (
          UPDATE jobs j SET
            class = $3, deadline = $4,
            class_since = CASE WHEN b.moved THEN $5 ELSE j.class_since END,
            repriced_millionths = CASE WHEN b.moved THEN
              coalesce(j.repriced_millionths, 0) + d.units * (coalesce(j.per_million_units_pico, 0) - $6) ELSE j.repriced_millionths END,
            per_million_units_pico = CASE WHEN b.moved THEN $6 ELSE j.per_million_units_pico END,
            estimate_pico = CASE WHEN b.moved THEN b.estimate ELSE j.estimate_pico END,
            reserved_pico = CASE WHEN b.moved AND j.reserved_pico IS NOT NULL
              THEN coalesce(j.reserved_pico + reserve_budget(j.tenant, j.queued_at, b.estimate - j.reserved_pico), j.reserved_pico)
              ELSE j.reserved_pico END,
            predicted_at = CASE WHEN b.moved THEN $8 ELSE j.predicted_at END,
            predicted_early_at = CASE WHEN b.moved THEN $9 ELSE j.predicted_early_at END,
            predicted_late_at = CASE WHEN b.moved THEN $10 ELSE j.predicted_late_at END,
            predicted_cost_pico = CASE WHEN b.moved THEN $11 ELSE j.predicted_cost_pico END,
            forecast_us = CASE WHEN NOT b.moved THEN j.forecast_us END,
            forecast_cost_pico = CASE WHEN NOT b.moved THEN j.forecast_cost_pico END
          FROM before b, done d WHERE j.id = b.id
          RETURNING j.id, j.tenant, j.state, j.class, j.deadline, b.class AS class_before, b.deadline AS deadline_before
        )
        INSERT INTO events (tenant, job, type, data, created_at)
        SELECT tenant, id, 'job.changed',
               jsonb_build_object('job', id, 'state', state, 'class', class, 'deadline', deadline,
                                  'before', jsonb_build_object('class', class_before, 'deadline', deadline_before)), $5
        FROM changed
        """;

    public async Task<IResult> HandleAsync(string id, HttpContext http)
    {
        if (broker.Refusal() is { } away)
        {
            return away;
        }

        var (change, refused) = await ReadAsync(id, http, JobParameters.OfChanges);
        if (change is null)
        {
            return refused!;
        }

        var (job, order, stop) = (change.Job, change.Order, http.RequestAborted);
        var moved = order.Class != job.Class;
        if (moved && order.Class == LatencyClass.Express && await held.FindAsync(order.Tenant, order.Model.Name, stop) is { } hold)
        {
            return HeldWork.Refuse(hold);
        }

        var now = order.CreatedAt;
        if (moved || order.DeadlineGiven)
        {
            // Where the class stays, only the deadline is decided on.
            var asked = moved ? order : order with { Class = LatencyClass.Bulk };
            var ruling = gate.Rule(asked, new(change.Units, change.Tasks), now, change.Forecast, isChange: true);
            (order, refused) = (order with { Predicted = ruling.Order.Predicted }, ruling.Refused);
            if (refused is null && moved)
            {
                (order, refused) = await prices.PriceAsync(order, change.Units, now, stop);
            }

            if (refused is not null)
            {
                return refused;
            }

            try
            {
                await StoreAsync(job, order, now, stop);
            }
            catch (PostgresException e) when (e.SqlState == TenantBudgets.ExceededSqlState)
            {
                return PriceList.Refuse(order, e);
            }
        }

        return await TellAsync(job.Id, order, http);
    }

    /// <summary><c>POST /v1/jobs/{id}/estimate</c>: what the rest of the job would take in every class.</summary>
    public async Task<IResult> EstimateAsync(string id, HttpContext http)
    {
        var (change, refused) = await ReadAsync(id, http, [JobParameters.Deadline]);
        return change is null
            ? refused!
            : await estimates.OfRestAsync(
                change.Order with
                {
                    DeadlineGiven = true,
                },
                change.Tasks,
                change.Units,
                change.Forecast,
                http.RequestAborted
            );
    }

    private async Task<(Change? Change, IResult? Refused)> ReadAsync(string id, HttpContext http, IReadOnlyList<string> names)
    {
        var mistakes = new Mistakes(options.MistakesMax);
        var parameters = JobParameters.From(http.Request, mistakes, names);
        if (http.Request.HasJsonContentType())
        {
            var (body, problem) = await ObjectBody.ReadAsync(http, mistakes);
            if (body is not { } json)
            {
                return (null, problem);
            }

            parameters.Take(json, default, mistakes);
        }

        var stop = http.RequestAborted;
        var job = JobId.TryParse(id, out var known) ? await JobViews.FindAsync(database, http.Tenant(), known, stop) : null;
        if (job is null)
        {
            return (null, JobCommands.Unknown(id));
        }

        if (names.Contains(JobParameters.Class) && parameters[JobParameters.Class] is null && parameters[JobParameters.Deadline] is null)
        {
            mistakes.Add(JobParameters.Class, $"{JobParameters.Class}, {JobParameters.Deadline} or both", "neither");
        }

        var (latencyClass, deadline) = admission.ReadChange(parameters, job, mistakes);
        if (mistakes.Any)
        {
            return (null, Admission.Refuse(mistakes));
        }

        if (job.State is not (JobState.Queued or JobState.Running))
        {
            return (null, Ended(job.State));
        }

        if (await models.FindAsync(job.Model.ToString(), stop) is not { } model)
        {
            return (null, Problems.Result(FailureKind.UnknownModel, $"The job's model {job.Model} is not registered any more.", "id"));
        }

        var order = new JobOrder
        {
            Id = job.Id,
            Tenant = http.Tenant(),
            Model = model,
            Class = latencyClass,
            Deadline = deadline,
            DeadlineGiven = parameters[JobParameters.Deadline] is not null,
            CreatedAt = Moments.Now(time),
            MaxCostPico = job.MaxCostPicoUsd is { } most ? (long)Math.Max(0, most - (job.PricePicoUsd ?? 0)) : null,
        };
        return (new Change(job, order, job.UnitsLeft, job.Counts.Remaining, Without(forecasts.Fresh, job)), null);
    }

    /// <summary>The forecast without what the job itself has waiting, which is not ahead of it.</summary>
    private static Forecast? Without(Forecast? forecast, JobView job)
    {
        if (forecast is null || job.Paused)
        {
            return forecast;
        }

        var workers = forecast.Pools.Where(p => p.Model == job.Model).Sum(p => (double)p.Workers);
        return forecast with
        {
            Pools =
            [
                .. forecast.Pools.Select(pool =>
                    pool.Model == job.Model && workers > 0
                        ? pool with
                        {
                            UnitsAhead = Less(pool.UnitsAhead, job.UnitsLeft * pool.Workers / workers),
                            TasksAhead = pool.TasksAhead is { } tasks ? Less(tasks, job.Counts.Remaining * pool.Workers / workers) : null,
                        }
                        : pool
                ),
            ],
        };

        List<long> Less(IReadOnlyList<long> ahead, double own) =>
            [.. ahead.Select((waits, at) => at < (int)job.Class ? waits : Math.Max(0, waits - (long)own))];
    }

    private async Task StoreAsync(JobView job, JobOrder order, DateTimeOffset now, CancellationToken stop)
    {
        await using var command = database.CreateCommand(ChangeSql);
        var p = command.Parameters;
        p.Add(new() { Value = job.Id.Value });
        p.Add(new() { Value = order.Tenant.Value });
        p.Add(new() { Value = order.Class.Name() });
        p.Add(Moment(order.Deadline));
        p.Add(Moment(now));
        p.Add(Amount(order.PerMillionUnitsPico));
        p.Add(Amount(order.EstimatePico));
        p.Add(Moment(order.Predicted?.At));
        p.Add(Moment(order.Predicted?.Early));
        p.Add(Moment(order.Predicted?.Late));
        p.Add(Amount(order.Predicted?.CostPico is { } cost ? cost + (long)job.CostPicoUsd : null));
        await command.ExecuteNonQueryAsync(stop);
    }

    /// <summary>The scheduler is told what the row says, also of a change that was made before.</summary>
    private async Task<IResult> TellAsync(JobId job, JobOrder order, HttpContext http)
    {
        var stop = http.RequestAborted;
        var view = await JobViews.FindAsync(database, order.Tenant, job, stop);
        if (view is not { State: JobState.Queued or JobState.Running })
        {
            return view is null ? JobCommands.Unknown(job.ToString()) : Ended(view.State);
        }

        await bus.PublishAsync(
            new JobChanged
            {
                Job = job,
                Change = JobChange.Moved,
                Class = view.Class,
                Deadline = view.Deadline,
                Since = view.ClassSince ?? view.QueuedAt ?? view.CreatedAt,
            },
            options.PublishWaitMax,
            stop
        );
        return Results.Json(view, ApiJson.Options);
    }

    private static ProblemResult Ended(JobState state) =>
        Problems.Result(
            FailureKind.InvalidState,
            $"A job that is {state.Name()} cannot be changed: only one that is queued or running.",
            "state"
        );

    private static NpgsqlParameter Amount(long? amount) =>
        new() { Value = (object?)amount ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Bigint };

    private static NpgsqlParameter Moment(DateTimeOffset? moment) =>
        new() { Value = (object?)moment?.ToUniversalTime() ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.TimestampTz };

    /// <param name="Order">The job as it is to be; made now.</param>
    /// <param name="Units">Of the tasks that have not ended.</param>
    /// <param name="Forecast">What is ahead of them, without the job itself.</param>
    private sealed record Change(JobView Job, JobOrder Order, long Units, int Tasks, Forecast? Forecast);
}
