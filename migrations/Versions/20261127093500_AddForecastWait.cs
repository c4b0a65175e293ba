using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class AddForecastWait : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropCheckConstraint(
                name: "ck_jobs_predicted",
                table: "jobs");

            migrationBuilder.AddColumn<long>(
                name: "forecast_wait_us",
                table: "jobs",
                type: "bigint",
                nullable: true);

            migrationBuilder.AddCheckConstraint(
                name: "ck_jobs_predicted",
                table: "jobs",
                sql: "predicted_early_at <= predicted_at AND predicted_at <= predicted_late_at AND predicted_cost_pico >= 0 AND forecast_us >= 0 AND forecast_cost_pico >= 0 AND forecast_wait_us BETWEEN 0 AND forecast_us");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropCheckConstraint(
                name: "ck_jobs_predicted",
                table: "jobs");

            migrationBuilder.DropColumn(
                name: "forecast_wait_us",
                table: "jobs");

            migrationBuilder.AddCheckConstraint(
                name: "ck_jobs_predicted",
                table: "jobs",
                sql: "predicted_early_at <= predicted_at AND predicted_at <= predicted_late_at AND predicted_cost_pico >= 0 AND forecast_us >= 0 AND forecast_cost_pico >= 0");
        }
    }
}
