using System;
using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class AddPoolPrices : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<string>(
                name: "split_method",
                table: "batches",
                type: "text",
                nullable: false,
                defaultValueSql: "'units.v1'");

            migrationBuilder.AddColumn<bool>(
                name: "operator",
                table: "api_keys",
                type: "boolean",
                nullable: false,
                defaultValue: false);

            migrationBuilder.CreateTable(
                name: "pool_prices",
                columns: table => new
                {
                    pool = table.Column<string>(type: "text", nullable: false),
                    valid_from = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    price_per_hour_pico = table.Column<long>(type: "bigint", nullable: false),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_pool_prices", x => new { x.pool, x.valid_from });
                    table.CheckConstraint("ck_pool_prices_pool", "pool <> ''");
                    table.CheckConstraint("ck_pool_prices_price", "price_per_hour_pico BETWEEN 0 AND 10000000000000000");
                    table.CheckConstraint("ck_pool_prices_valid_from", "valid_from >= '2000-01-01 00:00Z' AND valid_from < '2200-01-01 00:00Z'");
                });

            migrationBuilder.AddCheckConstraint(
                name: "ck_batches_split_method",
                table: "batches",
                sql: "split_method IN ('units.v1', 'equal.v1', 'padded.v1')");

            // The staircase of a device's prices on its worker's clock, which reads 0 at started_at: the pool's prices, and before the
            // first of them the worker's own. One SELECT, so that PostgreSQL takes it into the query that asks.
            migrationBuilder.Sql(
                """
                CREATE FUNCTION device_prices(of_pool text, started_at timestamptz, configured bigint)
                RETURNS TABLE (from_ns bigint, price_per_hour_pico bigint) LANGUAGE sql STABLE AS $$
                  SELECT 0::bigint, coalesce(
                    (SELECT p.price_per_hour_pico FROM pool_prices p
                     WHERE p.pool = $1 AND p.valid_from <= $2 ORDER BY p.valid_from DESC LIMIT 1), $3)
                  UNION ALL
                  SELECT (extract(epoch FROM p.valid_from - $2) * 1000000000)::bigint, p.price_per_hour_pico FROM pool_prices p
                  WHERE p.pool = $1 AND p.valid_from > $2
                $$;
                """);

            // What an interval of such a clock costs: between two steps the difference of two running totals, each rounded down.
            migrationBuilder.Sql(
                """
                CREATE FUNCTION device_cost(of_pool text, started_at timestamptz, configured bigint, from_ns bigint, to_ns bigint)
                RETURNS numeric LANGUAGE sql STABLE AS $$
                  SELECT coalesce(sum(
                    div(least(s.until_ns, $5) * s.price, 3600000000000) - div(greatest(s.from_ns, $4) * s.price, 3600000000000)), 0)
                  FROM (
                    SELECT d.from_ns::numeric AS from_ns, d.price_per_hour_pico::numeric AS price,
                           lead(d.from_ns, 1, 9223372036854775807) OVER (ORDER BY d.from_ns)::numeric AS until_ns
                    FROM device_prices($1, $2, $3) AS d
                  ) AS s
                  WHERE s.from_ns < $5 AND s.until_ns > $4
                $$;
                """);

            // The invariant. For every worker (or one): nanoseconds and pico-USD by which its accounts differ from its accounted time and
            // from that time × price, and how many intervals do not begin where the one before ended, or differ themselves. All are 0.
            migrationBuilder.Sql(
                """
                CREATE FUNCTION ledger_difference(of_worker uuid DEFAULT NULL)
                RETURNS TABLE (worker uuid, ns numeric, pico numeric, intervals bigint) LANGUAGE sql STABLE AS $$
                  WITH intervals AS (
                    SELECT l.worker, l.from_ns, l.to_ns, sum(l.ns) AS ns, sum(l.pico) AS pico FROM ledger l
                    WHERE $1 IS NULL OR l.worker = $1 GROUP BY l.worker, l.from_ns, l.to_ns
                  ), checked AS (
                    SELECT i.worker, i.ns, i.pico,
                           i.from_ns <> lag(i.to_ns, 1, 0::bigint) OVER (PARTITION BY i.worker ORDER BY i.from_ns, i.to_ns)
                           OR i.ns <> i.to_ns - i.from_ns
                           OR i.pico <> device_cost(w.pool, w.started_at, w.price_per_hour_pico, i.from_ns, i.to_ns) AS broken
                    FROM intervals i JOIN workers w ON w.id = i.worker
                  ), sums AS (
                    SELECT c.worker, sum(c.ns) AS ns, sum(c.pico) AS pico, count(*) FILTER (WHERE c.broken) AS broken
                    FROM checked c GROUP BY c.worker
                  )
                  SELECT w.id, coalesce(s.ns, 0) - w.accounted_ns,
                         coalesce(s.pico, 0) - device_cost(w.pool, w.started_at, w.price_per_hour_pico, 0, w.accounted_ns),
                         coalesce(s.broken, 0)
                  FROM workers w LEFT JOIN sums s ON s.worker = w.id
                  WHERE $1 IS NULL OR w.id = $1
                $$;
                """);
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.Sql("DROP FUNCTION ledger_difference, device_cost, device_prices");

            migrationBuilder.DropTable(
                name: "pool_prices");

            migrationBuilder.DropCheckConstraint(
                name: "ck_batches_split_method",
                table: "batches");

            migrationBuilder.DropColumn(
                name: "split_method",
                table: "batches");

            migrationBuilder.DropColumn(
                name: "operator",
                table: "api_keys");
        }
    }
}
