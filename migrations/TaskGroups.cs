using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// The tasks of a chunk that name a group of their own. A task without one has no part in any row, and a chunk without such tasks has no
/// row: its tasks belong to their job's group, if that has one.
/// </summary>
public sealed class TaskGroupRow
{
    public required JobId Job { get; set; }
    public required int Chunk { get; set; }

    /// <summary>The group; see <see cref="GroupName"/>.</summary>
    public required string Name { get; set; }

    /// <summary>The job's tenant: a group is one tenant's.</summary>
    public required TenantId Tenant { get; set; }

    /// <summary>The tasks, counted from 0 in the chunk.</summary>
    public required short[] Tasks { get; set; }
}

internal sealed class TaskGroupsTable : IEntityTypeConfiguration<TaskGroupRow>
{
    public void Configure(EntityTypeBuilder<TaskGroupRow> builder)
    {
        builder.ToTable(
            "task_groups",
            t =>
            {
                t.HasCheckConstraint("ck_task_groups_name", $"name ~ '{GroupName.Pattern}'");
                t.HasCheckConstraint("ck_task_groups_tasks", "cardinality(tasks) > 0 AND 0 <= ALL (tasks)");
            }
        );
        builder.HasKey(g => new
        {
            g.Job,
            g.Chunk,
            g.Name,
        });
        builder.HasIndex(g => new { g.Tenant, g.Name }, "ix_task_groups_tenant");
        builder.HasOne<JobRow>().WithMany().HasForeignKey(g => g.Job).OnDelete(DeleteBehavior.Cascade);
    }
}
