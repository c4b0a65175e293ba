using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>What a client submits. Nothing hot is counted here: chunks count, and the job row counts its open chunks.</summary>
public sealed class JobRow
{
    public required JobId Id { get; set; }
    public required TenantId Tenant { get; set; }

    /// <summary>Name of the model (of a route the first variant's); with <see cref="ModelVersion"/> the version fixed at admission.</summary>
    public required string Model { get; set; }
    public required string ModelVersion { get; set; }

    /// <summary>The route its tasks go along, as <see cref="ModelRoute"/> in JSON with every version fixed at admission; null where the model is all.</summary>
    public string? Route { get; set; }
    public required LatencyClass Class { get; set; }
    public required JobState State { get; set; }

    /// <summary>A flag, not a state: what is dispatched still ends, nothing more is dispatched.</summary>
    public bool Paused { get; set; }

    /// <summary>Tasks of the whole job; 0 until its body has ended, and so the three below.</summary>
    public int Tasks { get; set; }
    public long Units { get; set; }
    public int Chunks { get; set; }

    /// <summary>Chunks with tasks that have not ended. Who brings it to 0 finalises the job.</summary>
    public int OpenChunks { get; set; }

    /// <summary>Totals, null until the job is finalised; before that the chunks have them.</summary>
    public int? Succeeded { get; set; }
    public int? Failed { get; set; }
    public int? Expired { get; set; }
    public int? Cancelled { get; set; }

    /// <summary>Pico-USD of all its tasks.</summary>
    public decimal? CostPico { get; set; }
    public required DateTimeOffset Deadline { get; set; }

    /// <summary>Since when it has its class, where that was changed: its class's target counts from then. Else null.</summary>
    public DateTimeOffset? ClassSince { get; set; }

    /// <summary>Completion predicted at admission; null when no fresh forecast was known.</summary>
    public DateTimeOffset? PredictedAt { get; set; }

    /// <summary>The band around it: earlier, and later, than that in one of 20 cases each. With the prediction, or null.</summary>
    public DateTimeOffset? PredictedEarlyAt { get; set; }
    public DateTimeOffset? PredictedLateAt { get; set; }

    /// <summary>What its tasks were predicted to cost, in pico-USD; null where the pool had no price.</summary>
    public long? PredictedCostPico { get; set; }

    /// <summary>What the forecast alone said: microseconds from acceptance to completion, and pico-USD. Predictions learn from it.</summary>
    public long? ForecastUs { get; set; }
    public long? ForecastCostPico { get; set; }

    /// <summary>Microseconds of it that were spent on what was ahead; null where nothing was.</summary>
    public long? ForecastWaitUs { get; set; }

    /// <summary>The group of its tasks that name none of their own; see <see cref="Contracts.GroupName"/>.</summary>
    public string? GroupName { get; set; }
    public string? Webhook { get; set; }

    /// <summary>The client's own keys and values, a JSON object.</summary>
    public required string Metadata { get; set; }

    /// <summary>Units of its succeeded tasks, with the totals.</summary>
    public long? UnitsDone { get; set; }

    /// <summary>
    /// What its tenant pays for a million units, in pico-USD: the price list at its acceptance, or when its class was changed. Null before
    /// there was one.
    /// </summary>
    public long? PerMillionUnitsPico { get; set; }

    /// <summary>
    /// What is added to units × price, in millionths of pico-USD, since units that were done before its class changed have another price.
    /// Null where it has not changed.
    /// </summary>
    public decimal? RepricedMillionths { get; set; }

    /// <summary>What it was predicted to be charged for when it was accepted, in pico-USD.</summary>
    public long? EstimatePico { get; set; }

    /// <summary>What of its tenant's budget is held for it; null where there is no budget.</summary>
    public long? ReservedPico { get; set; }

    /// <summary>Why it is cancelled, where its owner did not ask for it: <c>budget_exceeded</c>.</summary>
    public string? CancelReason { get; set; }

    /// <summary>Budget in pico-USD, of what is charged.</summary>
    public long? MaxCostPico { get; set; }

    /// <summary>The job whose failed tasks this one runs again.</summary>
    public JobId? RetryOf { get; set; }

    /// <summary>True when its tenant's cache may answer its tasks, and takes their results.</summary>
    public bool UsesCache { get; set; }

    /// <summary>The trace it belongs to, as W3C's <c>traceparent</c>; null where nothing is recorded of it.</summary>
    public string? Traceparent { get; set; }

    /// <summary>Why the job itself was refused, as JSON; only in state <c>failed</c>.</summary>
    public string? Error { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }

    /// <summary>When its body had ended and it was accepted.</summary>
    public DateTimeOffset? QueuedAt { get; set; }

    /// <summary>When the first of its tasks ran or ended.</summary>
    public DateTimeOffset? StartedAt { get; set; }
    public DateTimeOffset? FinishedAt { get; set; }

    /// <summary>Since when what its tasks were given, what they gave, and its events and deliveries are gone; see <see cref="JobRemovalRow"/>.</summary>
    public DateTimeOffset? InputsRemovedAt { get; set; }
    public DateTimeOffset? OutputsRemovedAt { get; set; }
    public DateTimeOffset? LogsRemovedAt { get; set; }
}

/// <summary>SQL that says of a job what several statements say alike.</summary>
public static class JobSql
{
    /// <summary>What so many of its units are charged, in pico-USD; null where it has no price.</summary>
    /// <param name="units">An expression for units of succeeded tasks.</param>
    /// <param name="job">How the statement calls the job's row.</param>
    public static string Price(string units, string job) =>
        $"div({units}::numeric * {job}.per_million_units_pico + coalesce({job}.repriced_millionths, 0), 1000000)";
}

/// <summary>
/// The CHECKs state both sides of every state, as the picture in <see cref="JobState"/> draws them:
/// <code>
///              queued_at  started_at  finished_at  open_chunks  totals    error
/// receiving    no         no          no           0            no        no
/// queued       yes        no          no           > 0          no        no
/// running      yes        yes         no           > 0          no        no
/// cancelling   may        may         no           any          no        no
/// finalizing   yes        yes         no           0            yes       no
/// completed    yes        yes         yes          0            yes       no
/// expired      may        may         yes          0            yes       no
/// cancelled    may        may         yes          0            yes       no
/// failed       may        may         yes          any          may       yes
/// </code>
/// </summary>
internal sealed class JobsTable : IEntityTypeConfiguration<JobRow>
{
    public void Configure(EntityTypeBuilder<JobRow> builder)
    {
        builder.ToTable(
            "jobs",
            t =>
            {
                t.HasCheckConstraint("ck_jobs_state", $"state IN ({Words.SqlList<JobState>(JobStates.Name)})");
                t.HasCheckConstraint("ck_jobs_class", $"class IN ({Words.SqlList<LatencyClass>(LatencyClasses.Name)})");
                t.HasCheckConstraint(
                    "ck_jobs_queued_at",
                    "CASE WHEN state = 'receiving' THEN queued_at IS NULL "
                        + "WHEN state IN ('queued', 'running', 'finalizing', 'completed') THEN queued_at IS NOT NULL ELSE true END"
                );
                t.HasCheckConstraint(
                    "ck_jobs_started_at",
                    "CASE WHEN state IN ('receiving', 'queued') THEN started_at IS NULL "
                        + "WHEN state IN ('running', 'finalizing', 'completed') THEN started_at IS NOT NULL ELSE true END"
                );
                t.HasCheckConstraint(
                    "ck_jobs_finished_at",
                    "(state IN ('completed', 'failed', 'expired', 'cancelled')) = (finished_at IS NOT NULL)"
                );
                t.HasCheckConstraint(
                    "ck_jobs_open_chunks",
                    "open_chunks BETWEEN 0 AND chunks AND CASE WHEN state IN ('queued', 'running') THEN open_chunks > 0 "
                        + "WHEN state IN ('cancelling', 'failed') THEN true ELSE open_chunks = 0 END"
                );
                t.HasCheckConstraint(
                    "ck_jobs_totals",
                    "num_nonnulls(succeeded, failed, expired, cancelled, cost_pico) = CASE "
                        + "WHEN state IN ('finalizing', 'completed', 'expired', 'cancelled') THEN 5 "
                        + "WHEN state = 'failed' AND succeeded IS NOT NULL THEN 5 ELSE 0 END"
                );
                t.HasCheckConstraint("ck_jobs_totals_sum", "succeeded + failed + expired + cancelled = tasks");
                t.HasCheckConstraint(
                    "ck_jobs_prices",
                    "per_million_units_pico >= 0 AND estimate_pico >= 0 AND reserved_pico >= 0 AND units_done >= 0"
                );
                t.HasCheckConstraint(
                    "ck_jobs_predicted",
                    "predicted_early_at <= predicted_at AND predicted_at <= predicted_late_at AND predicted_cost_pico >= 0 "
                        + "AND forecast_us >= 0 AND forecast_cost_pico >= 0 AND forecast_wait_us BETWEEN 0 AND forecast_us"
                );
                t.HasCheckConstraint("ck_jobs_group_name", $"group_name ~ '{GroupName.Pattern}'");
                t.HasCheckConstraint("ck_jobs_cancel_reason", "cancel_reason IS NULL OR state IN ('cancelling', 'cancelled')");
                t.HasCheckConstraint("ck_jobs_error", "(state = 'failed') = (error IS NOT NULL)");
                t.HasCheckConstraint(
                    "ck_jobs_removed",
                    "num_nonnulls(inputs_removed_at, outputs_removed_at, logs_removed_at) = 0 OR finished_at IS NOT NULL"
                );
                // A task that escalates may make a chunk of its own, once a turn.
                t.HasCheckConstraint(
                    "ck_jobs_counts",
                    "tasks >= 0 AND units >= 0 AND chunks >= 0 AND (chunks <= tasks OR route IS NOT NULL)"
                );
            }
        );
        builder.HasKey(j => j.Id);
        builder.HasOne<TenantRow>().WithMany().HasForeignKey(j => j.Tenant).OnDelete(DeleteBehavior.Restrict);

        // A tenant's list, newest first: ids are in order of time.
        builder.HasIndex(j => new { j.Tenant, j.Id }, "ix_jobs_tenant").IsDescending(false, true);

        // What the scheduler reads when it starts and the sweeps read every few seconds: few rows, however many have finished.
        builder.HasIndex(j => new { j.State, j.Id }, "ix_jobs_open").HasFilter("finished_at IS NULL");

        // The jobs of a group; those without one are not in it.
        builder.HasIndex(j => new { j.Tenant, j.GroupName }, "ix_jobs_group").HasFilter("group_name IS NOT NULL");

        // What retention walks, oldest first: of each tenant and class what has ended and is still there. A job comes into them once, as it ends.
        foreach (var kind in (ReadOnlySpan<string>)["inputs", "outputs", "logs"])
        {
            builder
                .HasIndex(
                    j => new
                    {
                        j.Tenant,
                        j.Class,
                        j.FinishedAt,
                    },
                    $"ix_jobs_{kind}_kept"
                )
                .HasFilter($"finished_at IS NOT NULL AND {kind}_removed_at IS NULL");
        }
        // What has ended lately, and which jobs have failed tasks, newest first: what the dashboard looks at.
        builder.HasIndex(j => j.FinishedAt, "ix_jobs_finished_at").HasFilter("finished_at IS NOT NULL");
        builder.HasIndex(j => j.Id, "ix_jobs_with_failures").HasFilter("failed > 0");
        builder.HasIndex(j => j.RetryOf, "ix_jobs_retry_of").HasFilter("retry_of IS NOT NULL");

        builder.Property(j => j.RepricedMillionths).HasColumnType("numeric");
        builder.Property(j => j.Metadata).HasColumnType("jsonb").HasDefaultValueSql("'{}'");
        builder.Property(j => j.Error).HasColumnType("jsonb");
        builder.Property(j => j.Route).HasColumnType("jsonb");
        builder.Property(j => j.CostPico).HasColumnType("numeric");
        builder.Property(j => j.Paused).HasDefaultValue(false);
        builder.Property(j => j.UsesCache).HasDefaultValue(false);
        builder.Property(j => j.Tasks).HasDefaultValue(0);
        builder.Property(j => j.Units).HasDefaultValue(0L);
        builder.Property(j => j.Chunks).HasDefaultValue(0);
        builder.Property(j => j.OpenChunks).HasDefaultValue(0);
    }
}
