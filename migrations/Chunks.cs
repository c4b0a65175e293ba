using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// A run of consecutive tasks of a job: the unit stored, announced and counted. Tasks that escalate along a route leave their chunk for
/// one that was made for them: it names the chunk that has the run (<see cref="Root"/>) and which of its tasks are its own.
/// </summary>
public sealed class ChunkRow
{
    public required JobId Job { get; set; }
    public required int No { get; set; }

    /// <summary>The job's number of the run's first task.</summary>
    public required int FirstSeq { get; set; }

    /// <summary>Its own tasks. Slices count them, from 0, in their order.</summary>
    public required int Tasks { get; set; }

    /// <summary>The chunk whose payload holds its tasks; null where that is this one.</summary>
    public int? Root { get; set; }

    /// <summary>Which tasks of the run are its own, as <see cref="TaskBits"/>; null for all of them.</summary>
    public byte[]? Own { get; set; }

    /// <summary>Which turn its tasks take, from 1; more than 1 only along a route.</summary>
    public short Turn { get; set; } = 1;

    /// <summary>The model that runs it, as <c>name@version</c>; null where that is the job's.</summary>
    public string? Model { get; set; }

    /// <summary>Units of all tasks and of the longest, as estimated at the door.</summary>
    public required long Units { get; set; }
    public required int UnitsMax { get; set; }

    /// <summary>Tasks without a result, and those with one, by outcome.</summary>
    public required int Remaining { get; set; }
    public int Succeeded { get; set; }
    public int Failed { get; set; }
    public int Expired { get; set; }
    public int Cancelled { get; set; }

    /// <summary>Tasks that left it for the next variant of their route.</summary>
    public int Escalated { get; set; }

    /// <summary>Pico-USD of its ended tasks.</summary>
    public long CostPico { get; set; }

    /// <summary>Units of its succeeded tasks, as the worker counted them: what is charged for.</summary>
    public long UnitsDone { get; set; }

    /// <summary>How often a worker died while it ran.</summary>
    public int Attempts { get; set; }

    /// <summary>When the broker confirmed its message; null until then, and the sweep publishes it again.</summary>
    public DateTimeOffset? AnnouncedAt { get; set; }

    /// <summary>
    /// The run's tasks, as <see cref="ChunkPayload"/> packs them; null where the run is another chunk's, or was removed after the job's end.
    /// Compressed already, so its storage is <c>EXTERNAL</c>.
    /// </summary>
    public required byte[]? Payload { get; set; }
}

internal sealed class ChunksTable : IEntityTypeConfiguration<ChunkRow>
{
    public void Configure(EntityTypeBuilder<ChunkRow> builder)
    {
        builder.ToTable(
            "chunks",
            t =>
            {
                t.HasCheckConstraint("ck_chunks_tasks", "tasks > 0 AND no >= 0 AND first_seq >= 0 AND units >= 0 AND units_max >= 0");
                t.HasCheckConstraint(
                    "ck_chunks_counts",
                    "remaining >= 0 AND succeeded >= 0 AND failed >= 0 AND expired >= 0 AND cancelled >= 0 AND escalated >= 0 "
                        + "AND remaining + succeeded + failed + expired + cancelled + escalated = tasks"
                );
                t.HasCheckConstraint(
                    "ck_chunks_turn",
                    "turn >= 1 AND (turn = 1) = (root IS NULL) AND (root IS NULL) = (own IS NULL) AND (root IS NULL) = (model IS NULL)"
                );
                // The payload may go once its tasks have ended or escalated; that the job has ended, too, is seen to by who removes it.
                t.HasCheckConstraint(
                    "ck_chunks_payload",
                    "root IS NULL AND (payload IS NOT NULL OR remaining = 0) OR root IS NOT NULL AND payload IS NULL"
                );
                t.HasCheckConstraint("ck_chunks_cost_pico", "cost_pico >= 0");
                t.HasCheckConstraint("ck_chunks_units_done", "units_done >= 0");
                t.HasCheckConstraint("ck_chunks_attempts", "attempts >= 0");
            }
        );
        builder.HasKey(c => new { c.Job, c.No });
        builder.HasOne<JobRow>().WithMany().HasForeignKey(c => c.Job).OnDelete(DeleteBehavior.Cascade);

        // Both stay small however much is done: what the scheduler reads when it starts, and what the sweep publishes again.
        builder.HasIndex(c => new { c.Job, c.No }, "ix_chunks_open").HasFilter("remaining > 0");
        builder.HasIndex(c => new { c.Job, c.No }, "ix_chunks_unannounced").HasFilter("announced_at IS NULL");

        // Of a job's results in their order: the first chunk of escalated tasks that is open. Empty where no job has a route.
        builder.HasIndex(c => new { c.Job, c.FirstSeq }, "ix_chunks_escalated").HasFilter("remaining > 0 AND root IS NOT NULL");

        builder.Property(c => c.Succeeded).HasDefaultValue(0);
        builder.Property(c => c.Failed).HasDefaultValue(0);
        builder.Property(c => c.Expired).HasDefaultValue(0);
        builder.Property(c => c.Cancelled).HasDefaultValue(0);
        builder.Property(c => c.Escalated).HasDefaultValue(0);
        builder.Property(c => c.Turn).HasDefaultValue((short)1);
        builder.Property(c => c.CostPico).HasDefaultValue(0L);
        builder.Property(c => c.UnitsDone).HasDefaultValue(0L);
        builder.Property(c => c.Attempts).HasDefaultValue(0);
    }
}

/// <summary>How statements read chunks <c>c</c> of jobs <c>j</c>, whether their tasks have escalated or not.</summary>
public static class ChunkSql
{
    /// <summary>The payload of the run.</summary>
    public const string Payload = "coalesce(c.payload, (SELECT p.payload FROM chunks p WHERE p.job = c.job AND p.no = c.root))";

    /// <summary>The model that runs it, as <c>name@version</c>.</summary>
    public const string Model = "coalesce(c.model, j.model || '@' || j.model_version)";

    /// <summary>How many tasks the run has at most: the task at place <c>i</c> of it is <c>first_seq + i</c>.</summary>
    public const string Span = "coalesce(octet_length(c.own) * 8, c.tasks)";

    /// <summary>Numbers of the run's tasks that need not run in this chunk any more: they have ended, or left it for the next variant.</summary>
    public const string DoneSeqs = $"""
        ARRAY(SELECT r.seq FROM results r WHERE r.job = c.job AND r.seq >= c.first_seq AND r.seq < c.first_seq + {Span}
              UNION ALL
              SELECT t.seq FROM turns t
              WHERE t.job = c.job AND t.seq >= c.first_seq AND t.seq < c.first_seq + {Span} AND t.turn = c.turn)
        """;
}
