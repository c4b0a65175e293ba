using System.Text.Json;
using Npgsql;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Recurring.Works;

/// <summary>Removes what reports are made of, and reports, once they are old; each kind by its own age, and in steps that commit by themselves.</summary>
internal sealed class SlaRetention(NpgsqlDataSource database, RetentionOptions ages, RecurringOptions options, TimeProvider time)
    : IRecurringWork
{
    public string Name => "sla-retention";
    public string Purpose => "Removes old sums by the minute, hour and day, answers at the door, callbacks, breaches, and kept reports.";
    public Schedule Schedule { get; } = Schedule.Cron("0 37 * * * ?");

    public async Task<IReadOnlyDictionary<string, long>> RunAsync(CancellationToken stop)
    {
        var now = time.GetUtcNow();
        var counts = new Dictionary<string, long>();
        foreach (var kind in Enum.GetValues<SlaKept>())
        {
            var removed = 0L;
            while (await SlaRemovals.StepAsync(database, kind, now - ages.Of(kind), options.StepRowsMax, stop) is > 0 and var rows)
            {
                removed += rows;
            }

            counts[JsonNamingPolicy.SnakeCaseLower.ConvertName(kind.ToString())] = removed;
        }

        return counts;
    }
}
