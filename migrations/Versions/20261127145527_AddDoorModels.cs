using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class AddDoorModels : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropPrimaryKey(
                name: "pk_sla_doors",
                table: "sla_doors");

            migrationBuilder.AddColumn<string>(
                name: "model",
                table: "sla_doors",
                type: "text",
                nullable: false,
                defaultValue: "",
                collation: "C");

            migrationBuilder.AddPrimaryKey(
                name: "pk_sla_doors",
                table: "sla_doors",
                columns: new[] { "at", "tenant", "class", "model", "instance" });
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropPrimaryKey(
                name: "pk_sla_doors",
                table: "sla_doors");

            migrationBuilder.DropColumn(
                name: "model",
                table: "sla_doors");

            migrationBuilder.AddPrimaryKey(
                name: "pk_sla_doors",
                table: "sla_doors",
                columns: new[] { "at", "tenant", "class", "instance" });
        }
    }
}
