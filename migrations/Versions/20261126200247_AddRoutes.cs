using System;
using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class AddRoutes : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropCheckConstraint(
                name: "ck_jobs_counts",
                table: "jobs");

            migrationBuilder.DropCheckConstraint(
                name: "ck_chunks_counts",
                table: "chunks");

            migrationBuilder.AddColumn<string>(
                name: "route",
                table: "jobs",
                type: "jsonb",
                nullable: true);

            migrationBuilder.AlterColumn<byte[]>(
                name: "payload",
                table: "chunks",
                type: "bytea",
                nullable: true,
                oldClrType: typeof(byte[]),
                oldType: "bytea");

            migrationBuilder.AddColumn<int>(
                name: "escalated",
                table: "chunks",
                type: "integer",
                nullable: false,
                defaultValue: 0);

            migrationBuilder.AddColumn<string>(
                name: "model",
                table: "chunks",
                type: "text",
                nullable: true);

            migrationBuilder.AddColumn<byte[]>(
                name: "own",
                table: "chunks",
                type: "bytea",
                nullable: true);

            migrationBuilder.AddColumn<int>(
                name: "root",
                table: "chunks",
                type: "integer",
                nullable: true);

            migrationBuilder.AddColumn<short>(
                name: "turn",
                table: "chunks",
                type: "smallint",
                nullable: false,
                defaultValue: (short)1);

            migrationBuilder.CreateTable(
                name: "routes",
                columns: table => new
                {
                    name = table.Column<string>(type: "text", nullable: false),
                    version = table.Column<int>(type: "integer", nullable: false),
                    variants = table.Column<string>(type: "jsonb", nullable: false),
                    quality = table.Column<string>(type: "jsonb", nullable: true),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_routes", x => new { x.name, x.version });
                    table.CheckConstraint("ck_routes_name", "name <> '' AND position('@' in name) = 0 AND version >= 1");
                    table.CheckConstraint("ck_routes_variants", "jsonb_array_length(variants) >= 2");
                });

            migrationBuilder.CreateTable(
                name: "turns",
                columns: table => new
                {
                    job = table.Column<Guid>(type: "uuid", nullable: false),
                    seq = table.Column<int>(type: "integer", nullable: false),
                    turn = table.Column<short>(type: "smallint", nullable: false),
                    chunk = table.Column<int>(type: "integer", nullable: false),
                    model = table.Column<string>(type: "text", nullable: false),
                    batch = table.Column<Guid>(type: "uuid", nullable: false),
                    units = table.Column<int>(type: "integer", nullable: false),
                    cost_pico = table.Column<long>(type: "bigint", nullable: false),
                    finished_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    xid = table.Column<ulong>(type: "xid8", nullable: false, defaultValueSql: "pg_current_xact_id()")
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_turns", x => new { x.job, x.seq, x.turn });
                    table.CheckConstraint("ck_turns_turn", "turn >= 1 AND units >= 0 AND cost_pico >= 0");
                });

            migrationBuilder.AddCheckConstraint(
                name: "ck_jobs_counts",
                table: "jobs",
                sql: "tasks >= 0 AND units >= 0 AND chunks >= 0 AND (chunks <= tasks OR route IS NOT NULL)");

            migrationBuilder.CreateIndex(
                name: "ix_chunks_escalated",
                table: "chunks",
                columns: new[] { "job", "first_seq" },
                filter: "remaining > 0 AND root IS NOT NULL");

            migrationBuilder.AddCheckConstraint(
                name: "ck_chunks_counts",
                table: "chunks",
                sql: "remaining >= 0 AND succeeded >= 0 AND failed >= 0 AND expired >= 0 AND cancelled >= 0 AND escalated >= 0 AND remaining + succeeded + failed + expired + cancelled + escalated = tasks");

            migrationBuilder.AddCheckConstraint(
                name: "ck_chunks_turn",
                table: "chunks",
                sql: "turn >= 1 AND (turn = 1) = (root IS NULL) AND (root IS NULL) = (own IS NULL) AND (root IS NULL) = (model IS NULL) AND (root IS NULL) = (payload IS NOT NULL)");

            migrationBuilder.CreateIndex(
                name: "ix_turns_xid",
                table: "turns",
                column: "xid");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "routes");

            migrationBuilder.DropTable(
                name: "turns");

            migrationBuilder.DropCheckConstraint(
                name: "ck_jobs_counts",
                table: "jobs");

            migrationBuilder.DropIndex(
                name: "ix_chunks_escalated",
                table: "chunks");

            migrationBuilder.DropCheckConstraint(
                name: "ck_chunks_counts",
                table: "chunks");

            migrationBuilder.DropCheckConstraint(
                name: "ck_chunks_turn",
                table: "chunks");

            migrationBuilder.DropColumn(
                name: "route",
                table: "jobs");

            migrationBuilder.DropColumn(
                name: "escalated",
                table: "chunks");

            migrationBuilder.DropColumn(
                name: "model",
                table: "chunks");

            migrationBuilder.DropColumn(
                name: "own",
                table: "chunks");

            migrationBuilder.DropColumn(
                name: "root",
                table: "chunks");

            migrationBuilder.DropColumn(
                name: "turn",
                table: "chunks");

            migrationBuilder.AlterColumn<byte[]>(
                name: "payload",
                table: "chunks",
                type: "bytea",
                nullable: false,
                defaultValue: new byte[0],
                oldClrType: typeof(byte[]),
                oldType: "bytea",
                oldNullable: true);

            migrationBuilder.AddCheckConstraint(
                name: "ck_jobs_counts",
                table: "jobs",
                sql: "tasks >= 0 AND units >= 0 AND chunks >= 0 AND chunks <= tasks");

            migrationBuilder.AddCheckConstraint(
                name: "ck_chunks_counts",
                table: "chunks",
                sql: "remaining >= 0 AND succeeded >= 0 AND failed >= 0 AND expired >= 0 AND cancelled >= 0 AND remaining + succeeded + failed + expired + cancelled = tasks");
        }
    }
}
