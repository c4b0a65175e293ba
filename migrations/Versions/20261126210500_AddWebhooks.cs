using System;
using Microsoft.EntityFrameworkCore.Migrations;
using Npgsql.EntityFrameworkCore.PostgreSQL.Metadata;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class AddWebhooks : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            // What happened before there were webhooks is told to nobody; the default says so without a rewrite of the table.
            migrationBuilder.AddColumn<bool>(
                name: "fanned_out",
                table: "events",
                type: "boolean",
                nullable: false,
                defaultValue: true);

            migrationBuilder.AlterColumn<bool>(
                name: "fanned_out",
                table: "events",
                type: "boolean",
                nullable: false,
                defaultValue: false,
                oldClrType: typeof(bool),
                oldType: "boolean",
                oldDefaultValue: true);

            migrationBuilder.CreateTable(
                name: "webhook_attempts",
                columns: table => new
                {
                    delivery = table.Column<Guid>(type: "uuid", nullable: false),
                    no = table.Column<int>(type: "integer", nullable: false),
                    at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    duration_ms = table.Column<int>(type: "integer", nullable: false),
                    status = table.Column<int>(type: "integer", nullable: true),
                    error = table.Column<string>(type: "text", nullable: true),
                    response = table.Column<string>(type: "text", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_webhook_attempts", x => new { x.delivery, x.no });
                    table.CheckConstraint("ck_webhook_attempts_no", "no > 0 AND duration_ms >= 0");
                });

            migrationBuilder.CreateTable(
                name: "webhook_endpoints",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "uuid", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    callback = table.Column<bool>(type: "boolean", nullable: false, defaultValue: false),
                    url = table.Column<string>(type: "text", nullable: false),
                    description = table.Column<string>(type: "text", nullable: false),
                    event_types = table.Column<string[]>(type: "text[]", nullable: false),
                    state = table.Column<string>(type: "text", nullable: false),
                    disabled_reason = table.Column<string>(type: "text", nullable: true),
                    failing_since = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    failures = table.Column<int>(type: "integer", nullable: false, defaultValue: 0),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_webhook_endpoints", x => x.id);
                    table.CheckConstraint("ck_webhook_endpoints_callback", "callback = (cardinality(event_types) = 0)");
                    table.CheckConstraint("ck_webhook_endpoints_failing", "(failing_since IS NOT NULL) = (failures > 0) AND failures >= 0");
                    table.CheckConstraint("ck_webhook_endpoints_reason", "(state = 'disabled') = (disabled_reason IS NOT NULL)");
                    table.CheckConstraint("ck_webhook_endpoints_state", "state IN ('enabled', 'disabled', 'deleted')");
                    table.ForeignKey(
                        name: "fk_webhook_endpoints_tenants",
                        column: x => x.tenant,
                        principalTable: "tenants",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Restrict);
                });

            migrationBuilder.CreateTable(
                name: "webhook_secrets",
                columns: table => new
                {
                    id = table.Column<long>(type: "bigint", nullable: false)
                        .Annotation("Npgsql:ValueGenerationStrategy", NpgsqlValueGenerationStrategy.IdentityAlwaysColumn),
                    owner = table.Column<Guid>(type: "uuid", nullable: false),
                    signing = table.Column<string>(type: "text", nullable: false),
                    key = table.Column<byte[]>(type: "bytea", nullable: false),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    expires_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_webhook_secrets", x => x.id);
                    table.CheckConstraint("ck_webhook_secrets_signing", "signing IN ('hmac_sha256', 'ed25519')");
                });

            migrationBuilder.CreateTable(
                name: "webhook_deliveries",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "uuid", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    endpoint = table.Column<Guid>(type: "uuid", nullable: false),
                    @event = table.Column<long>(name: "event", type: "bigint", nullable: false),
                    job = table.Column<Guid>(type: "uuid", nullable: true),
                    seq = table.Column<int>(type: "integer", nullable: true),
                    type = table.Column<string>(type: "text", nullable: false),
                    url = table.Column<string>(type: "text", nullable: true),
                    state = table.Column<string>(type: "text", nullable: false),
                    reason = table.Column<string>(type: "text", nullable: true),
                    due_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    attempts = table.Column<int>(type: "integer", nullable: false, defaultValue: 0),
                    attempts_before = table.Column<int>(type: "integer", nullable: false, defaultValue: 0),
                    last_status = table.Column<int>(type: "integer", nullable: true),
                    last_error = table.Column<string>(type: "text", nullable: true),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    finished_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_webhook_deliveries", x => x.id);
                    table.CheckConstraint("ck_webhook_deliveries_attempts", "attempts_before BETWEEN 0 AND attempts");
                    table.CheckConstraint("ck_webhook_deliveries_due", "(state = 'pending') = (due_at IS NOT NULL)");
                    table.CheckConstraint("ck_webhook_deliveries_finished", "(state = 'pending') = (finished_at IS NULL)");
                    table.CheckConstraint("ck_webhook_deliveries_reason", "(state = 'failed') = (reason IS NOT NULL)");
                    table.CheckConstraint("ck_webhook_deliveries_state", "state IN ('pending', 'delivered', 'failed')");
                    table.ForeignKey(
                        name: "fk_webhook_deliveries_webhook_endpoints",
                        column: x => x.endpoint,
                        principalTable: "webhook_endpoints",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Restrict);
                });

            migrationBuilder.CreateIndex(
                name: "ix_events_fan_out",
                table: "events",
                column: "id",
                filter: "NOT fanned_out AND type <> 'job.queued'");

            migrationBuilder.CreateIndex(
                name: "ix_webhook_deliveries_endpoint",
                table: "webhook_deliveries",
                columns: new[] { "endpoint", "id" },
                descending: new[] { false, true });

            migrationBuilder.CreateIndex(
                name: "ix_webhook_deliveries_failed",
                table: "webhook_deliveries",
                columns: new[] { "endpoint", "id" },
                filter: "state = 'failed'");

            migrationBuilder.CreateIndex(
                name: "ix_webhook_deliveries_job",
                table: "webhook_deliveries",
                column: "job",
                filter: "job IS NOT NULL");

            migrationBuilder.CreateIndex(
                name: "ix_webhook_deliveries_queue",
                table: "webhook_deliveries",
                columns: new[] { "endpoint", "due_at" },
                filter: "state = 'pending'");

            migrationBuilder.CreateIndex(
                name: "ix_webhook_deliveries_tenant",
                table: "webhook_deliveries",
                columns: new[] { "tenant", "id" },
                descending: new[] { false, true });

            migrationBuilder.CreateIndex(
                name: "ix_webhook_endpoints_tenant",
                table: "webhook_endpoints",
                columns: new[] { "tenant", "id" },
                descending: new[] { false, true });

            migrationBuilder.CreateIndex(
                name: "ux_webhook_endpoints_callback",
                table: "webhook_endpoints",
                columns: new[] { "tenant", "url" },
                unique: true,
                filter: "callback");

            migrationBuilder.CreateIndex(
                name: "ix_webhook_secrets_owner",
                table: "webhook_secrets",
                column: "owner");

            migrationBuilder.CreateIndex(
                name: "ux_webhook_secrets_current",
                table: "webhook_secrets",
                column: "owner",
                unique: true,
                filter: "expires_at IS NULL");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "webhook_attempts");

            migrationBuilder.DropTable(
                name: "webhook_deliveries");

            migrationBuilder.DropTable(
                name: "webhook_secrets");

            migrationBuilder.DropTable(
                name: "webhook_endpoints");

            migrationBuilder.DropIndex(
                name: "ix_events_fan_out",
                table: "events");

            migrationBuilder.DropColumn(
                name: "fanned_out",
                table: "events");
        }
    }
}
