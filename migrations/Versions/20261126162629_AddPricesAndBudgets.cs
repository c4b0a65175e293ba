using System;
using Microsoft.EntityFrameworkCore.Migrations;
using Npgsql.EntityFrameworkCore.PostgreSQL.Metadata;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class AddPricesAndBudgets : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropCheckConstraint(
                name: "ck_batches_cost",
                table: "batches");

            migrationBuilder.AddColumn<int>(
                name: "units",
                table: "results",
                type: "integer",
                nullable: false,
                defaultValue: 0);

            migrationBuilder.AddColumn<string>(
                name: "cancel_reason",
                table: "jobs",
                type: "text",
                nullable: true);

            migrationBuilder.AddColumn<long>(
                name: "estimate_pico",
                table: "jobs",
                type: "bigint",
                nullable: true);

            migrationBuilder.AddColumn<long>(
                name: "per_million_units_pico",
                table: "jobs",
                type: "bigint",
                nullable: true);

            migrationBuilder.AddColumn<long>(
                name: "reserved_pico",
                table: "jobs",
                type: "bigint",
                nullable: true);

            migrationBuilder.AddColumn<long>(
                name: "units_done",
                table: "jobs",
                type: "bigint",
                nullable: true);

            migrationBuilder.AddColumn<long>(
                name: "units_done",
                table: "chunks",
                type: "bigint",
                nullable: false,
                defaultValue: 0L);

            migrationBuilder.AddColumn<long>(
                name: "padding_pico",
                table: "batches",
                type: "bigint",
                nullable: false,
                defaultValue: 0L);

            migrationBuilder.CreateTable(
                name: "prices",
                columns: table => new
                {
                    id = table.Column<long>(type: "bigint", nullable: false)
                        .Annotation("Npgsql:ValueGenerationStrategy", NpgsqlValueGenerationStrategy.IdentityAlwaysColumn),
                    @class = table.Column<string>(name: "class", type: "text", nullable: false),
                    model = table.Column<string>(type: "text", nullable: true),
                    valid_from = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    per_million_units_pico = table.Column<long>(type: "bigint", nullable: false),
                    currency = table.Column<string>(type: "text", nullable: false),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_prices", x => x.id);
                    table.CheckConstraint("ck_prices_class", "class IN ('express', 'standard', 'bulk')");
                    table.CheckConstraint("ck_prices_currency", "currency = 'USD'");
                    table.CheckConstraint("ck_prices_model", "model <> ''");
                    table.CheckConstraint("ck_prices_price", "per_million_units_pico BETWEEN 0 AND 100000000000000000");
                });

            migrationBuilder.CreateTable(
                name: "tenant_budgets",
                columns: table => new
                {
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    limit_pico = table.Column<long>(type: "bigint", nullable: false),
                    warn_percents = table.Column<int[]>(type: "integer[]", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_tenant_budgets", x => x.tenant);
                    table.CheckConstraint("ck_tenant_budgets_limit", "limit_pico >= 0");
                    table.CheckConstraint("ck_tenant_budgets_warn", "1 <= ALL (warn_percents) AND 100 >= ALL (warn_percents)");
                    table.ForeignKey(
                        name: "fk_tenant_budgets_tenants",
                        column: x => x.tenant,
                        principalTable: "tenants",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateTable(
                name: "tenant_months",
                columns: table => new
                {
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    month = table.Column<DateOnly>(type: "date", nullable: false),
                    spent_pico = table.Column<decimal>(type: "numeric", nullable: false),
                    warned_percent = table.Column<int>(type: "integer", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_tenant_months", x => new { x.tenant, x.month });
                    table.CheckConstraint("ck_tenant_months_month", "extract(day FROM month) = 1");
                    table.ForeignKey(
                        name: "fk_tenant_months_tenants",
                        column: x => x.tenant,
                        principalTable: "tenants",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.AddCheckConstraint(
                name: "ck_jobs_cancel_reason",
                table: "jobs",
                sql: "cancel_reason IS NULL OR state IN ('cancelling', 'cancelled')");

            migrationBuilder.AddCheckConstraint(
                name: "ck_jobs_prices",
                table: "jobs",
                sql: "per_million_units_pico >= 0 AND estimate_pico >= 0 AND reserved_pico >= 0 AND units_done >= 0");

            migrationBuilder.AddCheckConstraint(
                name: "ck_chunks_units_done",
                table: "chunks",
                sql: "units_done >= 0");

            migrationBuilder.AddCheckConstraint(
                name: "ck_batches_cost",
                table: "batches",
                sql: "device_ns >= 0 AND cost_pico >= 0 AND padding_pico BETWEEN 0 AND cost_pico");

            migrationBuilder.CreateIndex(
                name: "ux_prices_valid_from",
                table: "prices",
                columns: new[] { "class", "model", "valid_from" },
                unique: true)
                .Annotation("Npgsql:NullsDistinct", false);

            // Holds a job's predicted price of its tenant's month, and gives it; null where the tenant has no budget. The row of the month is
            // locked until the job is committed, so of jobs that come at once no more get in than fit. Passing a threshold is told once.
            migrationBuilder.Sql(
                """
                CREATE FUNCTION reserve_budget(of_tenant uuid, accepted_at timestamptz, amount bigint)
                RETURNS bigint LANGUAGE plpgsql AS $$
                DECLARE
                  budget tenant_budgets;
                  spent numeric;
                  warned int;
                  first date := date_trunc('month', accepted_at AT TIME ZONE 'UTC')::date;
                  threshold int;
                BEGIN
                  SELECT * INTO budget FROM tenant_budgets b WHERE b.tenant = of_tenant;
                  IF NOT FOUND OR amount IS NULL OR accepted_at IS NULL THEN
                    RETURN NULL;
                  END IF;
                  INSERT INTO tenant_months (tenant, month, spent_pico, warned_percent) VALUES (of_tenant, first, 0, 0)
                  ON CONFLICT DO NOTHING;
                  SELECT m.spent_pico, m.warned_percent INTO spent, warned FROM tenant_months m
                  WHERE m.tenant = of_tenant AND m.month = first FOR UPDATE;
                  IF spent + amount > budget.limit_pico THEN
                    RAISE EXCEPTION USING ERRCODE = 'PB402', MESSAGE = format('%s %s', spent, budget.limit_pico);
                  END IF;
                  FOR threshold IN
                    SELECT DISTINCT p FROM unnest(budget.warn_percents) AS p
                    WHERE p > warned AND (spent + amount) * 100 >= budget.limit_pico::numeric * p ORDER BY p
                  LOOP
                    warned := threshold;
                    INSERT INTO events (tenant, type, data, created_at)
                    VALUES (of_tenant, 'budget.warning', jsonb_build_object('month', to_char(first, 'YYYY-MM'), 'percent', threshold,
                            'spent_pico_usd', spent + amount, 'limit_pico_usd', budget.limit_pico), accepted_at);
                  END LOOP;
                  UPDATE tenant_months m SET spent_pico = spent + amount, warned_percent = warned
                  WHERE m.tenant = of_tenant AND m.month = first;
                  RETURN amount;
                END
                $$;
                """);
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.Sql("DROP FUNCTION reserve_budget");

            migrationBuilder.DropTable(
                name: "prices");

            migrationBuilder.DropTable(
                name: "tenant_budgets");

            migrationBuilder.DropTable(
                name: "tenant_months");

            migrationBuilder.DropCheckConstraint(
                name: "ck_jobs_cancel_reason",
                table: "jobs");

            migrationBuilder.DropCheckConstraint(
                name: "ck_jobs_prices",
                table: "jobs");

            migrationBuilder.DropCheckConstraint(
                name: "ck_chunks_units_done",
                table: "chunks");

            migrationBuilder.DropCheckConstraint(
                name: "ck_batches_cost",
                table: "batches");

            migrationBuilder.DropColumn(
                name: "units",
                table: "results");

            migrationBuilder.DropColumn(
                name: "cancel_reason",
                table: "jobs");

            migrationBuilder.DropColumn(
                name: "estimate_pico",
                table: "jobs");

            migrationBuilder.DropColumn(
                name: "per_million_units_pico",
                table: "jobs");

            migrationBuilder.DropColumn(
                name: "reserved_pico",
                table: "jobs");

            migrationBuilder.DropColumn(
                name: "units_done",
                table: "jobs");

            migrationBuilder.DropColumn(
                name: "units_done",
                table: "chunks");

            migrationBuilder.DropColumn(
                name: "padding_pico",
                table: "batches");

            migrationBuilder.AddCheckConstraint(
                name: "ck_batches_cost",
                table: "batches",
                sql: "device_ns >= 0 AND cost_pico >= 0");
        }
    }
}
