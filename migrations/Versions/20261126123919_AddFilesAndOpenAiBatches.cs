using System;
using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Pipeline.Migrations.Versions
{
    /// <inheritdoc />
    public partial class AddFilesAndOpenAiBatches : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.CreateTable(
                name: "files",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "uuid", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    purpose = table.Column<string>(type: "text", nullable: false),
                    filename = table.Column<string>(type: "text", nullable: false),
                    bytes = table.Column<long>(type: "bigint", nullable: true),
                    part_bytes = table.Column<int>(type: "integer", nullable: false),
                    sha256 = table.Column<byte[]>(type: "bytea", nullable: true),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    expires_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_files", x => x.id);
                    table.CheckConstraint("ck_files_bytes", "bytes >= 0 AND part_bytes > 0");
                    table.CheckConstraint("ck_files_names", "purpose <> '' AND filename <> ''");
                    table.CheckConstraint("ck_files_sha256", "(bytes IS NULL) = (sha256 IS NULL)");
                    table.ForeignKey(
                        name: "fk_files_tenants",
                        column: x => x.tenant,
                        principalTable: "tenants",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Restrict);
                });

            migrationBuilder.CreateTable(
                name: "openai_batches",
                columns: table => new
                {
                    job = table.Column<Guid>(type: "uuid", nullable: false),
                    tenant = table.Column<Guid>(type: "uuid", nullable: false),
                    endpoint = table.Column<string>(type: "text", nullable: false),
                    input_file = table.Column<Guid>(type: "uuid", nullable: false),
                    completion_window = table.Column<string>(type: "text", nullable: false),
                    expires_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    @class = table.Column<string>(name: "class", type: "text", nullable: false),
                    metadata = table.Column<string>(type: "jsonb", nullable: false, defaultValueSql: "'{}'"),
                    output_seconds = table.Column<int>(type: "integer", nullable: false),
                    created_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    model = table.Column<string>(type: "text", nullable: true),
                    lines = table.Column<int>(type: "integer", nullable: true),
                    cancelling_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    errors = table.Column<string>(type: "jsonb", nullable: true),
                    finished_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    finalizing_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    lines_completed = table.Column<int>(type: "integer", nullable: true),
                    lines_failed = table.Column<int>(type: "integer", nullable: true),
                    output_file = table.Column<Guid>(type: "uuid", nullable: true),
                    error_file = table.Column<Guid>(type: "uuid", nullable: true),
                    input_tokens = table.Column<long>(type: "bigint", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_openai_batches", x => x.job);
                    table.CheckConstraint("ck_openai_batches_class", "class IN ('express', 'standard', 'bulk')");
                    table.CheckConstraint("ck_openai_batches_endpoint", "endpoint LIKE '/%' AND completion_window <> ''");
                    table.CheckConstraint("ck_openai_batches_errors", "errors IS NULL OR finished_at IS NOT NULL");
                    table.CheckConstraint("ck_openai_batches_files", "num_nonnulls(output_file, error_file, lines_completed, lines_failed, input_tokens) = 0 OR finished_at IS NOT NULL");
                    table.CheckConstraint("ck_openai_batches_lines", "lines >= 0 AND lines_completed + lines_failed <= lines");
                    table.ForeignKey(
                        name: "fk_openai_batches_tenants",
                        column: x => x.tenant,
                        principalTable: "tenants",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Restrict);
                });

            migrationBuilder.CreateTable(
                name: "file_parts",
                columns: table => new
                {
                    file = table.Column<Guid>(type: "uuid", nullable: false),
                    no = table.Column<int>(type: "integer", nullable: false),
                    data = table.Column<byte[]>(type: "bytea", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_file_parts", x => new { x.file, x.no });
                    table.CheckConstraint("ck_file_parts_no", "no >= 0 AND octet_length(data) > 0");
                    table.ForeignKey(
                        name: "fk_file_parts_files",
                        column: x => x.file,
                        principalTable: "files",
                        principalColumn: "id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateIndex(
                name: "ix_files_expires_at",
                table: "files",
                column: "expires_at",
                filter: "expires_at IS NOT NULL");

            migrationBuilder.CreateIndex(
                name: "ix_files_incomplete",
                table: "files",
                column: "created_at",
                filter: "bytes IS NULL");

            migrationBuilder.CreateIndex(
                name: "ix_files_tenant",
                table: "files",
                columns: new[] { "tenant", "id" },
                descending: new[] { false, true });

            migrationBuilder.CreateIndex(
                name: "ix_openai_batches_input",
                table: "openai_batches",
                column: "input_file",
                filter: "finished_at IS NULL");

            migrationBuilder.CreateIndex(
                name: "ix_openai_batches_open",
                table: "openai_batches",
                column: "job",
                filter: "finished_at IS NULL");

            migrationBuilder.CreateIndex(
                name: "ix_openai_batches_tenant",
                table: "openai_batches",
                columns: new[] { "tenant", "job" },
                descending: new[] { false, true });

            // Parts are read by range and written once; most of what comes is text, but packing it here would cost more than it saves.
            migrationBuilder.Sql("ALTER TABLE file_parts ALTER COLUMN data SET STORAGE EXTERNAL;");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "file_parts");

            migrationBuilder.DropTable(
                name: "openai_batches");

            migrationBuilder.DropTable(
                name: "files");
        }
    }
}
