using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Body;
using Pipeline.Migrations;

namespace Pipeline.Ingest;

/// <summary>
/// What work is charged, by the price list; where that has nothing to say, by <see cref="IngestOptions.PricePerMillionUnitsUsd"/> and the
/// class's factor. The list is read every few seconds; a price is set a minute before it holds, so none is ever missed.
/// </summary>
internal sealed class PriceList(NpgsqlDataSource database, IngestOptions options, TimeProvider time) : IDisposable
{
    private readonly Recent<IReadOnlyList<PriceRow>> _rows = new(
        async stop => await Prices.ReadAllAsync(database, stop),
        time,
        TimeSpan.FromSeconds(10)
    );

    /// <summary>Fixes what the order pays, at the list of this moment, or refuses it where that is more than its budget.</summary>
    public async ValueTask<(JobOrder Order, ProblemResult? Refused)> PriceAsync(
        JobOrder order,
        long units,
        DateTimeOffset now,
        CancellationToken stop
    )
    {
        var perMillion = PerMillion(await _rows.GetAsync(stop), order.Class, order.Model.Name, now);
        var priced = order with { PerMillionUnitsPico = perMillion, EstimatePico = Cost.PriceOf(units, perMillion) };
        return priced.EstimatePico > order.MaxCostPico ? (priced, Refuse(priced)) : (priced, null);
    }

    public void Dispose() => _rows.Dispose();

    /// <summary>A row for the model goes before one for any; of several the last that holds.</summary>
    internal long PerMillion(IReadOnlyList<PriceRow> rows, LatencyClass latencyClass, string model, DateTimeOffset now) =>
        rows.Where(p => p.Class == latencyClass && (p.Model is null || p.Model == model) && p.ValidFrom <= now)
            .OrderBy(p => p.Model is not null)
            .ThenBy(p => p.ValidFrom)
            .LastOrDefault()
            ?.PerMillionUnitsPico
        ?? LatencyClasses.PriceOf(latencyClass, options.PricePerMillionUnitsPico);

    private static ProblemResult Refuse(JobOrder order)
    {
        var (price, budget) = (order.EstimatePico!.Value, order.MaxCostPico!.Value);
        return Problems.Result(
            FailureKind.BudgetExceeded,
            $"The work would be charged {Cost.Format(price)} ({price} pico-USD) in class {order.Class.Name()}, its budget is "
                + $"{Cost.Format(budget)} ({budget} pico-USD). Nothing was stored.",
            JobParameters.MaxCost,
            [
                new Mistake
                {
                    Field = JobParameters.MaxCost,
                    Expected = $"at least {Cost.Format(price)}",
                    Given = Cost.Format(budget),
                },
            ],
            1
        );
    }

    /// <summary>Tells of a month's budget that does not cover a job, as the database refused to store it.</summary>
    public static ProblemResult Refuse(JobOrder order, PostgresException refusal)
    {
        var numbers = refusal.MessageText.Split(' ').Select(n => Cost.Format(Int128.Parse(n, null))).ToArray();
        return Problems.Result(
            FailureKind.TenantBudgetExceeded,
            $"The work would be charged {Cost.Format(order.EstimatePico ?? 0)}; of this month's budget of {numbers[1]}, {numbers[0]} are "
                + "charged or promised. The next month begins at its first day, 00:00 UTC. Nothing was stored."
        );
    }
}
