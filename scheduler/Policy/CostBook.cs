using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>The cost models by pool and model, with the limits each model was registered with.</summary>
internal sealed class CostBook
{
    private readonly Dictionary<(string Pool, ModelRef Model), CostModel> _models = [];
    private readonly Dictionary<ModelRef, (ModelProfile? Profile, LimitSpec Limits)> _known = [];
    private readonly Dictionary<ModelRef, CostModel> _latest = [];
    private readonly Dictionary<string, string> _providers = [];
    private static readonly LimitSpec LimitsUnknown = new();

    /// <summary>Models that are registered or were run, in order of name and version.</summary>
    public IEnumerable<ModelRef> Models =>
        _known.Keys.Union(_latest.Keys).OrderBy(m => m.Name, StringComparer.Ordinal).ThenBy(m => m.Version, StringComparer.Ordinal);

    public void Register(ModelRef model, ModelProfile? profile, LimitSpec limits) => _known[model] = (profile, limits);

    /// <summary>A pool's workers run on this provider: a profile measured on another tells little of its best batch size.</summary>
    public void SeePool(string pool, string provider) => _providers[pool] = provider;

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

/// <summary>Device time of much work in full batches: α is spread over the rows and padded units a batch can hold.</summary>
/// <param name="Cost">The fit.</param>
/// <param name="PaddedUnitsMax">Padded units of a full batch.</param>
/// <param name="RowsMax">Rows of a full batch.</param>
internal readonly record struct Pace(CostModel Cost, long PaddedUnitsMax, int RowsMax)
{
    /// <summary>Units, as estimated at the door, of a full batch.</summary>
    public long UnitsPerBatch => Math.Max(1, (long)(PaddedUnitsMax / Cost.PaddingRatio));

    /// <summary>Device time of these tasks beside others of their kind; linear, so times add up.</summary>
    public double Ns(double units, double tasks)
    {
        var padded = units * Cost.PaddingRatio;
        return (Cost.BetaNs * padded) + (Cost.AlphaNs * Math.Max(padded / PaddedUnitsMax, tasks / RowsMax));
    }
}
