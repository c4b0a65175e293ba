using System;
using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class AddHoldsAndClassChanges : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<DateTimeOffset>(
                name: "class_since",
                table: "jobs",
                type: "timestamp with time zone",
                nullable: true);

            migrationBuilder.AddColumn<decimal>(
                name: "repriced_millionths",
                table: "jobs",
                type: "numeric",
                nullable: true);

            migrationBuilder.CreateTable(
                name: "holds",
                columns: table => new
                {
                    kind = table.Column<string>(type: "text", nullable: false),
                    name = table.Column<string>(type: "text", nullable: false),
                    reason = table.Column<string>(type: "text", nullable: false),
                    by = table.Column<string>(type: "text", nullable: false),
                    at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_holds", x => new { x.kind, x.name });
                    table.CheckConstraint("ck_holds_kind", "kind IN ('model', 'tenant', 'pool', 'worker')");
                    table.CheckConstraint("ck_holds_name", "length(name) BETWEEN 1 AND 200");
                    table.CheckConstraint("ck_holds_reason", "length(reason) BETWEEN 1 AND 500");
                });
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "holds");

            migrationBuilder.DropColumn(
                name: "class_since",
                table: "jobs");

            migrationBuilder.DropColumn(
                name: "repriced_millionths",
                table: "jobs");
        }
    }
}
