using System.Text.Json;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Design;
using Microsoft.EntityFrameworkCore.Metadata;
using Npgsql;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// The schema, as an EF Core model: one file a table holds its row, its constraints and the SQL that matters. EF serves migrations and
/// everyday queries; the hot paths are SQL (<see cref="TaskEnds"/>, <see cref="Ledger"/>, <see cref="Partitions"/>).
/// </summary>
public sealed class PipelineDb(DbContextOptions<PipelineDb> options) : DbContext(options)
{
    public DbSet<TenantRow> Tenants => Set<TenantRow>();
    public DbSet<ApiKeyRow> ApiKeys => Set<ApiKeyRow>();
    public DbSet<ModelRow> Models => Set<ModelRow>();
    public DbSet<RouteRow> Routes => Set<RouteRow>();
    public DbSet<JobRow> Jobs => Set<JobRow>();
    public DbSet<IdempotencyKeyRow> IdempotencyKeys => Set<IdempotencyKeyRow>();
    public DbSet<ChunkRow> Chunks => Set<ChunkRow>();
    public DbSet<ResultRow> Results => Set<ResultRow>();
    public DbSet<TurnRow> Turns => Set<TurnRow>();
    public DbSet<EndingRow> Endings => Set<EndingRow>();
    public DbSet<EventRow> Events => Set<EventRow>();
    public DbSet<BatchRow> Batches => Set<BatchRow>();
    public DbSet<WorkerRow> Workers => Set<WorkerRow>();
    public DbSet<PoolPriceRow> PoolPrices => Set<PoolPriceRow>();
    public DbSet<PriceRow> Prices => Set<PriceRow>();
    public DbSet<TenantBudgetRow> TenantBudgets => Set<TenantBudgetRow>();
    public DbSet<TenantMonthRow> TenantMonths => Set<TenantMonthRow>();
    public DbSet<TenantCacheRow> TenantCaches => Set<TenantCacheRow>();
    public DbSet<CachedResultRow> CachedResults => Set<CachedResultRow>();
    public DbSet<LedgerRow> Ledger => Set<LedgerRow>();
    public DbSet<TaskGroupRow> TaskGroups => Set<TaskGroupRow>();
    public DbSet<GroupRow> Groups => Set<GroupRow>();
    public DbSet<CalibrationDayRow> CalibrationDays => Set<CalibrationDayRow>();
    public DbSet<RollupsRow> Rollups => Set<RollupsRow>();
    public DbSet<UsageDayRow> UsageDays => Set<UsageDayRow>();
    public DbSet<DeviceDayRow> DeviceDays => Set<DeviceDayRow>();
    public DbSet<AllocatedDayRow> AllocatedDays => Set<AllocatedDayRow>();
    public DbSet<SlaMinuteRow> SlaMinutes => Set<SlaMinuteRow>();
    public DbSet<SlaHourRow> SlaHours => Set<SlaHourRow>();
    public DbSet<SlaDayRow> SlaDays => Set<SlaDayRow>();
    public DbSet<SlaBreachRow> SlaBreaches => Set<SlaBreachRow>();
    public DbSet<SlaDoorRow> SlaDoors => Set<SlaDoorRow>();
    public DbSet<SlaCallbackRow> SlaCallbacks => Set<SlaCallbackRow>();
    public DbSet<SlaExclusionRow> SlaExclusions => Set<SlaExclusionRow>();
    public DbSet<ReportRow> Reports => Set<ReportRow>();
    public DbSet<FileRow> Files => Set<FileRow>();
    public DbSet<FilePartRow> FileParts => Set<FilePartRow>();
    public DbSet<OpenAiBatchRow> OpenAiBatches => Set<OpenAiBatchRow>();
    public DbSet<WebhookEndpointRow> WebhookEndpoints => Set<WebhookEndpointRow>();
    public DbSet<WebhookSecretRow> WebhookSecrets => Set<WebhookSecretRow>();
    public DbSet<WebhookDeliveryRow> WebhookDeliveries => Set<WebhookDeliveryRow>();
    public DbSet<WebhookAttemptRow> WebhookAttempts => Set<WebhookAttemptRow>();
    public DbSet<AlertRow> Alerts => Set<AlertRow>();
    public DbSet<AlertSilenceRow> AlertSilences => Set<AlertSilenceRow>();
    public DbSet<AlertRuleRow> AlertRules => Set<AlertRuleRow>();
    public DbSet<ProbeRow> Probes => Set<ProbeRow>();
    public DbSet<ProbeRunRow> ProbeRuns => Set<ProbeRunRow>();
    public DbSet<RecurringRunRow> RecurringRuns => Set<RecurringRunRow>();
    public DbSet<RecurringLoopRow> RecurringLoops => Set<RecurringLoopRow>();
    public DbSet<RetentionAgesRow> RetentionAges => Set<RetentionAgesRow>();
    public DbSet<ErasureRow> Erasures => Set<ErasureRow>();
    public DbSet<JobRemovalRow> JobRemovals => Set<JobRemovalRow>();
    public DbSet<HoldRow> Holds => Set<HoldRow>();
    public DbSet<OperatorRow> Operators => Set<OperatorRow>();
    public DbSet<OperatorSessionRow> OperatorSessions => Set<OperatorSessionRow>();
    public DbSet<OperatorLinkRow> OperatorLinks => Set<OperatorLinkRow>();
    public DbSet<AuditRow> Audit => Set<AuditRow>();
    public DbSet<BulkActionRow> BulkActions => Set<BulkActionRow>();
    public DbSet<DismissedFailureRow> DismissedFailures => Set<DismissedFailureRow>();
    public DbSet<BulkActionItemRow> BulkActionItems => Set<BulkActionItemRow>();
    public DbSet<DataProtectionKeyRow> DataProtectionKeys => Set<DataProtectionKeyRow>();
    public DbSet<SchedulerEpochRow> SchedulerEpochs => Set<SchedulerEpochRow>();

    /// <summary>Options for a context on the process's shared connection pool.</summary>
    public static DbContextOptions<PipelineDb> OptionsFor(NpgsqlDataSource dataSource) =>
        new DbContextOptionsBuilder<PipelineDb>().UseNpgsql(dataSource).Options;

    protected override void ConfigureConventions(ModelConfigurationBuilder configurationBuilder)
    {
        configurationBuilder.Properties<TenantId>().HaveConversion<IdConverter<TenantId>>();
        configurationBuilder.Properties<JobId>().HaveConversion<IdConverter<JobId>>();
        configurationBuilder.Properties<FileId>().HaveConversion<IdConverter<FileId>>();
        configurationBuilder.Properties<BatchId>().HaveConversion<IdConverter<BatchId>>();
        configurationBuilder.Properties<DispatchId>().HaveConversion<IdConverter<DispatchId>>();
        configurationBuilder.Properties<WebhookEndpointId>().HaveConversion<IdConverter<WebhookEndpointId>>();
        configurationBuilder.Properties<WebhookDeliveryId>().HaveConversion<IdConverter<WebhookDeliveryId>>();
        configurationBuilder.Properties<WorkerId>().HaveConversion<IdConverter<WorkerId>>();
        configurationBuilder.Properties<JobState>().HaveConversion<JobStateConverter>();
        configurationBuilder.Properties<TaskOutcome>().HaveConversion<TaskOutcomeConverter>();
        configurationBuilder.Properties<LatencyClass>().HaveConversion<LatencyClassConverter>();
        configurationBuilder.Properties<Lane>().HaveConversion<LaneConverter>();
        configurationBuilder.Properties<ModelKind>().HaveConversion<ModelKindConverter>();
        configurationBuilder.Properties<WorkerState>().HaveConversion<WorkerStateConverter>();
        configurationBuilder.Properties<LedgerAccount>().HaveConversion<LedgerAccountConverter>();
        configurationBuilder.Properties<SplitMethod>().HaveConversion<SplitMethodConverter>();
    }

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        modelBuilder.ApplyConfigurationsFromAssembly(typeof(PipelineDb).Assembly);
        foreach (var entity in modelBuilder.Model.GetEntityTypes())
        {
            NameInSnakeCase(entity);
        }
    }

    /// <summary>Every name in the database follows from the model: <c>FirstSeq</c> is <c>first_seq</c>, keys are <c>pk_jobs</c>.</summary>
    private static void NameInSnakeCase(IMutableEntityType entity)
    {
        var table = entity.GetTableName();
        foreach (var property in entity.GetProperties())
        {
            property.SetColumnName(JsonNamingPolicy.SnakeCaseLower.ConvertName(property.Name));
        }

        entity.FindPrimaryKey()!.SetName($"pk_{table}");
        foreach (var key in entity.GetForeignKeys())
        {
            key.SetConstraintName($"fk_{table}_{key.PrincipalEntityType.GetTableName()}");
        }
    }
}

/// <summary>A context that asks no server: <c>dotnet-ef</c> writes migrations with it, <see cref="Migrator.Script"/> writes them as SQL.</summary>
internal sealed class PipelineDbDesignTimeFactory : IDesignTimeDbContextFactory<PipelineDb>
{
    public PipelineDb CreateDbContext(string[] args) =>
        new(new DbContextOptionsBuilder<PipelineDb>().UseNpgsql("Host=localhost;Database=pipeline").Options);
}
