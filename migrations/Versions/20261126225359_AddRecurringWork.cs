using System;
using Microsoft.EntityFrameworkCore.Migrations;
using Npgsql.EntityFrameworkCore.PostgreSQL.Metadata;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class AddRecurringWork : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropCheckConstraint(
                name: "ck_chunks_turn",
                table: "chunks");

            migrationBuilder.AddColumn<DateTimeOffset>(
                name: "inputs_removed_at",
                table: "jobs",
                type: "timestamp with time zone",
                nullable: true);

            migrationBuilder.AddColumn<DateTimeOffset>(
                name: "logs_removed_at",
                table: "jobs",
                type: "timestamp with time zone",
                nullable: true);

            migrationBuilder.AddColumn<DateTimeOffset>(
                name: "outputs_removed_at",
                table: "jobs",
                type: "timestamp with time zone",
                nullable: true);

            migrationBuilder.CreateTable(
                name: "erasures",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "uuid", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    job = table.Column<Guid>(type: "uuid", nullable: true),
                    reason = table.Column<string>(type: "text", nullable: false),
                    asked_by = table.Column<Guid>(type: "uuid", nullable: false),
                    asked_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    through = table.Column<Guid>(type: "uuid", nullable: true),
                    jobs = table.Column<int>(type: "integer", nullable: false, defaultValue: 0),
                    rows = table.Column<long>(type: "bigint", nullable: false, defaultValue: 0L),
                    finished_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_erasures", x => x.id);
                    table.CheckConstraint("ck_erasures_reason", "reason <> '' AND jobs >= 0 AND rows >= 0");
                    table.ForeignKey(
                        name: "fk_erasures_tenants",
                        column: x => x.tenant,
                        principalTable: "tenants",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Restrict);
                });

            migrationBuilder.CreateTable(
                name: "recurring_runs",
                columns: table => new
                {
                    id = table.Column<long>(type: "bigint", nullable: false)
                        .Annotation("Npgsql:ValueGenerationStrategy", NpgsqlValueGenerationStrategy.IdentityAlwaysColumn),
                    name = table.Column<string>(type: "text", nullable: false),
                    started_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    ended_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    outcome = table.Column<string>(type: "text", nullable: true),
                    counts = table.Column<string>(type: "jsonb", nullable: true),
                    error = table.Column<string>(type: "text", nullable: true),
                    instance = table.Column<string>(type: "text", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_recurring_runs", x => x.id);
                    table.CheckConstraint("ck_recurring_runs_counts", "(outcome IS NOT DISTINCT FROM 'ok') = (counts IS NOT NULL)");
                    table.CheckConstraint("ck_recurring_runs_ended", "(ended_at IS NULL) = (outcome IS NULL) AND ended_at >= started_at");
                    table.CheckConstraint("ck_recurring_runs_error", "(outcome IS NOT DISTINCT FROM 'failed') = (error IS NOT NULL)");
                    table.CheckConstraint("ck_recurring_runs_outcome", "outcome IN ('ok', 'failed', 'interrupted')");
                });

            migrationBuilder.CreateTable(
                name: "retention_ages",
                columns: table => new
                {
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    @class = table.Column<string>(name: "class", type: "text", nullable: false),
                    inputs = table.Column<TimeSpan>(type: "interval", nullable: true),
                    outputs = table.Column<TimeSpan>(type: "interval", nullable: true),
                    logs = table.Column<TimeSpan>(type: "interval", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_retention_ages", x => new { x.tenant, x.@class });
                    table.CheckConstraint("ck_retention_ages_class", "class IN ('all', 'express', 'standard', 'bulk')");
                    table.CheckConstraint("ck_retention_ages_range", "inputs >= interval '1 hour' AND outputs >= interval '1 hour' AND logs >= interval '1 hour'");
                    table.CheckConstraint("ck_retention_ages_some", "num_nonnulls(inputs, outputs, logs) > 0");
                    table.ForeignKey(
                        name: "fk_retention_ages_tenants",
                        column: x => x.tenant,
                        principalTable: "tenants",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateTable(
                name: "job_removals",
                columns: table => new
                {
                    job = table.Column<Guid>(type: "uuid", nullable: false),
                    kind = table.Column<string>(type: "text", nullable: false),
                    next = table.Column<int>(type: "integer", nullable: false, defaultValue: 0),
                    erasure = table.Column<Guid>(type: "uuid", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_job_removals", x => new { x.job, x.kind });
                    table.CheckConstraint("ck_job_removals_kind", "kind IN ('inputs', 'outputs', 'logs') AND next >= 0");
                    table.ForeignKey(
                        name: "fk_job_removals_erasures",
                        column: x => x.erasure,
                        principalTable: "erasures",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Restrict);
                    table.ForeignKey(
                        name: "fk_job_removals_jobs",
                        column: x => x.job,
                        principalTable: "jobs",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateIndex(
                name: "ix_jobs_inputs_kept",
                table: "jobs",
                columns: new[] { "tenant", "class", "finished_at" },
                filter: "finished_at IS NOT NULL AND inputs_removed_at IS NULL");

            migrationBuilder.CreateIndex(
                name: "ix_jobs_logs_kept",
                table: "jobs",
                columns: new[] { "tenant", "class", "finished_at" },
                filter: "finished_at IS NOT NULL AND logs_removed_at IS NULL");

            migrationBuilder.CreateIndex(
                name: "ix_jobs_outputs_kept",
                table: "jobs",
                columns: new[] { "tenant", "class", "finished_at" },
                filter: "finished_at IS NOT NULL AND outputs_removed_at IS NULL");

            migrationBuilder.AddCheckConstraint(
                name: "ck_jobs_removed",
                table: "jobs",
                sql: "num_nonnulls(inputs_removed_at, outputs_removed_at, logs_removed_at) = 0 OR finished_at IS NOT NULL");

            migrationBuilder.AddCheckConstraint(
                name: "ck_chunks_payload",
                table: "chunks",
                sql: "root IS NULL AND (payload IS NOT NULL OR remaining = 0) OR root IS NOT NULL AND payload IS NULL");

            migrationBuilder.AddCheckConstraint(
                name: "ck_chunks_turn",
                table: "chunks",
                sql: "turn >= 1 AND (turn = 1) = (root IS NULL) AND (root IS NULL) = (own IS NULL) AND (root IS NULL) = (model IS NULL)");

            migrationBuilder.CreateIndex(
                name: "ux_erasures_open",
                table: "erasures",
                columns: new[] { "tenant", "job" },
                unique: true,
                filter: "finished_at IS NULL")
                .Annotation("Npgsql:NullsDistinct", false);

            migrationBuilder.CreateIndex(
                name: "ix_job_removals_erasure",
                table: "job_removals",
                column: "erasure",
                filter: "erasure IS NOT NULL");

            migrationBuilder.CreateIndex(
                name: "ix_recurring_runs_name",
                table: "recurring_runs",
                columns: new[] { "name", "id" },
                descending: new[] { false, true });

            // Of Quartz 4.7.3, as its own script has them; in a schema of their own, which nobody else writes to.
            migrationBuilder.Sql(
                """
                CREATE SCHEMA quartz;
                CREATE TABLE quartz.qrtz_job_details (
                  sched_name text not null,
                  job_name text not null,
                  job_group text not null,
                  description text null,
                  job_class_name text not null,
                  is_durable bool not null,
                  is_nonconcurrent bool not null,
                  is_update_data bool not null,
                  requests_recovery bool not null,
                  job_data bytea null,
                  primary key (sched_name,job_name,job_group)
                );
                CREATE TABLE quartz.qrtz_triggers (
                  sched_name text not null,
                  trigger_name text not null,
                  trigger_group text not null,
                  job_name text not null,
                  job_group text not null,
                  description text null,
                  next_fire_time bigint null,
                  prev_fire_time bigint null,
                  priority integer null,
                  trigger_state text not null,
                  trigger_type text not null,
                  start_time bigint not null,
                  end_time bigint null,
                  calendar_name text null,
                  misfire_instr smallint null,
                  misfire_orig_fire_time bigint null,
                  execution_group varchar(200) null,
                  preferred_node varchar(200) null,
                  preferred_node_auto bool not null default false,
                  retry_policy varchar(250) null,
                  retry_attempt integer null,
                  continues_trigger_name text null,
                  continues_trigger_group text null,
                  continuation_condition integer null,
                  overlap_policy integer null,
                  pause_reason varchar(250) null,
                  paused_by varchar(200) null,
                  paused_at bigint null,
                  misfire_threshold bigint null,
                  fixed_delay bool null,
                  job_data bytea null,
                  primary key (sched_name,trigger_name,trigger_group),
                  foreign key (sched_name,job_name,job_group) references quartz.qrtz_job_details (sched_name,job_name,job_group)
                );
                CREATE TABLE quartz.qrtz_simple_triggers (
                  sched_name text not null,
                  trigger_name text not null,
                  trigger_group text not null,
                  repeat_count bigint not null,
                  repeat_interval bigint not null,
                  times_triggered bigint not null,
                  primary key (sched_name,trigger_name,trigger_group),
                  foreign key (sched_name,trigger_name,trigger_group) references quartz.qrtz_triggers (sched_name,trigger_name,trigger_group) on delete cascade
                );
                CREATE TABLE quartz.qrtz_cron_triggers (
                  sched_name text not null,
                  trigger_name text not null,
                  trigger_group text not null,
                  cron_expression text not null,
                  time_zone_id text,
                  primary key (sched_name,trigger_name,trigger_group),
                  foreign key (sched_name,trigger_name,trigger_group) references quartz.qrtz_triggers (sched_name,trigger_name,trigger_group) on delete cascade
                );
                CREATE TABLE quartz.qrtz_simprop_triggers (
                  sched_name text not null,
                  trigger_name text not null,
                  trigger_group text not null,
                  str_prop_1 text null,
                  str_prop_2 text null,
                  str_prop_3 text null,
                  int_prop_1 integer null,
                  int_prop_2 integer null,
                  long_prop_1 bigint null,
                  long_prop_2 bigint null,
                  dec_prop_1 numeric null,
                  dec_prop_2 numeric null,
                  bool_prop_1 bool null,
                  bool_prop_2 bool null,
                  time_zone_id text null,
                  primary key (sched_name,trigger_name,trigger_group),
                  foreign key (sched_name,trigger_name,trigger_group) references quartz.qrtz_triggers (sched_name,trigger_name,trigger_group) on delete cascade
                );
                CREATE TABLE quartz.qrtz_blob_triggers (
                  sched_name text not null,
                  trigger_name text not null,
                  trigger_group text not null,
                  blob_data bytea null,
                  primary key (sched_name,trigger_name,trigger_group),
                  foreign key (sched_name,trigger_name,trigger_group) references quartz.qrtz_triggers (sched_name,trigger_name,trigger_group) on delete cascade
                );
                CREATE TABLE quartz.qrtz_calendars (
                  sched_name text not null,
                  calendar_name text not null,
                  calendar bytea not null,
                  primary key (sched_name,calendar_name)
                );
                CREATE TABLE quartz.qrtz_paused_trigger_grps (
                  sched_name text not null,
                  trigger_group text not null,
                  pause_reason varchar(250) null,
                  paused_by varchar(200) null,
                  paused_at bigint null,
                  primary key (sched_name,trigger_group)
                );
                CREATE TABLE quartz.qrtz_paused_job_grps (
                  sched_name text not null,
                  job_group text not null,
                  pause_reason varchar(250) null,
                  paused_by varchar(200) null,
                  paused_at bigint null,
                  primary key (sched_name,job_group)
                );
                CREATE TABLE quartz.qrtz_fired_triggers (
                  sched_name text not null,
                  entry_id text not null,
                  trigger_name text not null,
                  trigger_group text not null,
                  instance_name text not null,
                  fired_time bigint not null,
                  sched_time bigint not null,
                  priority integer not null,
                  state text not null,
                  job_name text null,
                  job_group text null,
                  is_nonconcurrent bool not null,
                  requests_recovery bool null,
                  execution_group varchar(200) null,
                  progress integer null,
                  progress_message varchar(250) null,
                  interrupt_requested_time bigint null,
                  primary key (sched_name,entry_id)
                );
                CREATE TABLE quartz.qrtz_scheduler_state (
                  sched_name text not null,
                  instance_name text not null,
                  last_checkin_time bigint not null,
                  checkin_interval bigint not null,
                  quartz_version varchar(20) null,
                  primary key (sched_name,instance_name)
                );
                CREATE TABLE quartz.qrtz_locks (
                  sched_name text not null,
                  lock_name text not null,
                  primary key (sched_name,lock_name)
                );
                CREATE TABLE quartz.qrtz_execution_history (
                  sched_name text not null,
                  entry_id text not null,
                  instance_name text not null,
                  job_name text not null,
                  job_group text not null,
                  trigger_name text not null,
                  trigger_group text not null,
                  fired_time bigint not null,
                  run_time bigint not null,
                  succeeded bool not null,
                  error_message text null,
                  retry_attempt integer not null default 0,
                  retry_scheduled bool not null default false,
                  execution_log text null,
                  result integer null,
                  summary text null,
                  metrics text null,
                  manual bool null,
                  fire_instance_id text null,
                  job_input text null,
                  job_input_too_large bool null,
                  primary key (sched_name,entry_id)
                );
                CREATE TABLE quartz.qrtz_misfire_history (
                  sched_name text not null,
                  entry_id text not null,
                  instance_name text not null,
                  trigger_name text not null,
                  trigger_group text not null,
                  job_name text null,
                  job_group text null,
                  misfire_time bigint not null,
                  sched_time bigint null,
                  reason integer null,
                  primary key (sched_name,entry_id)
                );
                CREATE TABLE quartz.qrtz_job_status (
                  sched_name text not null,
                  job_group text not null,
                  job_name text not null,
                  first_fired_time bigint not null,
                  last_fired_time bigint not null,
                  last_result integer not null,
                  last_run_time bigint not null,
                  last_instance_name text not null,
                  last_entry_id text null,
                  last_summary text null,
                  last_success_time bigint null,
                  last_failure_time bigint null,
                  last_failure_message text null,
                  consecutive_failures integer not null default 0,
                  run_count bigint not null default 0,
                  failure_count bigint not null default 0,
                  primary key (sched_name,job_group,job_name)
                );
                CREATE INDEX idx_qrtz_j_g_n ON quartz.qrtz_job_details (sched_name, job_group, job_name);
                CREATE INDEX idx_qrtz_t_j ON quartz.qrtz_triggers (sched_name, job_name, job_group);
                CREATE INDEX idx_qrtz_t_g_n ON quartz.qrtz_triggers (sched_name, trigger_group, trigger_name);
                CREATE INDEX idx_qrtz_t_c ON quartz.qrtz_triggers (sched_name, calendar_name);
                CREATE INDEX idx_qrtz_t_nft_st ON quartz.qrtz_triggers (sched_name, trigger_state, next_fire_time asc, priority desc, misfire_instr);
                CREATE INDEX idx_qrtz_ft_inst_job_req_rcvry ON quartz.qrtz_fired_triggers (sched_name, instance_name, requests_recovery);
                CREATE INDEX idx_qrtz_ft_j_g ON quartz.qrtz_fired_triggers (sched_name, job_name, job_group);
                CREATE INDEX idx_qrtz_ft_t_g ON quartz.qrtz_fired_triggers (sched_name, trigger_name, trigger_group);
                CREATE INDEX idx_qrtz_eh_fired_time ON quartz.qrtz_execution_history (sched_name, fired_time);
                CREATE INDEX idx_qrtz_eh_inst ON quartz.qrtz_execution_history (sched_name, instance_name);
                CREATE INDEX idx_qrtz_mh_misfire_time ON quartz.qrtz_misfire_history (sched_name, misfire_time);
                CREATE INDEX idx_qrtz_mh_inst ON quartz.qrtz_misfire_history (sched_name, instance_name);
                CREATE INDEX idx_qrtz_eh_job_time ON quartz.qrtz_execution_history (sched_name, job_group, job_name, fired_time);
                CREATE INDEX idx_qrtz_eh_fire_inst ON quartz.qrtz_execution_history (sched_name, fire_instance_id);
                CREATE INDEX idx_qrtz_eh_trig_time ON quartz.qrtz_execution_history (sched_name, trigger_group, trigger_name, fired_time);
                """);
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.Sql("DROP SCHEMA quartz CASCADE;");

            migrationBuilder.DropTable(
                name: "job_removals");

            migrationBuilder.DropTable(
                name: "recurring_runs");

            migrationBuilder.DropTable(
                name: "retention_ages");

            migrationBuilder.DropTable(
                name: "erasures");

            migrationBuilder.DropIndex(
                name: "ix_jobs_inputs_kept",
                table: "jobs");

            migrationBuilder.DropIndex(
                name: "ix_jobs_logs_kept",
                table: "jobs");

            migrationBuilder.DropIndex(
                name: "ix_jobs_outputs_kept",
                table: "jobs");

            migrationBuilder.DropCheckConstraint(
                name: "ck_jobs_removed",
                table: "jobs");

            migrationBuilder.DropCheckConstraint(
                name: "ck_chunks_payload",
                table: "chunks");

            migrationBuilder.DropCheckConstraint(
                name: "ck_chunks_turn",
                table: "chunks");

            migrationBuilder.DropColumn(
                name: "inputs_removed_at",
                table: "jobs");

            migrationBuilder.DropColumn(
                name: "logs_removed_at",
                table: "jobs");

            migrationBuilder.DropColumn(
                name: "outputs_removed_at",
                table: "jobs");

            migrationBuilder.AddCheckConstraint(
                name: "ck_chunks_turn",
                table: "chunks",
                sql: "turn >= 1 AND (turn = 1) = (root IS NULL) AND (root IS NULL) = (own IS NULL) AND (root IS NULL) = (model IS NULL) AND (root IS NULL) = (payload IS NOT NULL)");
        }
    }
}
