using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// How far the predictions of the jobs of a class and a model were off that ended on one UTC day; see <see cref="Rollups"/>. An error is
/// (predicted − actual) ÷ actual: of the time from acceptance to end, and of the cost of the tasks.
/// </summary>
public sealed class CalibrationDayRow
{
    public required DateOnly Day { get; set; }
    public required LatencyClass Class { get; set; }

    /// <summary>The version the jobs were accepted for, <c>name@version</c>.</summary>
    public required string Model { get; set; }

    /// <summary>Jobs that ended and had a predicted completion.</summary>
    public required long Jobs { get; set; }

    /// <summary>Those that ended within the band of their prediction.</summary>
    public required long Covered { get; set; }

    /// <summary>Sums of errors, as they are and without their sign.</summary>
    public required double TimeError { get; set; }
    public required double TimeErrorAbsolute { get; set; }

    /// <summary>Those of the jobs with a predicted cost that cost something.</summary>
    public required long CostJobs { get; set; }
    public required double CostError { get; set; }
    public required double CostErrorAbsolute { get; set; }
}

internal sealed class CalibrationDaysTable : IEntityTypeConfiguration<CalibrationDayRow>
{
    public void Configure(EntityTypeBuilder<CalibrationDayRow> builder)
    {
        builder.ToTable(
            "calibration_days",
            t =>
            {
                t.HasCheckConstraint("ck_calibration_days_class", $"class IN ({Words.SqlList<LatencyClass>(LatencyClasses.Name)})");
                t.HasCheckConstraint(
                    "ck_calibration_days_jobs",
                    "jobs >= covered AND covered >= 0 AND jobs >= cost_jobs AND cost_jobs >= 0"
                );
            }
        );
        builder.HasKey(c => new
        {
            c.Day,
            c.Class,
            c.Model,
        });
    }
}
