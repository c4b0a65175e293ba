using System;
using Microsoft.EntityFrameworkCore.Migrations;
using Npgsql.EntityFrameworkCore.PostgreSQL.Metadata;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class AddAlertsAndGroupRoutes : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<string[]>(
                name: "routes",
                table: "groups",
                type: "text[]",
                nullable: false,
                defaultValueSql: "'{}'");

            migrationBuilder.CreateTable(
                name: "alert_rules",
                columns: table => new
                {
                    name = table.Column<string>(type: "text", nullable: false),
                    enabled = table.Column<bool>(type: "boolean", nullable: true),
                    severity = table.Column<string>(type: "text", nullable: true),
                    threshold = table.Column<double>(type: "double precision", nullable: true),
                    for_seconds = table.Column<int>(type: "integer", nullable: true),
                    changed_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_alert_rules", x => x.name);
                    table.CheckConstraint("ck_alert_rules_for", "for_seconds >= 0");
                    table.CheckConstraint("ck_alert_rules_severity", "severity IN ('info', 'warning', 'critical')");
                });

            migrationBuilder.CreateTable(
                name: "alert_silences",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "uuid", nullable: false),
                    rule = table.Column<string>(type: "text", nullable: true),
                    labels = table.Column<string>(type: "jsonb", nullable: false),
                    starts_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    ends_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    reason = table.Column<string>(type: "text", nullable: false),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_alert_silences", x => x.id);
                    table.CheckConstraint("ck_alert_silences_time", "starts_at < ends_at");
                });

            migrationBuilder.CreateTable(
                name: "alerts",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "uuid", nullable: false),
                    rule = table.Column<string>(type: "text", nullable: false),
                    fingerprint = table.Column<string>(type: "text", nullable: false),
                    labels = table.Column<string>(type: "jsonb", nullable: false),
                    state = table.Column<string>(type: "text", nullable: false),
                    severity = table.Column<string>(type: "text", nullable: false),
                    summary = table.Column<string>(type: "text", nullable: false),
                    evidence = table.Column<string>(type: "jsonb", nullable: false),
                    since = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    seen_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    raised_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    acknowledged_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    escalated_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    resolved_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    told = table.Column<bool>(type: "boolean", nullable: false),
                    silenced_by = table.Column<string>(type: "text", nullable: true),
                    by_hand = table.Column<bool>(type: "boolean", nullable: false, defaultValue: false),
                    note = table.Column<string>(type: "text", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_alerts", x => x.id);
                    table.CheckConstraint("ck_alerts_raised", "(state = 'pending') = (raised_at IS NULL)");
                    table.CheckConstraint("ck_alerts_resolved", "(state = 'resolved') = (resolved_at IS NOT NULL)");
                    table.CheckConstraint("ck_alerts_severity", "severity IN ('info', 'warning', 'critical')");
                    table.CheckConstraint("ck_alerts_state", "state IN ('pending', 'firing', 'resolved')");
                });

            migrationBuilder.CreateTable(
                name: "probes",
                columns: table => new
                {
                    name = table.Column<string>(type: "text", nullable: false),
                    model = table.Column<string>(type: "text", nullable: false),
                    @class = table.Column<string>(name: "class", type: "text", nullable: false),
                    input = table.Column<string>(type: "jsonb", nullable: false),
                    expect = table.Column<string>(type: "jsonb", nullable: false),
                    tolerance = table.Column<double>(type: "double precision", nullable: false),
                    every_seconds = table.Column<int>(type: "integer", nullable: false),
                    slow_ms = table.Column<int>(type: "integer", nullable: false),
                    enabled = table.Column<bool>(type: "boolean", nullable: false),
                    due_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_probes", x => x.name);
                    table.CheckConstraint("ck_probes_bounds", "every_seconds > 0 AND slow_ms > 0 AND tolerance >= 0");
                    table.CheckConstraint("ck_probes_class", "class IN ('express', 'standard', 'bulk')");
                });

            migrationBuilder.CreateTable(
                name: "probe_runs",
                columns: table => new
                {
                    id = table.Column<long>(type: "bigint", nullable: false)
                        .Annotation("Npgsql:ValueGenerationStrategy", NpgsqlValueGenerationStrategy.IdentityAlwaysColumn),
                    probe = table.Column<string>(type: "text", nullable: false),
                    at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    outcome = table.Column<string>(type: "text", nullable: false),
                    took_ms = table.Column<int>(type: "integer", nullable: false),
                    model = table.Column<string>(type: "text", nullable: true),
                    detail = table.Column<string>(type: "text", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_probe_runs", x => x.id);
                    table.CheckConstraint("ck_probe_runs_outcome", "outcome IN ('right', 'wrong', 'slow', 'refused', 'failed')");
                    table.ForeignKey(
                        name: "fk_probe_runs_probes",
                        column: x => x.probe,
                        principalTable: "probes",
                        principalColumn: "name",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateIndex(
                name: "ix_alert_silences_ends",
                table: "alert_silences",
                column: "ends_at");

            migrationBuilder.CreateIndex(
                name: "ix_alerts_resolved",
                table: "alerts",
                column: "resolved_at",
                filter: "state = 'resolved'");

            migrationBuilder.CreateIndex(
                name: "ux_alerts_open",
                table: "alerts",
                column: "fingerprint",
                unique: true,
                filter: "state <> 'resolved'");

            migrationBuilder.CreateIndex(
                name: "ix_probe_runs_at",
                table: "probe_runs",
                column: "at");

            migrationBuilder.CreateIndex(
                name: "ix_probe_runs_probe",
                table: "probe_runs",
                columns: new[] { "probe", "id" },
                descending: new[] { false, true });

            migrationBuilder.CreateIndex(
                name: "ix_probes_due",
                table: "probes",
                column: "due_at",
                filter: "enabled");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "alert_rules");

            migrationBuilder.DropTable(
                name: "alert_silences");

            migrationBuilder.DropTable(
                name: "alerts");

            migrationBuilder.DropTable(
                name: "probe_runs");

            migrationBuilder.DropTable(
                name: "probes");

            migrationBuilder.DropColumn(
                name: "routes",
                table: "groups");
        }
    }
}
