using System;
using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class AddUsageRollups : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            // There already where prices and budgets were added before. A constant default rewrites no partition.
            migrationBuilder.Sql("ALTER TABLE results ADD COLUMN IF NOT EXISTS units integer NOT NULL DEFAULT 0;");

            // Rows from before have the first number of a transaction there is, which is long over; for a constant no row is rewritten.
            migrationBuilder.Sql(
                """
                ALTER TABLE ledger ADD COLUMN xid xid8 NOT NULL DEFAULT '3';
                ALTER TABLE ledger ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
                """);

            migrationBuilder.CreateTable(
                name: "allocated_days",
                columns: table => new
                {
                    day = table.Column<DateOnly>(type: "date", nullable: false),
                    pool = table.Column<string>(type: "text", nullable: false),
                    price_per_hour_pico = table.Column<long>(type: "bigint", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    @class = table.Column<string>(name: "class", type: "text", nullable: false),
                    model = table.Column<string>(type: "text", nullable: false),
                    tasks = table.Column<long>(type: "bigint", nullable: false),
                    units = table.Column<long>(type: "bigint", nullable: false),
                    cost_pico = table.Column<long>(type: "bigint", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_allocated_days", x => new { x.day, x.pool, x.price_per_hour_pico, x.tenant, x.@class, x.model });
                    table.CheckConstraint("ck_allocated_days_class", "class IN ('express', 'standard', 'bulk')");
                });

            migrationBuilder.CreateTable(
                name: "device_days",
                columns: table => new
                {
                    day = table.Column<DateOnly>(type: "date", nullable: false),
                    pool = table.Column<string>(type: "text", nullable: false),
                    price_per_hour_pico = table.Column<long>(type: "bigint", nullable: false),
                    account = table.Column<string>(type: "text", nullable: false),
                    detail = table.Column<string>(type: "text", nullable: false),
                    ns = table.Column<long>(type: "bigint", nullable: false),
                    pico = table.Column<long>(type: "bigint", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_device_days", x => new { x.day, x.pool, x.price_per_hour_pico, x.account, x.detail });
                    table.CheckConstraint("ck_device_days_account", "account IN ('task', 'padding', 'idle', 'warm_up', 'waste')");
                });

            migrationBuilder.CreateTable(
                name: "rollups",
                columns: table => new
                {
                    one = table.Column<bool>(type: "boolean", nullable: false, defaultValue: true),
                    xid = table.Column<ulong>(type: "xid8", nullable: false),
                    at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_rollups", x => x.one);
                    table.CheckConstraint("ck_rollups_one", "one");
                });

            migrationBuilder.CreateTable(
                name: "usage_days",
                columns: table => new
                {
                    day = table.Column<DateOnly>(type: "date", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    @class = table.Column<string>(name: "class", type: "text", nullable: false),
                    model = table.Column<string>(type: "text", nullable: false),
                    succeeded = table.Column<long>(type: "bigint", nullable: false),
                    failed = table.Column<long>(type: "bigint", nullable: false),
                    expired = table.Column<long>(type: "bigint", nullable: false),
                    cancelled = table.Column<long>(type: "bigint", nullable: false),
                    units = table.Column<long>(type: "bigint", nullable: false),
                    turns = table.Column<long>(type: "bigint", nullable: false),
                    device_ns = table.Column<long>(type: "bigint", nullable: false),
                    cost_pico = table.Column<long>(type: "bigint", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_usage_days", x => new { x.tenant, x.day, x.@class, x.model });
                    table.CheckConstraint("ck_usage_days_class", "class IN ('express', 'standard', 'bulk')");
                });

            migrationBuilder.Sql("INSERT INTO rollups (xid, at) VALUES ('0', now());");

            migrationBuilder.CreateIndex(
                name: "ix_ledger_xid",
                table: "ledger",
                column: "xid");

            migrationBuilder.CreateIndex(
                name: "ix_endings_xid",
                table: "endings",
                column: "xid");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "allocated_days");

            migrationBuilder.DropTable(
                name: "device_days");

            migrationBuilder.DropTable(
                name: "rollups");

            migrationBuilder.DropTable(
                name: "usage_days");

            migrationBuilder.DropIndex(
                name: "ix_ledger_xid",
                table: "ledger");

            migrationBuilder.DropIndex(
                name: "ix_endings_xid",
                table: "endings");

            migrationBuilder.DropColumn(
                name: "units",
                table: "results");

            migrationBuilder.DropColumn(
                name: "xid",
                table: "ledger");
        }
    }
}
