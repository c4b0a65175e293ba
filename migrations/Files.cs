using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>A file of the API. Its bytes are in <see cref="FilePartRow"/>, so that every instance can serve every file.</summary>
public sealed class FileRow
{
    public required FileId Id { get; set; }
    public required TenantId Tenant { get; set; }

    /// <summary>What it is for, in OpenAI's words: <c>batch</c>, <c>batch_output</c>, <c>user_data</c>, …</summary>
    public required string Purpose { get; set; }

    /// <summary>As the client called it.</summary>
    public required string Filename { get; set; }

    /// <summary>Null while its parts come in; until then nobody sees it.</summary>
    public long? Bytes { get; set; }

    /// <summary>Bytes of every part but the last.</summary>
    public required int PartBytes { get; set; }

    /// <summary>SHA-256 of the whole, the file's ETag.</summary>
    public byte[]? Sha256 { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }

    /// <summary>When it is removed; null keeps it.</summary>
    public DateTimeOffset? ExpiresAt { get; set; }
}

/// <summary>A run of a file's bytes.</summary>
public sealed class FilePartRow
{
    public required FileId File { get; set; }

    /// <summary>From 0; with <see cref="FileRow.PartBytes"/> it says where the part lies.</summary>
    public required int No { get; set; }
    public required byte[] Data { get; set; }
}

internal sealed class FilesTable : IEntityTypeConfiguration<FileRow>
{
    public void Configure(EntityTypeBuilder<FileRow> builder)
    {
        builder.ToTable(
            "files",
            t =>
            {
                t.HasCheckConstraint("ck_files_bytes", "bytes >= 0 AND part_bytes > 0");
                t.HasCheckConstraint("ck_files_sha256", "(bytes IS NULL) = (sha256 IS NULL)");
                t.HasCheckConstraint("ck_files_names", "purpose <> '' AND filename <> ''");
            }
        );
        builder.HasKey(f => f.Id);
        builder.HasOne<TenantRow>().WithMany().HasForeignKey(f => f.Tenant).OnDelete(DeleteBehavior.Restrict);
        builder.HasIndex(f => new { f.Tenant, f.Id }, "ix_files_tenant").IsDescending(false, true);

        // What the sweep removes: files past their time, and uploads that broke off.
        builder.HasIndex(f => f.ExpiresAt, "ix_files_expires_at").HasFilter("expires_at IS NOT NULL");
        builder.HasIndex(f => f.CreatedAt, "ix_files_incomplete").HasFilter("bytes IS NULL");
    }
}

internal sealed class FilePartsTable : IEntityTypeConfiguration<FilePartRow>
{
    public void Configure(EntityTypeBuilder<FilePartRow> builder)
    {
        builder.ToTable("file_parts", t => t.HasCheckConstraint("ck_file_parts_no", "no >= 0 AND octet_length(data) > 0"));
        builder.HasKey(p => new { p.File, p.No });
        builder.HasOne<FileRow>().WithMany().HasForeignKey(p => p.File).OnDelete(DeleteBehavior.Cascade);
    }
}
