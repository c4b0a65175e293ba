using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>The cost models by pool and model, with the limits each model was registered with.</summary>
internal sealed class CostBook
{
    private readonly Dictionary<(string Pool, ModelRef Model), CostModel> _models = [];
    private readonly Dictionary<ModelRef, (ModelProfile? Profile, LimitSpec Limits)> _known = [];
    private readonly Dictionary<ModelRef, CostModel> _latest = [];
    private readonly Dictionary<string, string> _providers = [];
    private readonly Dictionary<string, WriteModel> _writes = [];
    private static readonly LimitSpec LimitsUnknown = new();

    /// <summary>Models that are registered or were run, in order of name and version.</summary>
    public IEnumerable<ModelRef> Models =>
        _known.Keys.Union(_latest.Keys).OrderBy(m => m.Name, StringComparer.Ordinal).ThenBy(m => m.Version, StringComparer.Ordinal);

    public void Register(ModelRef model, ModelProfile? profile, LimitSpec limits) => _known[model] = (profile, limits);

    /// <summary>A pool's workers run on this provider: a profile measured on another tells little of its best batch size.</summary>
    public void SeePool(string pool, string provider) => _providers[pool] = provider;

    /// <summary>What a pool's dispatches take beside their device time.</summary>
    public WriteModel WritesOf(string pool)
    {
        if (!_writes.TryGetValue(pool, out var writes))
        {
            _writes[pool] = writes = new WriteModel();
        }

        return writes;
    }

    /// <summary>The model's cost on a pool; the first question for a pair starts from the profile.</summary>
    public CostModel Of(string pool, ModelRef model)
    {
        if (!_models.TryGetValue((pool, model), out var cost))
        {
            var profile = _known.GetValueOrDefault(model).Profile;
            cost = new CostModel(profile, onItsDevice: profile is not null && _providers.GetValueOrDefault(pool) == profile.Provider);
            _models[(pool, model)] = cost;
            _latest[model] = cost;
        }

        return cost;
    }

    /// <summary>The model's cost where the pool is not chosen yet: on the pool that learned last.</summary>
    public CostModel Reference(ModelRef model)
    {
        if (!_latest.TryGetValue(model, out var cost))
        {
            cost = new CostModel(_known.GetValueOrDefault(model).Profile);
            _latest[model] = cost;
        }

        return cost;
    }

    public void Observe(string pool, ModelRef model, IReadOnlyList<BatchFact> batches)
    {
        var cost = Of(pool, model);
        foreach (var batch in batches)
        {
            cost.Observe(batch);
        }

        _latest[model] = cost;
    }

    public LimitSpec Limits(ModelRef model) => _known.TryGetValue(model, out var known) ? known.Limits : LimitsUnknown;

    /// <summary>How a model's work is measured on a pool when it is cut into batches of bounded device time.</summary>
    public Pace Pace(CostModel cost, ModelRef model, TimeSpan batchTimeMax)
    {
        var limits = Limits(model);
        var efficient = Math.Min(cost.PaddedUnitsWithin(batchTimeMax), cost.PaddedUnitsEfficient);
        return new Pace(cost, Math.Min(efficient, Math.Max(1, limits.PaddedUnitsMax)), Math.Max(1, limits.BatchRowsMax));
    }
}

/// <summary>
/// Device time of much work in full batches: what a full batch takes beyond β a unit is spread over the rows and padded units it can
/// hold. Where the cost is a curve, the line meant is the one with the fit's β through its full batch.
/// </summary>
internal readonly record struct Pace
{
    /// <param name="cost">What batches take.</param>
    /// <param name="paddedUnitsMax">Padded units of a full batch.</param>
    /// <param name="rowsMax">Rows of a full batch.</param>
    public Pace(CostModel cost, long paddedUnitsMax, int rowsMax)
    {
        (Cost, PaddedUnitsMax, RowsMax) = (cost, paddedUnitsMax, rowsMax);
        var full = cost.BatchNs(paddedUnitsMax);
        BetaNs = Math.Min(cost.BetaNs, full / paddedUnitsMax);
        AlphaNs = full - (BetaNs * paddedUnitsMax);
    }

    public CostModel Cost { get; }
    public long PaddedUnitsMax { get; }
    public int RowsMax { get; }

    /// <summary>Fixed device time of a full batch.</summary>
    public double AlphaNs { get; }

    /// <summary>Device time of a padded unit in a full batch.</summary>
    public double BetaNs { get; }

    /// <summary>Units, as estimated at the door, of a full batch.</summary>
    public long UnitsPerBatch => Math.Max(1, (long)(PaddedUnitsMax / Cost.PaddingRatio));

    /// <summary>Device time of these tasks and no others, in as few batches as they fit.</summary>
    public double BatchNs(double units, double tasks)
    {
        var padded = units * Cost.PaddingRatio;
        var batches = Math.Max(1, Math.Ceiling(Math.Max(padded / PaddedUnitsMax, tasks / RowsMax)));
        return batches * Cost.BatchNs(padded / batches);
    }

    /// <summary>Device time of these tasks beside others of their kind; linear, so times add up.</summary>
    public double Ns(double units, double tasks)
    {
        var padded = units * Cost.PaddingRatio;
        return (BetaNs * padded) + (AlphaNs * Math.Max(padded / PaddedUnitsMax, tasks / RowsMax));
    }

    /// <summary>Device time of these tasks alone: full batches, and one of what is left over.</summary>
    public double AloneNs(double units, double tasks)
    {
        var padded = units * Cost.PaddingRatio;
        var batches = Math.Max(padded / PaddedUnitsMax, tasks / RowsMax);
        var full = Math.Floor(batches);
        if (full == 0)
        {
            return Cost.BatchNs(padded);
        }

        var rest = padded * (1 - (full / batches));
        return (full * Cost.BatchNs(padded / batches)) + (batches > full ? Cost.BatchNs(rest) : 0);
    }
}
