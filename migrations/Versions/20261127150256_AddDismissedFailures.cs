using System;
using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class AddDismissedFailures : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropCheckConstraint(
                name: "ck_bulk_actions_action",
                table: "bulk_actions");

            migrationBuilder.AddColumn<Guid>(
                name: "worker",
                table: "endings",
                type: "uuid",
                nullable: true);

            migrationBuilder.AddColumn<string>(
                name: "change",
                table: "bulk_actions",
                type: "jsonb",
                nullable: true);

            migrationBuilder.CreateTable(
                name: "dismissed_failures",
                columns: table => new
                {
                    job = table.Column<Guid>(type: "uuid", nullable: false),
                    error_code = table.Column<string>(type: "text", nullable: false),
                    model = table.Column<string>(type: "text", nullable: false),
                    tasks = table.Column<int>(type: "integer", nullable: false),
                    at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_dismissed_failures", x => new { x.job, x.error_code, x.model });
                    table.CheckConstraint("ck_dismissed_failures_tasks", "tasks > 0");
                    table.ForeignKey(
                        name: "fk_dismissed_failures_jobs",
                        column: x => x.job,
                        principalTable: "jobs",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.AddCheckConstraint(
                name: "ck_bulk_actions_action",
                table: "bulk_actions",
                sql: "action IN ('cancel', 'pause', 'resume', 'change', 'retry-failed', 'dismiss')");

            migrationBuilder.AddCheckConstraint(
                name: "ck_bulk_actions_change",
                table: "bulk_actions",
                sql: "(action = 'change') = (change IS NOT NULL)");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "dismissed_failures");

            migrationBuilder.DropCheckConstraint(
                name: "ck_bulk_actions_action",
                table: "bulk_actions");

            migrationBuilder.DropCheckConstraint(
                name: "ck_bulk_actions_change",
                table: "bulk_actions");

            migrationBuilder.DropColumn(
                name: "worker",
                table: "endings");

            migrationBuilder.DropColumn(
                name: "change",
                table: "bulk_actions");

            migrationBuilder.AddCheckConstraint(
                name: "ck_bulk_actions_action",
                table: "bulk_actions",
                sql: "action IN ('cancel', 'pause', 'resume', 'retry-failed')");
        }
    }
}
