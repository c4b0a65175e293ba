using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class AddApiKeyLimits : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<int>(
                name: "burst_max",
                table: "api_keys",
                type: "integer",
                nullable: true);

            migrationBuilder.AddColumn<int>(
                name: "concurrent_max",
                table: "api_keys",
                type: "integer",
                nullable: true);

            migrationBuilder.AddColumn<int>(
                name: "rate_per_second",
                table: "api_keys",
                type: "integer",
                nullable: true);

            migrationBuilder.CreateIndex(
                name: "ix_api_keys_limits",
                table: "api_keys",
                column: "id",
                filter: "rate_per_second IS NOT NULL OR burst_max IS NOT NULL OR concurrent_max IS NOT NULL");

            migrationBuilder.AddCheckConstraint(
                name: "ck_api_keys_limits",
                table: "api_keys",
                sql: "(rate_per_second IS NULL OR rate_per_second BETWEEN 1 AND 1000000) AND (burst_max IS NULL OR burst_max BETWEEN 1 AND 1000000) AND (concurrent_max IS NULL OR concurrent_max BETWEEN 1 AND 1000000)");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropIndex(
                name: "ix_api_keys_limits",
                table: "api_keys");

            migrationBuilder.DropCheckConstraint(
                name: "ck_api_keys_limits",
                table: "api_keys");

            migrationBuilder.DropColumn(
                name: "burst_max",
                table: "api_keys");

            migrationBuilder.DropColumn(
                name: "concurrent_max",
                table: "api_keys");

            migrationBuilder.DropColumn(
                name: "rate_per_second",
                table: "api_keys");
        }
    }
}
