using System;
using Microsoft.EntityFrameworkCore.Migrations;
using Npgsql.EntityFrameworkCore.PostgreSQL.Metadata;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class Initial : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.CreateTable(
                name: "batches",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "uuid", nullable: false),
                    worker = table.Column<Guid>(type: "uuid", nullable: false),
                    dispatch = table.Column<Guid>(type: "uuid", nullable: false),
                    lane = table.Column<string>(type: "text", nullable: false),
                    model = table.Column<string>(type: "text", nullable: false),
                    provider = table.Column<string>(type: "text", nullable: false),
                    rows = table.Column<int>(type: "integer", nullable: false),
                    units = table.Column<long>(type: "bigint", nullable: false),
                    padded_units = table.Column<long>(type: "bigint", nullable: false),
                    device_ns = table.Column<long>(type: "bigint", nullable: false),
                    cost_pico = table.Column<long>(type: "bigint", nullable: false),
                    started_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    finished_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_batches", x => x.id);
                    table.CheckConstraint("ck_batches_cost", "device_ns >= 0 AND cost_pico >= 0");
                    table.CheckConstraint("ck_batches_lane", "lane IN ('express', 'bulk')");
                    table.CheckConstraint("ck_batches_units", "rows > 0 AND units >= 0 AND padded_units >= units");
                });

            migrationBuilder.CreateTable(
                name: "endings",
                columns: table => new
                {
                    job = table.Column<Guid>(type: "uuid", nullable: false),
                    xid = table.Column<ulong>(type: "xid8", nullable: false, defaultValueSql: "pg_current_xact_id()"),
                    chunk = table.Column<int>(type: "integer", nullable: false),
                    tasks = table.Column<byte[]>(type: "bytea", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_endings", x => new { x.job, x.xid, x.chunk });
                    table.CheckConstraint("ck_endings_tasks", "octet_length(tasks) > 0");
                });

            migrationBuilder.CreateTable(
                name: "events",
                columns: table => new
                {
                    id = table.Column<long>(type: "bigint", nullable: false)
                        .Annotation("Npgsql:ValueGenerationStrategy", NpgsqlValueGenerationStrategy.IdentityAlwaysColumn),
                    xid = table.Column<ulong>(type: "xid8", nullable: false, defaultValueSql: "pg_current_xact_id()"),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    job = table.Column<Guid>(type: "uuid", nullable: true),
                    type = table.Column<string>(type: "text", nullable: false),
                    data = table.Column<string>(type: "jsonb", nullable: false),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_events", x => x.id);
                    table.CheckConstraint("ck_events_type", "type ~ '^[a-z_]+[.][a-z_]+$'");
                });

            migrationBuilder.CreateTable(
                name: "models",
                columns: table => new
                {
                    name = table.Column<string>(type: "text", nullable: false),
                    version = table.Column<string>(type: "text", nullable: false),
                    current = table.Column<bool>(type: "boolean", nullable: false),
                    kind = table.Column<string>(type: "text", nullable: false),
                    manifest = table.Column<string>(type: "jsonb", nullable: false),
                    profile = table.Column<string>(type: "jsonb", nullable: true),
                    sha256 = table.Column<string>(type: "text", nullable: false),
                    file_bytes = table.Column<long>(type: "bigint", nullable: false),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_models", x => new { x.name, x.version });
                    table.CheckConstraint("ck_models_file_bytes", "file_bytes >= 0");
                    table.CheckConstraint("ck_models_kind", "kind IN ('tensor', 'text')");
                    table.CheckConstraint("ck_models_names", "name <> '' AND version <> '' AND position('@' in name) = 0");
                    table.CheckConstraint("ck_models_sha256", "sha256 ~ '^[0-9a-f]{64}$'");
                });

            // EF Core knows no partitioned tables. The default partition catches what no day's partition takes (see Partitions.cs).
            migrationBuilder.Sql(
                """
                CREATE TABLE results (
                  job uuid NOT NULL,
                  seq integer NOT NULL,
                  chunk integer NOT NULL,
                  custom_id text NOT NULL,
                  status text NOT NULL,
                  output bytea,
                  content_type text,
                  error_code text,
                  error_message text,
                  model text NOT NULL,
                  turns smallint NOT NULL,
                  cost_pico bigint NOT NULL,
                  batch uuid,
                  queued_us bigint NOT NULL,
                  staged_us integer NOT NULL,
                  device_us integer NOT NULL,
                  total_us bigint NOT NULL,
                  finished_at timestamp with time zone NOT NULL,
                  CONSTRAINT pk_results PRIMARY KEY (job, seq),
                  CONSTRAINT ck_results_status CHECK (status IN ('succeeded', 'failed', 'expired', 'cancelled')),
                  CONSTRAINT ck_results_error CHECK ((status = 'succeeded') = (error_code IS NULL) AND (error_code IS NULL) = (error_message IS NULL)),
                  CONSTRAINT ck_results_output CHECK ((status = 'succeeded') = (output IS NOT NULL) AND (output IS NULL) = (content_type IS NULL)),
                  CONSTRAINT ck_results_cost_pico CHECK (cost_pico >= 0)
                ) PARTITION BY RANGE (job);
                CREATE TABLE results_default PARTITION OF results DEFAULT;
                """);

            migrationBuilder.CreateTable(
                name: "scheduler_epoch",
                columns: table => new
                {
                    one = table.Column<bool>(type: "boolean", nullable: false, defaultValue: true),
                    epoch = table.Column<long>(type: "bigint", nullable: false),
                    instance = table.Column<Guid>(type: "uuid", nullable: false),
                    taken_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_scheduler_epoch", x => x.one);
                    table.CheckConstraint("ck_scheduler_epoch_epoch", "epoch >= 0");
                    table.CheckConstraint("ck_scheduler_epoch_one", "one");
                });

            migrationBuilder.CreateTable(
                name: "tenants",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "uuid", nullable: false),
                    name = table.Column<string>(type: "text", nullable: false),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_tenants", x => x.id);
                    table.CheckConstraint("ck_tenants_name", "name <> ''");
                });

            migrationBuilder.CreateTable(
                name: "workers",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "uuid", nullable: false),
                    name = table.Column<string>(type: "text", nullable: false),
                    pool = table.Column<string>(type: "text", nullable: false),
                    provider = table.Column<string>(type: "text", nullable: false),
                    device = table.Column<string>(type: "text", nullable: false),
                    price_per_hour_pico = table.Column<long>(type: "bigint", nullable: false),
                    state = table.Column<string>(type: "text", nullable: false),
                    started_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    last_seen = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    uptime_ns = table.Column<long>(type: "bigint", nullable: false, defaultValue: 0L),
                    accounted_ns = table.Column<long>(type: "bigint", nullable: false, defaultValue: 0L),
                    begun = table.Column<string>(type: "jsonb", nullable: false, defaultValueSql: "'[]'"),
                    ended_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_workers", x => x.id);
                    table.CheckConstraint("ck_workers_begun", "jsonb_typeof(begun) = 'array'");
                    table.CheckConstraint("ck_workers_clock", "uptime_ns >= 0 AND accounted_ns >= 0 AND price_per_hour_pico >= 0");
                    table.CheckConstraint("ck_workers_ended_at", "(state = 'alive') = (ended_at IS NULL)");
                    table.CheckConstraint("ck_workers_state", "state IN ('alive', 'stopped', 'lost')");
                });

            migrationBuilder.CreateTable(
                name: "api_keys",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "uuid", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    name = table.Column<string>(type: "text", nullable: false),
                    hash = table.Column<byte[]>(type: "bytea", nullable: false),
                    prefix = table.Column<string>(type: "text", nullable: false),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    revoked_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_api_keys", x => x.id);
                    table.CheckConstraint("ck_api_keys_hash", "octet_length(hash) = 32");
                    table.ForeignKey(
                        name: "fk_api_keys_tenants",
                        column: x => x.tenant,
                        principalTable: "tenants",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateTable(
                name: "idempotency_keys",
                columns: table => new
                {
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    key = table.Column<string>(type: "text", nullable: false),
                    fingerprint = table.Column<byte[]>(type: "bytea", nullable: false),
                    job = table.Column<Guid>(type: "uuid", nullable: true),
                    status = table.Column<int>(type: "integer", nullable: true),
                    response = table.Column<byte[]>(type: "bytea", nullable: true),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    finished_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_idempotency_keys", x => new { x.tenant, x.key });
                    table.CheckConstraint("ck_idempotency_keys_finished", "(finished_at IS NOT NULL) = (status IS NOT NULL) AND (status IS NOT NULL) = (response IS NOT NULL)");
                    table.CheckConstraint("ck_idempotency_keys_key", "key <> ''");
                    table.ForeignKey(
                        name: "fk_idempotency_keys_tenants",
                        column: x => x.tenant,
                        principalTable: "tenants",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateTable(
                name: "jobs",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "uuid", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    model = table.Column<string>(type: "text", nullable: false),
                    model_version = table.Column<string>(type: "text", nullable: false),
                    @class = table.Column<string>(name: "class", type: "text", nullable: false),
                    state = table.Column<string>(type: "text", nullable: false),
                    paused = table.Column<bool>(type: "boolean", nullable: false, defaultValue: false),
                    tasks = table.Column<int>(type: "integer", nullable: false, defaultValue: 0),
                    units = table.Column<long>(type: "bigint", nullable: false, defaultValue: 0L),
                    chunks = table.Column<int>(type: "integer", nullable: false, defaultValue: 0),
                    open_chunks = table.Column<int>(type: "integer", nullable: false, defaultValue: 0),
                    succeeded = table.Column<int>(type: "integer", nullable: true),
                    failed = table.Column<int>(type: "integer", nullable: true),
                    expired = table.Column<int>(type: "integer", nullable: true),
                    cancelled = table.Column<int>(type: "integer", nullable: true),
                    cost_pico = table.Column<decimal>(type: "numeric", nullable: true),
                    deadline = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    predicted_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    webhook = table.Column<string>(type: "text", nullable: true),
                    metadata = table.Column<string>(type: "jsonb", nullable: false, defaultValueSql: "'{}'"),
                    max_cost_pico = table.Column<long>(type: "bigint", nullable: true),
                    retry_of = table.Column<Guid>(type: "uuid", nullable: true),
                    error = table.Column<string>(type: "jsonb", nullable: true),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    queued_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    started_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    finished_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_jobs", x => x.id);
                    table.CheckConstraint("ck_jobs_class", "class IN ('express', 'standard', 'bulk')");
                    table.CheckConstraint("ck_jobs_counts", "tasks >= 0 AND units >= 0 AND chunks >= 0 AND chunks <= tasks");
                    table.CheckConstraint("ck_jobs_error", "(state = 'failed') = (error IS NOT NULL)");
                    table.CheckConstraint("ck_jobs_finished_at", "(state IN ('completed', 'failed', 'expired', 'cancelled')) = (finished_at IS NOT NULL)");
                    table.CheckConstraint("ck_jobs_open_chunks", "open_chunks BETWEEN 0 AND chunks AND CASE WHEN state IN ('queued', 'running') THEN open_chunks > 0 WHEN state IN ('cancelling', 'failed') THEN true ELSE open_chunks = 0 END");
                    table.CheckConstraint("ck_jobs_queued_at", "CASE WHEN state = 'receiving' THEN queued_at IS NULL WHEN state IN ('queued', 'running', 'finalizing', 'completed') THEN queued_at IS NOT NULL ELSE true END");
                    table.CheckConstraint("ck_jobs_started_at", "CASE WHEN state IN ('receiving', 'queued') THEN started_at IS NULL WHEN state IN ('running', 'finalizing', 'completed') THEN started_at IS NOT NULL ELSE true END");
                    table.CheckConstraint("ck_jobs_state", "state IN ('receiving', 'queued', 'running', 'finalizing', 'completed', 'failed', 'expired', 'cancelling', 'cancelled')");
                    table.CheckConstraint("ck_jobs_totals", "num_nonnulls(succeeded, failed, expired, cancelled, cost_pico) = CASE WHEN state IN ('finalizing', 'completed', 'expired', 'cancelled') THEN 5 WHEN state = 'failed' AND succeeded IS NOT NULL THEN 5 ELSE 0 END");
                    table.CheckConstraint("ck_jobs_totals_sum", "succeeded + failed + expired + cancelled = tasks");
                    table.ForeignKey(
                        name: "fk_jobs_tenants",
                        column: x => x.tenant,
                        principalTable: "tenants",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Restrict);
                });

            migrationBuilder.CreateTable(
                name: "ledger",
                columns: table => new
                {
                    id = table.Column<long>(type: "bigint", nullable: false)
                        .Annotation("Npgsql:ValueGenerationStrategy", NpgsqlValueGenerationStrategy.IdentityAlwaysColumn),
                    worker = table.Column<Guid>(type: "uuid", nullable: false),
                    account = table.Column<string>(type: "text", nullable: false),
                    from_ns = table.Column<long>(type: "bigint", nullable: false),
                    to_ns = table.Column<long>(type: "bigint", nullable: false),
                    ns = table.Column<long>(type: "bigint", nullable: false),
                    pico = table.Column<long>(type: "bigint", nullable: false),
                    detail = table.Column<string>(type: "text", nullable: true),
                    at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_ledger", x => x.id);
                    table.CheckConstraint("ck_ledger_account", "account IN ('task', 'padding', 'idle', 'warm_up', 'waste')");
                    table.CheckConstraint("ck_ledger_interval", "from_ns >= 0 AND to_ns >= from_ns");
                    table.ForeignKey(
                        name: "fk_ledger_workers",
                        column: x => x.worker,
                        principalTable: "workers",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateTable(
                name: "chunks",
                columns: table => new
                {
                    job = table.Column<Guid>(type: "uuid", nullable: false),
                    no = table.Column<int>(type: "integer", nullable: false),
                    first_seq = table.Column<int>(type: "integer", nullable: false),
                    tasks = table.Column<int>(type: "integer", nullable: false),
                    units = table.Column<long>(type: "bigint", nullable: false),
                    units_max = table.Column<int>(type: "integer", nullable: false),
                    remaining = table.Column<int>(type: "integer", nullable: false),
                    succeeded = table.Column<int>(type: "integer", nullable: false, defaultValue: 0),
                    failed = table.Column<int>(type: "integer", nullable: false, defaultValue: 0),
                    expired = table.Column<int>(type: "integer", nullable: false, defaultValue: 0),
                    cancelled = table.Column<int>(type: "integer", nullable: false, defaultValue: 0),
                    cost_pico = table.Column<long>(type: "bigint", nullable: false, defaultValue: 0L),
                    attempts = table.Column<int>(type: "integer", nullable: false, defaultValue: 0),
                    announced_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    payload = table.Column<byte[]>(type: "bytea", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_chunks", x => new { x.job, x.no });
                    table.CheckConstraint("ck_chunks_attempts", "attempts >= 0");
                    table.CheckConstraint("ck_chunks_cost_pico", "cost_pico >= 0");
                    table.CheckConstraint("ck_chunks_counts", "remaining >= 0 AND succeeded >= 0 AND failed >= 0 AND expired >= 0 AND cancelled >= 0 AND remaining + succeeded + failed + expired + cancelled = tasks");
                    table.CheckConstraint("ck_chunks_tasks", "tasks > 0 AND no >= 0 AND first_seq >= 0 AND units >= 0 AND units_max >= 0");
                    table.ForeignKey(
                        name: "fk_chunks_jobs",
                        column: x => x.job,
                        principalTable: "jobs",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateIndex(
                name: "ix_api_keys_tenant",
                table: "api_keys",
                column: "tenant");

            migrationBuilder.CreateIndex(
                name: "ux_api_keys_hash",
                table: "api_keys",
                column: "hash",
                unique: true);

            migrationBuilder.CreateIndex(
                name: "ix_chunks_open",
                table: "chunks",
                columns: new[] { "job", "no" },
                filter: "remaining > 0");

            migrationBuilder.CreateIndex(
                name: "ix_chunks_unannounced",
                table: "chunks",
                columns: new[] { "job", "no" },
                filter: "announced_at IS NULL");

            migrationBuilder.CreateIndex(
                name: "ix_events_job",
                table: "events",
                columns: new[] { "job", "id" });

            migrationBuilder.CreateIndex(
                name: "ix_idempotency_keys_created_at",
                table: "idempotency_keys",
                column: "created_at");

            migrationBuilder.CreateIndex(
                name: "ix_jobs_open",
                table: "jobs",
                columns: new[] { "state", "id" },
                filter: "finished_at IS NULL");

            migrationBuilder.CreateIndex(
                name: "ix_jobs_tenant",
                table: "jobs",
                columns: new[] { "tenant", "id" },
                descending: new[] { false, true });

            migrationBuilder.CreateIndex(
                name: "ix_ledger_worker",
                table: "ledger",
                columns: new[] { "worker", "from_ns" });

            migrationBuilder.CreateIndex(
                name: "ux_models_current",
                table: "models",
                column: "name",
                unique: true,
                filter: "current");

            migrationBuilder.CreateIndex(
                name: "ux_tenants_name",
                table: "tenants",
                column: "name",
                unique: true);

            migrationBuilder.CreateIndex(
                name: "ix_workers_alive",
                table: "workers",
                column: "id",
                filter: "ended_at IS NULL");

            // Payloads are compressed already: PostgreSQL should not try once more.
            migrationBuilder.Sql("ALTER TABLE chunks ALTER COLUMN payload SET STORAGE EXTERNAL;");

            // The one row, before any scheduler, so that taking over is always an UPDATE.
            migrationBuilder.Sql(
                "INSERT INTO scheduler_epoch (epoch, instance, taken_at) VALUES (0, '00000000-0000-0000-0000-000000000000', now());");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "api_keys");

            migrationBuilder.DropTable(
                name: "batches");

            migrationBuilder.DropTable(
                name: "chunks");

            migrationBuilder.DropTable(
                name: "endings");

            migrationBuilder.DropTable(
                name: "events");

            migrationBuilder.DropTable(
                name: "idempotency_keys");

            migrationBuilder.DropTable(
                name: "ledger");

            migrationBuilder.DropTable(
                name: "models");

            migrationBuilder.DropTable(
                name: "results");

            migrationBuilder.DropTable(
                name: "scheduler_epoch");

            migrationBuilder.DropTable(
                name: "jobs");

            migrationBuilder.DropTable(
                name: "workers");

            migrationBuilder.DropTable(
                name: "tenants");
        }
    }
}
