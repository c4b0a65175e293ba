using System;
using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class AddBreachDelays : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<long>(
                name: "announced_us",
                table: "sla_breaches",
                type: "bigint",
                nullable: false,
                defaultValue: 0L);

            migrationBuilder.AddColumn<long>(
                name: "lost_us",
                table: "sla_breaches",
                type: "bigint",
                nullable: false,
                defaultValue: 0L);

            migrationBuilder.AddColumn<long>(
                name: "paused_us",
                table: "sla_breaches",
                type: "bigint",
                nullable: false,
                defaultValue: 0L);

            migrationBuilder.AddColumn<long>(
                name: "unit_ps",
                table: "sla_breaches",
                type: "bigint",
                nullable: true);

            migrationBuilder.AddColumn<long>(
                name: "usual_unit_ps",
                table: "sla_breaches",
                type: "bigint",
                nullable: true);

            migrationBuilder.AddColumn<DateTimeOffset>(
                name: "told_at",
                table: "alerts",
                type: "timestamp with time zone",
                nullable: true);

            migrationBuilder.CreateTable(
                name: "recurring_loops",
                columns: table => new
                {
                    name = table.Column<string>(type: "text", nullable: false),
                    purpose = table.Column<string>(type: "text", nullable: false),
                    every = table.Column<TimeSpan>(type: "interval", nullable: false),
                    started_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    ended_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    error = table.Column<string>(type: "text", nullable: true),
                    instance = table.Column<string>(type: "text", nullable: true),
                    turns = table.Column<long>(type: "bigint", nullable: false, defaultValue: 0L),
                    failures = table.Column<long>(type: "bigint", nullable: false, defaultValue: 0L),
                    paused = table.Column<bool>(type: "boolean", nullable: false, defaultValue: false),
                    asked_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_recurring_loops", x => x.name);
                    table.CheckConstraint("ck_recurring_loops_counts", "failures BETWEEN 0 AND turns");
                    table.CheckConstraint("ck_recurring_loops_turn", "num_nonnulls(started_at, ended_at, instance) IN (0, 3) AND ended_at >= started_at");
                });

            // What was told of has been since it fired; of a pause is known only that there was one.
            migrationBuilder.Sql("UPDATE alerts SET told_at = raised_at WHERE told;");
            migrationBuilder.Sql("UPDATE sla_breaches SET paused_us = total_us WHERE paused;");

            migrationBuilder.DropColumn(
                name: "told",
                table: "alerts");

            migrationBuilder.DropColumn(
                name: "paused",
                table: "sla_breaches");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "recurring_loops");

            migrationBuilder.DropColumn(
                name: "announced_us",
                table: "sla_breaches");

            migrationBuilder.DropColumn(
                name: "lost_us",
                table: "sla_breaches");

            migrationBuilder.DropColumn(
                name: "paused_us",
                table: "sla_breaches");

            migrationBuilder.DropColumn(
                name: "unit_ps",
                table: "sla_breaches");

            migrationBuilder.DropColumn(
                name: "usual_unit_ps",
                table: "sla_breaches");

            migrationBuilder.DropColumn(
                name: "told_at",
                table: "alerts");

            migrationBuilder.AddColumn<bool>(
                name: "paused",
                table: "sla_breaches",
                type: "boolean",
                nullable: false,
                defaultValue: false);

            migrationBuilder.AddColumn<bool>(
                name: "told",
                table: "alerts",
                type: "boolean",
                nullable: false,
                defaultValue: false);
        }
    }
}
