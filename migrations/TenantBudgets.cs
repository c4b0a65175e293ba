using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>What a tenant may be charged in a calendar month (UTC), in pico-USD. A tenant without a row has no limit.</summary>
public sealed class TenantBudgetRow
{
    public required TenantId Tenant { get; set; }
    public required long LimitPico { get; set; }

    /// <summary>Percentages of the limit; crossing one writes a <c>budget.warning</c> event, once a month each.</summary>
    public required int[] WarnPercents { get; set; }
}

/// <summary>
/// What is charged or promised of a month to a tenant with a budget. A job counts from its acceptance on, with its predicted price, in the
/// month of its acceptance; when it has ended, with what it came to.
/// </summary>
public sealed class TenantMonthRow
{
    public required TenantId Tenant { get; set; }

    /// <summary>Its first day.</summary>
    public required DateOnly Month { get; set; }
    public required decimal SpentPico { get; set; }

    /// <summary>The highest threshold that was warned of; 0 for none.</summary>
    public required int WarnedPercent { get; set; }
}

internal sealed class TenantBudgetsTable : IEntityTypeConfiguration<TenantBudgetRow>
{
    public void Configure(EntityTypeBuilder<TenantBudgetRow> builder)
    {
        builder.ToTable(
            "tenant_budgets",
            t =>
            {
                t.HasCheckConstraint("ck_tenant_budgets_limit", "limit_pico >= 0");
                t.HasCheckConstraint("ck_tenant_budgets_warn", "1 <= ALL (warn_percents) AND 100 >= ALL (warn_percents)");
            }
        );
        builder.HasKey(b => b.Tenant);
        builder.HasOne<TenantRow>().WithMany().HasForeignKey(b => b.Tenant).OnDelete(DeleteBehavior.Cascade);
    }
}

internal sealed class TenantMonthsTable : IEntityTypeConfiguration<TenantMonthRow>
{
    public void Configure(EntityTypeBuilder<TenantMonthRow> builder)
    {
        builder.ToTable("tenant_months", t => t.HasCheckConstraint("ck_tenant_months_month", "extract(day FROM month) = 1"));
        builder.HasKey(m => new { m.Tenant, m.Month });
        builder.HasOne<TenantRow>().WithMany().HasForeignKey(m => m.Tenant).OnDelete(DeleteBehavior.Cascade);
        builder.Property(m => m.SpentPico).HasColumnType("numeric");
    }
}

/// <summary>Sets tenants' budgets. Jobs draw on them as they are stored, by the database's function <c>reserve_budget</c>.</summary>
public static class TenantBudgets
{
    /// <summary>What <c>reserve_budget</c> raises when the limit would be passed; nothing of the transaction stands then.</summary>
    public const string ExceededSqlState = "PB402";

    /// <summary>A tenant's budget; null where it has none, or there is no such tenant.</summary>
    public static async Task<(long LimitPico, int[] WarnPercents)?> FindAsync(
        NpgsqlDataSource database,
        string tenant,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand(
            "SELECT b.limit_pico, b.warn_percents FROM tenant_budgets b JOIN tenants t ON t.id = b.tenant WHERE t.name = $1"
        );
        command.Parameters.Add(new() { Value = tenant });
        await using var reader = await command.ExecuteReaderAsync(stop);
        return await reader.ReadAsync(stop) ? (reader.GetInt64(0), reader.GetFieldValue<int[]>(1)) : null;
    }

    /// <summary>
    /// Sets a tenant's budget from now on. What its jobs of this month were promised for is counted when the month has no sum yet. False when
    /// there is no such tenant.
    /// </summary>
    public static async Task<bool> SetAsync(
        NpgsqlDataSource database,
        string tenant,
        long limitPico,
        IReadOnlyList<int> warnPercents,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand(
            """
            WITH budget AS (
              INSERT INTO tenant_budgets (tenant, limit_pico, warn_percents) SELECT id, $2, $3 FROM tenants WHERE name = $1
              ON CONFLICT (tenant) DO UPDATE SET limit_pico = excluded.limit_pico, warn_percents = excluded.warn_percents
              RETURNING tenant
            ), month AS (
              INSERT INTO tenant_months (tenant, month, spent_pico, warned_percent)
              SELECT b.tenant, date_trunc('month', now() AT TIME ZONE 'UTC')::date,
                     coalesce((SELECT sum(j.estimate_pico) FROM jobs j
                               WHERE j.tenant = b.tenant AND j.queued_at >= date_trunc('month', now(), 'UTC')), 0), 0
              FROM budget b
              ON CONFLICT DO NOTHING
            )
            SELECT count(*)::int FROM budget
            """
        );
        command.Parameters.Add(new() { Value = tenant });
        command.Parameters.Add(new() { Value = limitPico });
        command.Parameters.Add(new() { Value = warnPercents.ToArray(), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Integer });
        return await command.ExecuteScalarAsync(stop) is > 0;
    }
}
