using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace Pipeline.Migrations;

/// <summary>A key of ASP.NET Core's Data Protection: what one instance of results-api signs, every other can check.</summary>
public sealed class DataProtectionKeyRow
{
    /// <summary>As the key ring names it.</summary>
    public required string Name { get; set; }
    public required string Xml { get; set; }
}

internal sealed class DataProtectionKeysTable : IEntityTypeConfiguration<DataProtectionKeyRow>
{
    public void Configure(EntityTypeBuilder<DataProtectionKeyRow> builder)
    {
        builder.ToTable("data_protection_keys");
        builder.HasKey(k => k.Name);
    }
}
