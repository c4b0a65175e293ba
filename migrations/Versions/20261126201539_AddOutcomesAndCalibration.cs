using System;
using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class AddOutcomesAndCalibration : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<long>(
                name: "forecast_cost_pico",
                table: "jobs",
                type: "bigint",
                nullable: true);

            migrationBuilder.AddColumn<long>(
                name: "forecast_us",
                table: "jobs",
                type: "bigint",
                nullable: true);

            migrationBuilder.AddColumn<string>(
                name: "group_name",
                table: "jobs",
                type: "text",
                nullable: true);

            migrationBuilder.AddColumn<long>(
                name: "predicted_cost_pico",
                table: "jobs",
                type: "bigint",
                nullable: true);

            migrationBuilder.AddColumn<DateTimeOffset>(
                name: "predicted_early_at",
                table: "jobs",
                type: "timestamp with time zone",
                nullable: true);

            migrationBuilder.AddColumn<DateTimeOffset>(
                name: "predicted_late_at",
                table: "jobs",
                type: "timestamp with time zone",
                nullable: true);

            migrationBuilder.CreateTable(
                name: "calibration_days",
                columns: table => new
                {
                    day = table.Column<DateOnly>(type: "date", nullable: false),
                    @class = table.Column<string>(name: "class", type: "text", nullable: false),
                    model = table.Column<string>(type: "text", nullable: false),
                    jobs = table.Column<long>(type: "bigint", nullable: false),
                    covered = table.Column<long>(type: "bigint", nullable: false),
                    time_error = table.Column<double>(type: "double precision", nullable: false),
                    time_error_absolute = table.Column<double>(type: "double precision", nullable: false),
                    cost_jobs = table.Column<long>(type: "bigint", nullable: false),
                    cost_error = table.Column<double>(type: "double precision", nullable: false),
                    cost_error_absolute = table.Column<double>(type: "double precision", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_calibration_days", x => new { x.day, x.@class, x.model });
                    table.CheckConstraint("ck_calibration_days_class", "class IN ('express', 'standard', 'bulk')");
                    table.CheckConstraint("ck_calibration_days_jobs", "jobs >= covered AND covered >= 0 AND jobs >= cost_jobs AND cost_jobs >= 0");
                });

            migrationBuilder.CreateTable(
                name: "groups",
                columns: table => new
                {
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    name = table.Column<string>(type: "text", nullable: false),
                    first_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    last_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    requests = table.Column<long>(type: "bigint", nullable: false, defaultValue: 0L),
                    succeeded = table.Column<long>(type: "bigint", nullable: false, defaultValue: 0L),
                    turns = table.Column<long>(type: "bigint", nullable: false, defaultValue: 0L),
                    cost_pico = table.Column<decimal>(type: "numeric", nullable: false, defaultValue: 0m),
                    price_millionths = table.Column<decimal>(type: "numeric", nullable: false, defaultValue: 0m),
                    models = table.Column<string[]>(type: "text[]", nullable: false, defaultValueSql: "'{}'"),
                    classes = table.Column<string[]>(type: "text[]", nullable: false, defaultValueSql: "'{}'"),
                    accepted = table.Column<bool>(type: "boolean", nullable: true),
                    value = table.Column<decimal>(type: "numeric", nullable: true),
                    reported_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_groups", x => new { x.tenant, x.name });
                    table.CheckConstraint("ck_groups_amounts", "cost_pico >= 0 AND price_millionths >= 0");
                    table.CheckConstraint("ck_groups_name", "name ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'");
                    table.CheckConstraint("ck_groups_outcome", "(accepted IS NULL) = (reported_at IS NULL) AND (value IS NULL OR accepted IS NOT NULL)");
                    table.CheckConstraint("ck_groups_requests", "requests >= succeeded AND succeeded >= 0 AND turns >= 0");
                    table.CheckConstraint("ck_groups_times", "(requests > 0) = (first_at IS NOT NULL) AND (first_at IS NULL) = (last_at IS NULL)");
                    table.ForeignKey(
                        name: "fk_groups_tenants",
                        column: x => x.tenant,
                        principalTable: "tenants",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateTable(
                name: "task_groups",
                columns: table => new
                {
                    job = table.Column<Guid>(type: "uuid", nullable: false),
                    chunk = table.Column<int>(type: "integer", nullable: false),
                    name = table.Column<string>(type: "text", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    tasks = table.Column<short[]>(type: "smallint[]", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_task_groups", x => new { x.job, x.chunk, x.name });
                    table.CheckConstraint("ck_task_groups_name", "name ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'");
                    table.CheckConstraint("ck_task_groups_tasks", "cardinality(tasks) > 0 AND 0 <= ALL (tasks)");
                    table.ForeignKey(
                        name: "fk_task_groups_jobs",
                        column: x => x.job,
                        principalTable: "jobs",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateIndex(
                name: "ix_jobs_group",
                table: "jobs",
                columns: new[] { "tenant", "group_name" },
                filter: "group_name IS NOT NULL");

            migrationBuilder.AddCheckConstraint(
                name: "ck_jobs_group_name",
                table: "jobs",
                sql: "group_name ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'");

            migrationBuilder.AddCheckConstraint(
                name: "ck_jobs_predicted",
                table: "jobs",
                sql: "predicted_early_at <= predicted_at AND predicted_at <= predicted_late_at AND predicted_cost_pico >= 0 AND forecast_us >= 0 AND forecast_cost_pico >= 0");

            migrationBuilder.CreateIndex(
                name: "ix_events_ends",
                table: "events",
                column: "xid",
                filter: "type IN ('job.completed', 'job.expired')");

            migrationBuilder.CreateIndex(
                name: "ix_groups_first_at",
                table: "groups",
                columns: new[] { "tenant", "first_at" });

            migrationBuilder.CreateIndex(
                name: "ix_task_groups_tenant",
                table: "task_groups",
                columns: new[] { "tenant", "name" });
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "calibration_days");

            migrationBuilder.DropTable(
                name: "groups");

            migrationBuilder.DropTable(
                name: "task_groups");

            migrationBuilder.DropIndex(
                name: "ix_jobs_group",
                table: "jobs");

            migrationBuilder.DropCheckConstraint(
                name: "ck_jobs_group_name",
                table: "jobs");

            migrationBuilder.DropCheckConstraint(
                name: "ck_jobs_predicted",
                table: "jobs");

            migrationBuilder.DropIndex(
                name: "ix_events_ends",
                table: "events");

            migrationBuilder.DropColumn(
                name: "forecast_cost_pico",
                table: "jobs");

            migrationBuilder.DropColumn(
                name: "forecast_us",
                table: "jobs");

            migrationBuilder.DropColumn(
                name: "group_name",
                table: "jobs");

            migrationBuilder.DropColumn(
                name: "predicted_cost_pico",
                table: "jobs");

            migrationBuilder.DropColumn(
                name: "predicted_early_at",
                table: "jobs");

            migrationBuilder.DropColumn(
                name: "predicted_late_at",
                table: "jobs");
        }
    }
}
