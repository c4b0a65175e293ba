using Pipeline.Contracts;

namespace Pipeline.Ingest;

/// <summary>A job that has completed, beside what was predicted of it when it was accepted.</summary>
/// <param name="TookUs">Microseconds from acceptance to completion.</param>
/// <param name="Early">True when it completed before the band.</param>
/// <param name="Late">True when it completed after the band.</param>
internal readonly record struct EndedJob(
    LatencyClass Class,
    ModelRef Model,
    ForecastTime Forecast,
    double TookUs,
    bool Early,
    bool Late,
    double? ForecastCostPico,
    double? CostPico,
    DateTimeOffset At
);

/// <summary>
/// What became of the last jobs, by class and model, and of these by sort where enough are known: what holds for a job that begins at once
/// does not for one that waits for minutes. Of a class and model of which too little is known, what became of others whose forecast was about as
/// long is the best guess.
/// </summary>
internal sealed class Calibration(int jobsMax)
{
    private const int EverySort = -1;
    private readonly Dictionary<Key, Samples> _samples = [];
    private readonly HashSet<Key> _changed = [];

    /// <summary>Read while the next ones are learned: replaced, never changed.</summary>
    private volatile IReadOnlyDictionary<Key, Corrections> _corrections = new Dictionary<Key, Corrections>();

    /// <summary>What is known of such jobs.</summary>
    public Corrections Of(LatencyClass latencyClass, ModelRef model, ForecastTime forecast)
    {
        var known = _corrections;
        var all = known.GetValueOrDefault(new Key(latencyClass, model, EverySort));
        var own = known.GetValueOrDefault(new Key(latencyClass, model, forecast.Sort));
        return new Corrections(
            own.Time ?? all.Time,
            own.Cost ?? all.Cost,
            all.NewestAt,
            known.GetValueOrDefault(Key.OfLength(forecast)).Time
        );
    }

    public void Observe(in EndedJob ended)
    {
        ReadOnlySpan<Key> kinds =
        [
            new(ended.Class, ended.Model, EverySort),
            new(ended.Class, ended.Model, ended.Forecast.Sort),
            Key.OfLength(ended.Forecast),
        ];
        foreach (var key in kinds)
        {
            if (!_samples.TryGetValue(key, out var samples))
            {
                _samples[key] = samples = new Samples(jobsMax);
            }

            samples.Add(ended);
            _changed.Add(key);
        }
    }

    /// <summary>From here on predictions are made with what was observed.</summary>
    public void Learn()
    {
        if (_changed.Count > 0)
        {
            var before = _corrections;
            _corrections = _samples.ToDictionary(
                known => known.Key,
                known => _changed.Contains(known.Key) ? known.Value.Correct() : before.GetValueOrDefault(known.Key)
            );
            _changed.Clear();
        }
    }

    private readonly record struct Key(LatencyClass? Class, ModelRef Model, int Sort)
    {
        /// <summary>Jobs of all classes and models whose forecast was about that long.</summary>
        public static Key OfLength(ForecastTime forecast) => new(null, default, forecast.Length);
    }

    /// <summary>The last jobs of a kind.</summary>
    private sealed class Samples(int most)
    {
        private readonly Queue<Sample> _times = [];
        private readonly Queue<Sample> _costs = [];
        private Misses _misses = Misses.None;
        private DateTimeOffset _newestAt;

        public void Add(in EndedJob ended)
        {
            Add(_times, new Sample(ended.Forecast.WaitUs ?? 0, ended.Forecast.OwnUs, ended.TookUs));
            _misses = _misses.After(ended.Early, ended.Late);
            _newestAt = ended.At;
            if (ended is { ForecastCostPico: { } forecast, CostPico: { } cost })
            {
                Add(_costs, new Sample(0, forecast, cost));
            }
        }

        public Corrections Correct() =>
            new(Correction.Of(_times, _misses), Correction.Of(_costs, Misses.None, ErrorScale.Larger), _newestAt);

        private void Add(Queue<Sample> samples, Sample sample)
        {
            if (sample.Actual <= 0)
            {
                return;
            }

            samples.Enqueue(sample);
            if (samples.Count > most)
            {
                samples.Dequeue();
            }
        }
    }
}

/// <summary>What forecasts of a kind leave out: of the time, in microseconds, and of the cost, in pico-USD; null where too few have ended.</summary>
/// <param name="NewestAt">When the last of the jobs ended that it was learned from.</param>
/// <param name="OthersTime">The same as <paramref name="Time"/>, of jobs of all classes and models with a forecast about as long.</param>
internal readonly record struct Corrections(
    Correction? Time,
    Correction? Cost,
    DateTimeOffset NewestAt = default,
    Correction? OthersTime = null
);
