using Npgsql;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Recurring.Works;

/// <summary>Makes the result partitions of the days ahead, so that a fleet which runs for weeks without a migration keeps having them.</summary>
internal sealed class ResultPartitions(NpgsqlDataSource database, TimeProvider time) : IRecurringWork
{
    public string Name => "result-partitions";
    public string Purpose => $"Makes the partitions of results for the {Partitions.DaysAhead} days ahead.";
    public Schedule Schedule { get; } = Schedule.Cron("0 7 * * * ?");

    public async Task<IReadOnlyDictionary<string, long>> RunAsync(CancellationToken stop)
    {
        var yesterday = DateOnly.FromDateTime(time.GetUtcNow().UtcDateTime).AddDays(-1);
        var made = await Partitions.EnsureAheadAsync(database, yesterday, Partitions.DaysAhead + 2, stop);
        return new Dictionary<string, long> { ["partitions_made"] = made.Count };
    }
}
