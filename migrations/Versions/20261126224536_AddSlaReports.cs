using System;
using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class AddSlaReports : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.CreateTable(
                name: "reports",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "uuid", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    all_tenants = table.Column<bool>(type: "boolean", nullable: false),
                    occasion = table.Column<string>(type: "text", nullable: false),
                    from_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    to_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    time_zone = table.Column<string>(type: "text", nullable: false),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    body = table.Column<byte[]>(type: "bytea", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_reports", x => x.id);
                    table.CheckConstraint("ck_reports_occasion", "occasion IN ('request', 'week', 'month')");
                    table.CheckConstraint("ck_reports_window", "from_at < to_at");
                    table.ForeignKey(
                        name: "fk_reports_tenants",
                        column: x => x.tenant,
                        principalTable: "tenants",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateTable(
                name: "sla_breaches",
                columns: table => new
                {
                    job = table.Column<Guid>(type: "uuid", nullable: false),
                    kind = table.Column<string>(type: "text", nullable: false),
                    at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    @class = table.Column<string>(name: "class", type: "text", nullable: false),
                    model = table.Column<string>(type: "text", nullable: false),
                    state = table.Column<string>(type: "text", nullable: false),
                    queued_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    deadline = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    predicted_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    target_us = table.Column<long>(type: "bigint", nullable: false),
                    total_us = table.Column<long>(type: "bigint", nullable: false),
                    tasks = table.Column<int>(type: "integer", nullable: false),
                    failed = table.Column<int>(type: "integer", nullable: false),
                    expired = table.Column<int>(type: "integer", nullable: false),
                    queued_us = table.Column<long>(type: "bigint", nullable: false),
                    staged_us = table.Column<long>(type: "bigint", nullable: false),
                    device_us = table.Column<long>(type: "bigint", nullable: false),
                    worker_losses = table.Column<int>(type: "integer", nullable: false),
                    paused = table.Column<bool>(type: "boolean", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_sla_breaches", x => new { x.job, x.kind });
                    table.CheckConstraint("ck_sla_breaches_class", "class IN ('express', 'standard', 'bulk')");
                    table.CheckConstraint("ck_sla_breaches_kind", "kind IN ('job', 'callback')");
                });

            migrationBuilder.CreateTable(
                name: "sla_callbacks",
                columns: table => new
                {
                    at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    delivered = table.Column<long>(type: "bigint", nullable: false),
                    punctual = table.Column<long>(type: "bigint", nullable: false),
                    failed = table.Column<long>(type: "bigint", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_sla_callbacks", x => new { x.at, x.tenant });
                    table.CheckConstraint("ck_sla_callbacks_punctual", "punctual BETWEEN 0 AND delivered AND failed >= 0");
                });

            migrationBuilder.CreateTable(
                name: "sla_days",
                columns: table => new
                {
                    at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    @class = table.Column<string>(name: "class", type: "text", nullable: false),
                    model = table.Column<string>(type: "text", nullable: false, collation: "C"),
                    band100 = table.Column<long>(type: "bigint", nullable: false),
                    band1000 = table.Column<long>(type: "bigint", nullable: false),
                    band500 = table.Column<long>(type: "bigint", nullable: false),
                    band800 = table.Column<long>(type: "bigint", nullable: false),
                    band_more = table.Column<long>(type: "bigint", nullable: false),
                    batch_rows = table.Column<long>(type: "bigint", nullable: false),
                    cancelled = table.Column<long>(type: "bigint", nullable: false),
                    client_faults = table.Column<long>(type: "bigint", nullable: false),
                    cost_pico = table.Column<long>(type: "bigint", nullable: false),
                    device = table.Column<byte[]>(type: "bytea", nullable: false),
                    expired = table.Column<long>(type: "bigint", nullable: false),
                    failed = table.Column<long>(type: "bigint", nullable: false),
                    first_result = table.Column<byte[]>(type: "bytea", nullable: false),
                    job_total = table.Column<byte[]>(type: "bytea", nullable: false),
                    jobs_completed = table.Column<long>(type: "bigint", nullable: false),
                    jobs_expired = table.Column<long>(type: "bigint", nullable: false),
                    jobs_within = table.Column<long>(type: "bigint", nullable: false),
                    padded_units = table.Column<long>(type: "bigint", nullable: false),
                    price_pico = table.Column<long>(type: "bigint", nullable: false),
                    queued = table.Column<byte[]>(type: "bytea", nullable: false),
                    ran = table.Column<long>(type: "bigint", nullable: false),
                    reused_cache = table.Column<long>(type: "bigint", nullable: false),
                    reused_job = table.Column<long>(type: "bigint", nullable: false),
                    saved_pico = table.Column<long>(type: "bigint", nullable: false),
                    staged = table.Column<byte[]>(type: "bytea", nullable: false),
                    succeeded = table.Column<long>(type: "bigint", nullable: false),
                    total = table.Column<byte[]>(type: "bytea", nullable: false),
                    units = table.Column<long>(type: "bigint", nullable: false),
                    within = table.Column<long>(type: "bigint", nullable: false),
                    writing = table.Column<byte[]>(type: "bytea", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_sla_days", x => new { x.at, x.tenant, x.@class, x.model });
                    table.CheckConstraint("ck_sla_days_class", "class IN ('express', 'standard', 'bulk')");
                });

            migrationBuilder.CreateTable(
                name: "sla_doors",
                columns: table => new
                {
                    at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    @class = table.Column<string>(name: "class", type: "text", nullable: false),
                    instance = table.Column<Guid>(type: "uuid", nullable: false),
                    accepted = table.Column<long>(type: "bigint", nullable: false),
                    limited = table.Column<long>(type: "bigint", nullable: false),
                    client_faults = table.Column<long>(type: "bigint", nullable: false),
                    failed = table.Column<long>(type: "bigint", nullable: false),
                    disconnects = table.Column<long[]>(type: "bigint[]", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_sla_doors", x => new { x.at, x.tenant, x.@class, x.instance });
                    table.CheckConstraint("ck_sla_doors_class", "class IN ('express', 'standard', 'bulk')");
                    table.CheckConstraint("ck_sla_doors_disconnects", "cardinality(disconnects) = 5");
                });

            migrationBuilder.CreateTable(
                name: "sla_exclusions",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "uuid", nullable: false),
                    from_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    to_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    reason = table.Column<string>(type: "text", nullable: false),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    withdrawn_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_sla_exclusions", x => x.id);
                    table.CheckConstraint("ck_sla_exclusions_minutes", "from_at < to_at AND extract(second FROM from_at) = 0 AND extract(second FROM to_at) = 0");
                    table.CheckConstraint("ck_sla_exclusions_reason", "reason <> ''");
                });

            migrationBuilder.CreateTable(
                name: "sla_hours",
                columns: table => new
                {
                    at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    @class = table.Column<string>(name: "class", type: "text", nullable: false),
                    model = table.Column<string>(type: "text", nullable: false, collation: "C"),
                    band100 = table.Column<long>(type: "bigint", nullable: false),
                    band1000 = table.Column<long>(type: "bigint", nullable: false),
                    band500 = table.Column<long>(type: "bigint", nullable: false),
                    band800 = table.Column<long>(type: "bigint", nullable: false),
                    band_more = table.Column<long>(type: "bigint", nullable: false),
                    batch_rows = table.Column<long>(type: "bigint", nullable: false),
                    cancelled = table.Column<long>(type: "bigint", nullable: false),
                    client_faults = table.Column<long>(type: "bigint", nullable: false),
                    cost_pico = table.Column<long>(type: "bigint", nullable: false),
                    device = table.Column<byte[]>(type: "bytea", nullable: false),
                    expired = table.Column<long>(type: "bigint", nullable: false),
                    failed = table.Column<long>(type: "bigint", nullable: false),
                    first_result = table.Column<byte[]>(type: "bytea", nullable: false),
                    job_total = table.Column<byte[]>(type: "bytea", nullable: false),
                    jobs_completed = table.Column<long>(type: "bigint", nullable: false),
                    jobs_expired = table.Column<long>(type: "bigint", nullable: false),
                    jobs_within = table.Column<long>(type: "bigint", nullable: false),
                    padded_units = table.Column<long>(type: "bigint", nullable: false),
                    price_pico = table.Column<long>(type: "bigint", nullable: false),
                    queued = table.Column<byte[]>(type: "bytea", nullable: false),
                    ran = table.Column<long>(type: "bigint", nullable: false),
                    reused_cache = table.Column<long>(type: "bigint", nullable: false),
                    reused_job = table.Column<long>(type: "bigint", nullable: false),
                    saved_pico = table.Column<long>(type: "bigint", nullable: false),
                    staged = table.Column<byte[]>(type: "bytea", nullable: false),
                    succeeded = table.Column<long>(type: "bigint", nullable: false),
                    total = table.Column<byte[]>(type: "bytea", nullable: false),
                    units = table.Column<long>(type: "bigint", nullable: false),
                    within = table.Column<long>(type: "bigint", nullable: false),
                    writing = table.Column<byte[]>(type: "bytea", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_sla_hours", x => new { x.at, x.tenant, x.@class, x.model });
                    table.CheckConstraint("ck_sla_hours_class", "class IN ('express', 'standard', 'bulk')");
                });

            migrationBuilder.CreateTable(
                name: "sla_minutes",
                columns: table => new
                {
                    at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    @class = table.Column<string>(name: "class", type: "text", nullable: false),
                    model = table.Column<string>(type: "text", nullable: false, collation: "C"),
                    band100 = table.Column<long>(type: "bigint", nullable: false),
                    band1000 = table.Column<long>(type: "bigint", nullable: false),
                    band500 = table.Column<long>(type: "bigint", nullable: false),
                    band800 = table.Column<long>(type: "bigint", nullable: false),
                    band_more = table.Column<long>(type: "bigint", nullable: false),
                    batch_rows = table.Column<long>(type: "bigint", nullable: false),
                    cancelled = table.Column<long>(type: "bigint", nullable: false),
                    client_faults = table.Column<long>(type: "bigint", nullable: false),
                    cost_pico = table.Column<long>(type: "bigint", nullable: false),
                    device = table.Column<byte[]>(type: "bytea", nullable: false),
                    expired = table.Column<long>(type: "bigint", nullable: false),
                    failed = table.Column<long>(type: "bigint", nullable: false),
                    first_result = table.Column<byte[]>(type: "bytea", nullable: false),
                    job_total = table.Column<byte[]>(type: "bytea", nullable: false),
                    jobs_completed = table.Column<long>(type: "bigint", nullable: false),
                    jobs_expired = table.Column<long>(type: "bigint", nullable: false),
                    jobs_within = table.Column<long>(type: "bigint", nullable: false),
                    padded_units = table.Column<long>(type: "bigint", nullable: false),
                    price_pico = table.Column<long>(type: "bigint", nullable: false),
                    queued = table.Column<byte[]>(type: "bytea", nullable: false),
                    ran = table.Column<long>(type: "bigint", nullable: false),
                    reused_cache = table.Column<long>(type: "bigint", nullable: false),
                    reused_job = table.Column<long>(type: "bigint", nullable: false),
                    saved_pico = table.Column<long>(type: "bigint", nullable: false),
                    staged = table.Column<byte[]>(type: "bytea", nullable: false),
                    succeeded = table.Column<long>(type: "bigint", nullable: false),
                    total = table.Column<byte[]>(type: "bytea", nullable: false),
                    units = table.Column<long>(type: "bigint", nullable: false),
                    within = table.Column<long>(type: "bigint", nullable: false),
                    writing = table.Column<byte[]>(type: "bytea", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_sla_minutes", x => new { x.at, x.tenant, x.@class, x.model });
                    table.CheckConstraint("ck_sla_minutes_class", "class IN ('express', 'standard', 'bulk')");
                });

            migrationBuilder.CreateIndex(
                name: "ix_reports_tenant",
                table: "reports",
                columns: new[] { "tenant", "id" },
                descending: new[] { false, true });

            migrationBuilder.CreateIndex(
                name: "ux_reports_period",
                table: "reports",
                columns: new[] { "tenant", "all_tenants", "occasion", "from_at", "time_zone" },
                unique: true,
                filter: "occasion <> 'request'");

            migrationBuilder.CreateIndex(
                name: "ix_sla_breaches_at",
                table: "sla_breaches",
                column: "at");

            migrationBuilder.CreateIndex(
                name: "ix_sla_exclusions_from_at",
                table: "sla_exclusions",
                column: "from_at");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "reports");

            migrationBuilder.DropTable(
                name: "sla_breaches");

            migrationBuilder.DropTable(
                name: "sla_callbacks");

            migrationBuilder.DropTable(
                name: "sla_days");

            migrationBuilder.DropTable(
                name: "sla_doors");

            migrationBuilder.DropTable(
                name: "sla_exclusions");

            migrationBuilder.DropTable(
                name: "sla_hours");

            migrationBuilder.DropTable(
                name: "sla_minutes");
        }
    }
}
