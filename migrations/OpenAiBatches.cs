using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// A batch of OpenAI's API: a job whose tasks come from a file and whose results go to files. (What this project calls a batch is a
/// device call, <see cref="BatchRow"/>.) The row is there before the job, which gets its id; where the batch stands follows from both.
/// </summary>
public sealed class OpenAiBatchRow
{
    /// <summary>The job's id, also while there is no job yet.</summary>
    public required JobId Job { get; set; }
    public required TenantId Tenant { get; set; }

    /// <summary><c>/v1/embeddings</c>, …</summary>
    public required string Endpoint { get; set; }
    public required FileId InputFile { get; set; }

    /// <summary>As it was asked for: <c>24h</c>.</summary>
    public required string CompletionWindow { get; set; }

    /// <summary>End of the window: the job's deadline.</summary>
    public required DateTimeOffset ExpiresAt { get; set; }

    /// <summary>The job's class, which the batch's service tier stands for.</summary>
    public required LatencyClass Class { get; set; }
    public required string Metadata { get; set; }

    /// <summary>Life of the output files, in seconds.</summary>
    public required int OutputSeconds { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }

    /// <summary>The model its lines name; null until they are read.</summary>
    public string? Model { get; set; }

    /// <summary>Lines of the input file; null until they are read and found good.</summary>
    public int? Lines { get; set; }

    /// <summary>When its cancellation was asked for.</summary>
    public DateTimeOffset? CancellingAt { get; set; }

    /// <summary>What was wrong with the lines, in OpenAI's shape; then it failed, and there is no job.</summary>
    public string? Errors { get; set; }

    /// <summary>When it failed, was cancelled before it was a job, or had its files.</summary>
    public DateTimeOffset? FinishedAt { get; set; }

    /// <summary>When the making of its files began.</summary>
    public DateTimeOffset? FinalizingAt { get; set; }

    /// <summary>Lines by their end, and the file that each kind went to; null where there is none of the kind.</summary>
    public int? LinesCompleted { get; set; }
    public int? LinesFailed { get; set; }
    public FileId? OutputFile { get; set; }
    public FileId? ErrorFile { get; set; }

    /// <summary>Units of the completed lines.</summary>
    public long? InputTokens { get; set; }
}

internal sealed class OpenAiBatchesTable : IEntityTypeConfiguration<OpenAiBatchRow>
{
    public void Configure(EntityTypeBuilder<OpenAiBatchRow> builder)
    {
        builder.ToTable(
            "openai_batches",
            t =>
            {
                t.HasCheckConstraint("ck_openai_batches_class", $"class IN ({Words.SqlList<LatencyClass>(LatencyClasses.Name)})");
                t.HasCheckConstraint("ck_openai_batches_endpoint", "endpoint LIKE '/%' AND completion_window <> ''");
                t.HasCheckConstraint("ck_openai_batches_errors", "errors IS NULL OR finished_at IS NOT NULL");
                t.HasCheckConstraint("ck_openai_batches_lines", "lines >= 0 AND lines_completed + lines_failed <= lines");
                t.HasCheckConstraint(
                    "ck_openai_batches_files",
                    "num_nonnulls(output_file, error_file, lines_completed, lines_failed, input_tokens) = 0 OR finished_at IS NOT NULL"
                );
            }
        );
        builder.HasKey(b => b.Job);
        builder.HasOne<TenantRow>().WithMany().HasForeignKey(b => b.Tenant).OnDelete(DeleteBehavior.Restrict);
        builder.HasIndex(b => new { b.Tenant, b.Job }, "ix_openai_batches_tenant").IsDescending(false, true);

        // What intake, finaliser and sweep look for: few rows, however many have finished.
        builder.HasIndex(b => b.Job, "ix_openai_batches_open").HasFilter("finished_at IS NULL");

        // A file in use is not removed.
        builder.HasIndex(b => b.InputFile, "ix_openai_batches_input").HasFilter("finished_at IS NULL");
        builder.Property(b => b.Metadata).HasColumnType("jsonb").HasDefaultValueSql("'{}'");
        builder.Property(b => b.Errors).HasColumnType("jsonb");
    }
}
