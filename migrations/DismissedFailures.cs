using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// Failures of an ended job that an operator has looked at and dismissed: the failed tasks of one kind at one model. They are not listed as
/// open any more; the tasks, their errors and the job stay as they are.
/// </summary>
public sealed class DismissedFailureRow
{
    public required JobId Job { get; set; }
    public required string ErrorCode { get; set; }

    /// <summary>The version they failed at, <c>name@version</c>.</summary>
    public required string Model { get; set; }

    /// <summary>How many tasks.</summary>
    public required int Tasks { get; set; }
    public required DateTimeOffset At { get; set; }
}

/// <summary>Small beside the failures themselves: a row a job, kind and model, and only of what somebody dismissed.</summary>
internal sealed class DismissedFailuresTable : IEntityTypeConfiguration<DismissedFailureRow>
{
    public void Configure(EntityTypeBuilder<DismissedFailureRow> builder)
    {
        builder.ToTable("dismissed_failures", t => t.HasCheckConstraint("ck_dismissed_failures_tasks", "tasks > 0"));
        builder.HasKey(d => new
        {
            d.Job,
            d.ErrorCode,
            d.Model,
        });
        builder.HasOne<JobRow>().WithMany().HasForeignKey(d => d.Job).OnDelete(DeleteBehavior.Cascade);
    }
}
