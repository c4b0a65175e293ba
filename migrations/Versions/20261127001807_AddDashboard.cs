using System;
using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class AddDashboard : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.CreateTable(
                name: "audit",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "uuid", nullable: false),
                    at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    @operator = table.Column<Guid>(name: "operator", type: "uuid", nullable: true),
                    operator_name = table.Column<string>(type: "text", nullable: false),
                    action = table.Column<string>(type: "text", nullable: false),
                    subject_kind = table.Column<string>(type: "text", nullable: false),
                    subject = table.Column<string>(type: "text", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: true),
                    reason = table.Column<string>(type: "text", nullable: true),
                    done = table.Column<bool>(type: "boolean", nullable: false),
                    detail = table.Column<string>(type: "text", nullable: true),
                    before = table.Column<string>(type: "jsonb", nullable: true),
                    after = table.Column<string>(type: "jsonb", nullable: true),
                    address = table.Column<string>(type: "text", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_audit", x => x.id);
                    table.CheckConstraint("ck_audit_action", "action ~ '^[a-z_]+[.][a-z_]+$'");
                });

            migrationBuilder.CreateTable(
                name: "bulk_actions",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "uuid", nullable: false),
                    action = table.Column<string>(type: "text", nullable: false),
                    query = table.Column<string>(type: "text", nullable: false),
                    reason = table.Column<string>(type: "text", nullable: false),
                    @operator = table.Column<Guid>(name: "operator", type: "uuid", nullable: false),
                    operator_name = table.Column<string>(type: "text", nullable: false),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    items = table.Column<int>(type: "integer", nullable: false),
                    done = table.Column<int>(type: "integer", nullable: false, defaultValue: 0),
                    refused = table.Column<int>(type: "integer", nullable: false, defaultValue: 0),
                    stopped = table.Column<bool>(type: "boolean", nullable: false, defaultValue: false),
                    finished_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_bulk_actions", x => x.id);
                    table.CheckConstraint("ck_bulk_actions_action", "action IN ('cancel', 'pause', 'resume', 'retry-failed')");
                    table.CheckConstraint("ck_bulk_actions_counts", "items > 0 AND done >= 0 AND refused >= 0 AND done + refused <= items");
                });

            migrationBuilder.CreateTable(
                name: "data_protection_keys",
                columns: table => new
                {
                    name = table.Column<string>(type: "text", nullable: false),
                    xml = table.Column<string>(type: "text", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_data_protection_keys", x => x.name);
                });

            migrationBuilder.CreateTable(
                name: "operators",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "uuid", nullable: false),
                    name = table.Column<string>(type: "text", nullable: false),
                    role = table.Column<string>(type: "text", nullable: false),
                    password = table.Column<string>(type: "text", nullable: true),
                    failures = table.Column<int>(type: "integer", nullable: false, defaultValue: 0),
                    locked_until = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    disabled_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_operators", x => x.id);
                    table.CheckConstraint("ck_operators_failures", "failures >= 0");
                    table.CheckConstraint("ck_operators_name", "name = lower(name) AND length(name) BETWEEN 1 AND 100");
                    table.CheckConstraint("ck_operators_role", "role IN ('viewer', 'operator', 'admin')");
                });

            migrationBuilder.CreateTable(
                name: "bulk_action_items",
                columns: table => new
                {
                    bulk_action = table.Column<Guid>(type: "uuid", nullable: false),
                    job = table.Column<Guid>(type: "uuid", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    outcome = table.Column<string>(type: "text", nullable: false),
                    detail = table.Column<string>(type: "text", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_bulk_action_items", x => new { x.bulk_action, x.job });
                    table.CheckConstraint("ck_bulk_action_items_outcome", "outcome IN ('waiting', 'done', 'refused', 'left_out')");
                    table.ForeignKey(
                        name: "fk_bulk_action_items_bulk_actions",
                        column: x => x.bulk_action,
                        principalTable: "bulk_actions",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateTable(
                name: "operator_links",
                columns: table => new
                {
                    token = table.Column<byte[]>(type: "bytea", nullable: false),
                    role = table.Column<string>(type: "text", nullable: true),
                    @operator = table.Column<Guid>(name: "operator", type: "uuid", nullable: true),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    expires_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_operator_links", x => x.token);
                    table.CheckConstraint("ck_operator_links_role", "role IN ('viewer', 'operator', 'admin')");
                    table.CheckConstraint("ck_operator_links_token", "octet_length(token) = 32");
                    table.CheckConstraint("ck_operator_links_whose", "(role IS NULL) <> (operator IS NULL)");
                    table.ForeignKey(
                        name: "fk_operator_links_operators",
                        column: x => x.@operator,
                        principalTable: "operators",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateTable(
                name: "operator_sessions",
                columns: table => new
                {
                    token = table.Column<byte[]>(type: "bytea", nullable: false),
                    @operator = table.Column<Guid>(name: "operator", type: "uuid", nullable: false),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    last_seen = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_operator_sessions", x => x.token);
                    table.CheckConstraint("ck_operator_sessions_token", "octet_length(token) = 32");
                    table.ForeignKey(
                        name: "fk_operator_sessions_operators",
                        column: x => x.@operator,
                        principalTable: "operators",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Cascade);
                });

            // Built on every partition: each is read once, and who writes results waits meanwhile.
            migrationBuilder.CreateIndex(
                name: "ix_results_failed",
                table: "results",
                columns: new[] { "job", "seq" },
                filter: "status = 'failed'")
                .Annotation("Npgsql:IndexInclude", new[] { "error_code", "model" });

            migrationBuilder.CreateIndex(
                name: "ix_jobs_finished_at",
                table: "jobs",
                column: "finished_at",
                filter: "finished_at IS NOT NULL");

            migrationBuilder.CreateIndex(
                name: "ix_jobs_retry_of",
                table: "jobs",
                column: "retry_of",
                filter: "retry_of IS NOT NULL");

            migrationBuilder.CreateIndex(
                name: "ix_jobs_with_failures",
                table: "jobs",
                column: "id",
                filter: "failed > 0");

            migrationBuilder.CreateIndex(
                name: "ix_audit_subject",
                table: "audit",
                columns: new[] { "subject", "id" },
                descending: new[] { false, true });

            migrationBuilder.CreateIndex(
                name: "ix_bulk_action_items_waiting",
                table: "bulk_action_items",
                columns: new[] { "bulk_action", "job" },
                filter: "outcome = 'waiting'");

            migrationBuilder.CreateIndex(
                name: "ix_bulk_actions_open",
                table: "bulk_actions",
                column: "id",
                filter: "finished_at IS NULL");

            migrationBuilder.CreateIndex(
                name: "ix_operator_links_operator",
                table: "operator_links",
                column: "operator");

            migrationBuilder.CreateIndex(
                name: "ix_operator_sessions_operator",
                table: "operator_sessions",
                column: "operator");

            migrationBuilder.CreateIndex(
                name: "ux_operators_name",
                table: "operators",
                column: "name",
                unique: true);
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "audit");

            migrationBuilder.DropTable(
                name: "bulk_action_items");

            migrationBuilder.DropTable(
                name: "data_protection_keys");

            migrationBuilder.DropTable(
                name: "operator_links");

            migrationBuilder.DropTable(
                name: "operator_sessions");

            migrationBuilder.DropTable(
                name: "bulk_actions");

            migrationBuilder.DropTable(
                name: "operators");

            migrationBuilder.DropIndex(
                name: "ix_results_failed",
                table: "results");

            migrationBuilder.DropIndex(
                name: "ix_jobs_finished_at",
                table: "jobs");

            migrationBuilder.DropIndex(
                name: "ix_jobs_retry_of",
                table: "jobs");

            migrationBuilder.DropIndex(
                name: "ix_jobs_with_failures",
                table: "jobs");
        }
    }
}
