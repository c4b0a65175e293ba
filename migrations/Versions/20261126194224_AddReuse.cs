using System;
using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class AddReuse : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<long>(
                name: "reused_cache",
                table: "usage_days",
                type: "bigint",
                nullable: false,
                defaultValue: 0L);

            migrationBuilder.AddColumn<long>(
                name: "reused_job",
                table: "usage_days",
                type: "bigint",
                nullable: false,
                defaultValue: 0L);

            migrationBuilder.AddColumn<long>(
                name: "saved_pico",
                table: "usage_days",
                type: "bigint",
                nullable: false,
                defaultValue: 0L);

            migrationBuilder.AddColumn<string>(
                name: "reused",
                table: "results",
                type: "text",
                nullable: true);

            migrationBuilder.AddColumn<long>(
                name: "saved_pico",
                table: "results",
                type: "bigint",
                nullable: true);

            migrationBuilder.AddColumn<bool>(
                name: "uses_cache",
                table: "jobs",
                type: "boolean",
                nullable: false,
                defaultValue: false);

            migrationBuilder.CreateTable(
                name: "tenant_caches",
                columns: table => new
                {
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    ttl = table.Column<TimeSpan>(type: "interval", nullable: false),
                    bytes_max = table.Column<long>(type: "bigint", nullable: false),
                    entries_max = table.Column<long>(type: "bigint", nullable: false),
                    bytes = table.Column<long>(type: "bigint", nullable: false, defaultValue: 0L),
                    entries = table.Column<long>(type: "bigint", nullable: false, defaultValue: 0L)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_tenant_caches", x => x.tenant);
                    table.CheckConstraint("ck_tenant_caches_bounds", "ttl > interval '0' AND bytes_max > 0 AND entries_max > 0");
                    table.CheckConstraint("ck_tenant_caches_sums", "bytes >= 0 AND entries >= 0");
                    table.ForeignKey(
                        name: "fk_tenant_caches_tenants",
                        column: x => x.tenant,
                        principalTable: "tenants",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateTable(
                name: "cached_results",
                columns: table => new
                {
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    key = table.Column<byte[]>(type: "bytea", nullable: false),
                    model = table.Column<string>(type: "text", nullable: false),
                    output = table.Column<byte[]>(type: "bytea", nullable: false),
                    content_type = table.Column<string>(type: "text", nullable: false),
                    units = table.Column<int>(type: "integer", nullable: false),
                    cost_pico = table.Column<long>(type: "bigint", nullable: false),
                    bytes = table.Column<int>(type: "integer", nullable: false),
                    made_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    expires_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_cached_results", x => new { x.tenant, x.key });
                    table.CheckConstraint("ck_cached_results_key", "octet_length(key) = 32");
                    table.ForeignKey(
                        name: "fk_cached_results_tenant_caches",
                        column: x => x.tenant,
                        principalTable: "tenant_caches",
                        principalColumn: "tenant",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.AddCheckConstraint(
                name: "ck_results_reused",
                table: "results",
                sql: "(reused IS NULL) = (saved_pico IS NULL) AND (reused IS NULL OR reused IN ('job', 'cache') AND saved_pico >= 0 AND status = 'succeeded' AND cost_pico = 0 AND batch IS NULL)");

            migrationBuilder.CreateIndex(
                name: "ix_cached_results_expires_at",
                table: "cached_results",
                column: "expires_at");

            migrationBuilder.CreateIndex(
                name: "ix_cached_results_made_at",
                table: "cached_results",
                columns: new[] { "tenant", "made_at" });
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "cached_results");

            migrationBuilder.DropTable(
                name: "tenant_caches");

            migrationBuilder.DropCheckConstraint(
                name: "ck_results_reused",
                table: "results");

            migrationBuilder.DropColumn(
                name: "reused_cache",
                table: "usage_days");

            migrationBuilder.DropColumn(
                name: "reused_job",
                table: "usage_days");

            migrationBuilder.DropColumn(
                name: "saved_pico",
                table: "usage_days");

            migrationBuilder.DropColumn(
                name: "reused",
                table: "results");

            migrationBuilder.DropColumn(
                name: "saved_pico",
                table: "results");

            migrationBuilder.DropColumn(
                name: "uses_cache",
                table: "jobs");
        }
    }
}
