using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>One account of a pool's books on one UTC day, by the time it was booked, at one price; see <see cref="Rollups"/>.</summary>
public sealed class DeviceDayRow
{
    public required DateOnly Day { get; set; }
    public required string Pool { get; set; }

    /// <summary>What an hour of the device cost, in pico-USD.</summary>
    public required long PricePerHourPico { get; set; }
    public required LedgerAccount Account { get; set; }

    /// <summary>What kind of it, as in <see cref="LedgerRow.Detail"/>; empty where that has none.</summary>
    public required string Detail { get; set; }
    public required long Ns { get; set; }
    public required long Pico { get; set; }
}

internal sealed class DeviceDaysTable : IEntityTypeConfiguration<DeviceDayRow>
{
    public void Configure(EntityTypeBuilder<DeviceDayRow> builder)
    {
        builder.ToTable(
            "device_days",
            t => t.HasCheckConstraint("ck_device_days_account", $"account IN ({Words.SqlList<LedgerAccount>(LedgerAccounts.Name)})")
        );
        builder.HasKey(d => new
        {
            d.Day,
            d.Pool,
            d.PricePerHourPico,
            d.Account,
            d.Detail,
        });
    }
}
