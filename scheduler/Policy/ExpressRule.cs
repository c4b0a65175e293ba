using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>What the express rule wants next for one model.</summary>
internal abstract record ExpressStep;

/// <summary>Send the most urgent chunks to this worker.</summary>
/// <param name="FillUnits">Units of standard and bulk work that may travel with them, as estimated at the door; 0 when none may.</param>
internal sealed record ExpressSend(FleetWorker Worker, int Chunks, string Reason, double FillUnits = 0) : ExpressStep;

/// <summary>These jobs will not make their target; they go on as standard work.</summary>
internal sealed record ExpressAside(IReadOnlyList<WaitingJob> Jobs, string Reason) : ExpressStep;

/// <summary>Nothing for now: look again at this time, or when a dispatch ends.</summary>
internal sealed record ExpressWait(long Until) : ExpressStep;

/// <summary>
/// Express goes out at once when a device is free; what waits while all are taken travels merged, as much as the slack of the most urgent
/// allows. When not all can make it, the <see cref="Lookahead"/> says whether a few should step aside so that the rest make it.
/// <para>
/// It defers on purpose only where that spares device time for others: while bulk has the device, a batch may wait for company for
/// <see cref="PolicyOptions.ExpressDeferShare"/> of its target (<see cref="PolicyOptions.ExpressDeferMax"/> at most), and never beyond its latest start (Symphony's window: from
/// due − l(b + 1), when waiting admits no more, to due − l(b)). Express alone is not deferred: it costs latency, and beside the
/// look-ahead it gains nothing (README.md), unless more comes, and goes on coming, than all devices can serve.
/// </para>
/// </summary>
internal sealed class ExpressRule(Backlog backlog, CostBook costs, Fleet fleet, PoolRule pools)
{
    /// <summary>Chunks the look-ahead sees at most; more than any batch of short target holds.</summary>
    private const int ChunksSeenMax = 1024;

    /// <summary>Who sent express work may do so again: bulk batches stay short for this long.</summary>
    private static readonly TimeSpan ExpressExpectedFor = TimeSpan.FromMinutes(10);

    /// <summary>
    /// Arrivals bunch: bulk takes a device only where express could also come as much faster as it does in a busy stretch of a target's
    /// length, which is two deviations more than the mean (<see cref="ArrivalRate.Swing"/>), at least and at most these.
    /// </summary>
    private const double BurstMin = 1.05;
    private const double BurstMax = 1.25;

    /// <summary>How far ahead that is played, in express targets: what a device is taken for has had its effect by then.</summary>
    private const int SparesTargets = 4;

    /// <summary>From this load of express on, the look-ahead is asked before bulk gets a device.</summary>
    private const double BusyShare = 0.6;

    /// <summary>The part of express slack that a bulk batch may take.</summary>
    private const double SlackShare = 0.5;

    /// <summary>A bulk batch of so many times its fixed device time is efficient: four fifths of it are work.</summary>
    private const int AmortisedAlphas = 5;

    /// <summary>The part of a batch that may be counted on to fill in time.</summary>
    private const double FilledShare = 0.95;

    /// <summary>How far from the mean a calm or busy stretch is taken to be, in deviations: one in fifteen lies beyond.</summary>
    private const double Deviations = 1.5;

    /// <summary>How much earlier than the estimated end of a bulk batch express is sent, in such batches: they scatter by some percent.</summary>
    private const double HoldEarly = 0.1;

    private readonly Dictionary<ModelRef, ArrivalRate> _rates = [];

    /// <summary>Models that express work came for, in order of the first.</summary>
    private readonly List<ModelRef> _models = [];
    private readonly ExpressTime _time = new();
    private readonly Dictionary<string, (double Cautious, double AtMost)> _left = [];
    private readonly ShareBudget _relegated = new();
    private Lookahead? _lookahead;

    public PolicyOptions Options { get; set; } = new();

    /// <summary>False while bulk has to wait until the workers know this scheduler.</summary>
    public bool MayFill { get; set; }

    /// <summary>An express chunk came.</summary>
    public void Arrived(ModelRef model, long units, long now)
    {
        if (!_rates.TryGetValue(model, out var rate))
        {
            _rates.Add(model, rate = new ArrivalRate());
            _models.Add(model);
        }

        rate.Observe(now, units, Target);
        _relegated.Earn(1);
    }

    /// <summary>How often express work for this model comes, or null when none came.</summary>
    private ArrivalRate? RateOf(ModelRef model) => _rates.GetValueOrDefault(model);

    /// <summary>The express queue whose most urgent task is due first, or null when none waits.</summary>
    public static ClassQueue? Next(Backlog backlog, IReadOnlySet<ModelRef> passed)
    {
        ClassQueue? best = null;
        var bestDue = long.MaxValue;
        foreach (var queues in backlog.Queues)
        {
            var queue = queues[(int)LatencyClass.Express];
            if (queue.Due < bestDue && !passed.Contains(queue.Model))
            {
                (best, bestDue) = (queue, queue.Due);
            }
        }

        return best;
    }

    /// <summary>What to do for this queue now.</summary>
    public ExpressStep Step(ClassQueue queue, long now)
    {
        if (Choose(queue, now) is not { } choice)
        {
            return new ExpressWait(NextFreeAt(now) - Options.ExpressLead.Ticks);
        }

        if (queue.DueAlone <= queue.DueShared)
        {
            return new ExpressSend(choice.Worker, 1, Reason(queue));
        }

        var head = queue.First(1).First();
        var room = _time.UnitsWithin(queue.DueShared - choice.Start);
        if (room < head.UnitsWaiting)
        {
            return Hopeless(queue, choice.Start);
        }

        var (rowsMax, unitsMax) = Limits(queue.Model, choice.Worker.Pool);
        if (room < queue.Units)
        {
            if (StepAside(queue, choice, rowsMax, unitsMax, now) is { } aside)
            {
                return aside;
            }
        }
        else if (FillUntil(queue, choice.Worker.Pool, now) is var full && full > now)
        {
            return new ExpressWait(full);
        }
        else if (WaitUntil(queue, head, choice, Math.Min(room, unitsMax), rowsMax, now) is { } until && until > now)
        {
            return new ExpressWait(until);
        }

        var most = Math.Min(room, unitsMax);
        var fill = queue.Units <= most && queue.Tasks < rowsMax ? FillUnits(queue, choice.Worker.Pool, most, now) : 0;
        return new ExpressSend(choice.Worker, Fitting(queue, most, rowsMax), Reason(queue), fill);
    }

    /// <summary>
    /// How much standard and bulk work may travel with all that waits of this queue: where bulk alone finds no efficient place (tight), the
    /// fixed time of express batches is what it can share. None of these batches is longer than <see cref="TightTicks"/>.
    /// </summary>
    private double FillUnits(ClassQueue queue, string pool, double unitsMax, long now)
    {
        if (!MayFill || (BulkIsEmpty(LatencyClass.Standard) && BulkIsEmpty(LatencyClass.Bulk)))
        {
            return 0;
        }

        var (batchTime, tight) = BulkBatchTime(pool, queue.Model, now);
        _time.Set(costs.Of(pool, queue.Model), Options);
        return tight ? Math.Max(0, Math.Min(unitsMax, _time.UnitsWithin(batchTime.Ticks)) - queue.Units) : 0;

        bool BulkIsEmpty(LatencyClass latencyClass) => backlog.QueueOf(queue.Model, latencyClass).IsEmpty;
    }

    /// <summary>
    /// Device time of a bulk batch. Where express leaves less than an efficient batch takes, it is tight: batches of both lanes are then
    /// about as long, see <see cref="TightTicks"/>, and bulk goes out alone only where express batches come too seldom to carry it.
    /// </summary>
    public (TimeSpan Time, bool Tight) BulkBatchTime(string pool, ModelRef model, long now) =>
        BulkBatchTime(pool, model, BulkBatchTimeMax(pool, now));

    /// <summary>The same for a pool whose <see cref="BulkBatchTimeMax"/> is known.</summary>
    public (TimeSpan Time, bool Tight) BulkBatchTime(string pool, ModelRef model, TimeSpan most)
    {
        var allowed = most.Ticks;
        var amortised = (long)(AmortisedAlphas * costs.Of(pool, model).AlphaNs / TimeSpan.NanosecondsPerTick);
        var efficient = Math.Min(Options.BulkBatchTimeMax.Ticks, amortised);
        return allowed < efficient
            ? (new TimeSpan(Math.Max(allowed, Math.Min(efficient, TightTicks(pool)))), true)
            : (new TimeSpan(allowed), false);
    }

    /// <summary>
    /// How long every batch may be so that express keeps its target on busy devices. With n of them that start one after the other, the
    /// next comes free within l/n and the batch itself takes l: (1 + 1/n)·l ≤ S (Symphony's staggered bound), with a tenth to spare.
    /// Devices that hold bulk alone do not count.
    /// </summary>
    private long TightTicks(string pool)
    {
        var devices = Math.Max(1, Workers(pool) - BulkHeld(pool));
        return (long)(0.9 * (Target - Options.ExpressLead.Ticks) * devices / (devices + 1));
    }

    /// <summary>
    /// How long a bulk batch may hold a device of this pool. A third of the express target at most, so that the first express task after a
    /// quiet night is in time too; while express comes, half of what its target leaves after it waited for company and beside its own
    /// batch. The other half is for what is already on its way to the device, and for bursts.
    /// </summary>
    public TimeSpan BulkBatchTimeMax(string pool, long now)
    {
        var most = Math.Min(Options.BulkBatchTimeMax.Ticks, Target / 3);
        foreach (var model in _models)
        {
            var rate = _rates[model];
            if (rate.Newest > now - ExpressExpectedFor.Ticks)
            {
                _time.Set(costs.Of(pool, model), Options);
                var perTick = Math.Max(rate.PerTick(now) * rate.UnitsMean, 1e-9);
                var company = Math.Min(DeferTicks, _time.UnitsAmortised / perTick);
                var left = Target - company - Options.ExpressLead.Ticks;
                var own = _time.Ticks(Math.Min(Math.Max(rate.UnitsMean, perTick * company), _time.UnitsWithin((long)(left / 2))));
                most = Math.Min(most, (long)((left - own) * SlackShare));
            }
        }

        return new TimeSpan(Math.Max(most, TimeSpan.TicksPerMillisecond));
    }

    private static string Reason(ClassQueue queue) => queue.Chunks > 1 ? Reasons.ExpressMerged : Reasons.ExpressFree;

    /// <summary>A place for the batch.</summary>
    /// <param name="Start">When it would start there.</param>
    private readonly record struct Choice(FleetWorker Worker, long Start);

    /// <summary>
    /// The cheapest pool where all that waits is in time, with a quarter of the target to spare; where none is, the one that starts first.
    /// </summary>
    private Choice? Choose(ClassQueue queue, long now)
    {
        Choice? soonest = null;
        foreach (var pool in pools.ByCost(queue.Model, now))
        {
            _time.Set(costs.Of(pool.Name, queue.Model), Options);
            if (Place(queue, pool, now) is not { } place)
            {
                continue;
            }

            if (place.Start + _time.Ticks(queue.Units) <= queue.Due - (Target / 4))
            {
                return place;
            }

            if (soonest is null || place.Start < soonest.Value.Start)
            {
                soonest = place;
            }
        }

        if (soonest is { } chosen)
        {
            _time.Set(costs.Of(chosen.Worker.Pool, queue.Model), Options);
        }

        return soonest;
    }

    /// <summary>
    /// The pool's worker that starts first: one with an empty express lane, or where the lane is about to be empty; where that is too
    /// late for the most urgent, behind other express work. With no lead a lane has to be empty: an estimate that is over a moment
    /// too early must not put a batch behind another.
    /// </summary>
    private Choice? Place(ClassQueue queue, Pool pool, long now)
    {
        var lead = Options.ExpressLead > TimeSpan.Zero ? Options.ExpressLead.Ticks : -1;
        if (pool.FreeExpress(queue.Model, now, lead) is not { } worker)
        {
            return null;
        }

        var start = Start(worker, queue.Model, now);
        if (start > now && start + _time.Ticks(1) > queue.Due && pool.FreeExpress(queue.Model, now, long.MaxValue - now) is { } behind)
        {
            (worker, start) = (behind, Start(behind, queue.Model, now));
        }

        return new Choice(worker, start);
    }

    private long Start(FleetWorker worker, ModelRef model, long now) =>
        worker.ExpressStart(now) + (worker.Models.Contains(model) ? 0 : fleet.LoadTicks(worker.Pool, model));

    /// <summary>How long an express batch may wait for company.</summary>
    private double DeferTicks => Math.Min(Options.ExpressDeferShare * Target, Options.ExpressDeferMax.Ticks);

    private long Target =>
        Options.Classes.TryGetValue(LatencyClass.Express, out var express) ? express.Target.Ticks : TimeSpan.TicksPerSecond;

    /// <summary>Those at the front that miss their target even alone.</summary>
    private ExpressAside Hopeless(ClassQueue queue, long start)
    {
        var late = new List<WaitingJob>();
        foreach (var chunk in queue.First(ChunksSeenMax))
        {
            if (_time.UnitsWithin(chunk.Job.TargetAt - start) >= chunk.UnitsWaiting)
            {
                break;
            }

            Add(late, chunk.Job);
        }

        return new ExpressAside(late, Reasons.ExpressHopeless);
    }

    /// <summary>The few that should step aside so that the rest make it, or null when nobody should.</summary>
    private ExpressAside? StepAside(ClassQueue queue, Choice choice, double rowsMax, double unitsMax, long now)
    {
        var look = Look(queue, choice.Worker.Pool, rowsMax, unitsMax, now);
        var aside = (int)Math.Min(look.StepAside(choice.Start, out _), _relegated.Left(Options.ExpressRelegateShareMax));
        if (aside == 0)
        {
            return null;
        }

        var jobs = new List<WaitingJob>();
        foreach (var chunk in queue.First(aside))
        {
            Add(jobs, chunk.Job);
        }

        _relegated.Spend(aside, Options.ExpressRelegateShareMax);
        return new ExpressAside(jobs, Reasons.ExpressRelegated);
    }

    /// <summary>What waits of a queue, what comes, and when the pool's devices are free.</summary>
    private Lookahead Look(ClassQueue queue, string pool, double rowsMax, double unitsMax, long now)
    {
        var rate = RateOf(queue.Model);
        var look = _lookahead ??= new Lookahead { Time = _time };
        look.Clear();
        (look.Rate, look.UnitsMean, look.Target) = (rate?.PerTick(now) ?? 0, rate?.UnitsMean ?? 1, Target);
        look.Dispersion = rate?.Dispersion(look.Rate * Target) ?? 1;
        (look.RowsMax, look.UnitsMax) = (rowsMax, unitsMax);
        (look.FloorMin, look.FloorMax) = Floors(queue.Model, pool, now);
        foreach (var chunk in queue.First(ChunksSeenMax))
        {
            look.Add(chunk.Job.TargetAt, chunk.UnitsWaiting);
        }

        fleet.FindPool(pool)?.ExpressFreeTimes(queue.Model, now, look);
        return look;
    }

    /// <summary>
    /// The lowest and the highest floor that batches may be kept above, in tasks.
    /// <list type="bullet">
    /// <item>None is so high that a bunch of arrivals is dropped which the calm moment after it could serve: what a bunch brings beyond the mean
    /// takes that share of a target to work off, and its tail has to have slack for the floor still.</item>
    /// <item>Where more comes than the devices can serve, none is higher than what comes while a batch may wait for it (Symphony's target
    /// size), less a share, since arrivals scatter: a higher one drops tasks for room that nobody fills.</item>
    /// <item>Where more comes even in calm stretches, none is lower than that either, as far as larger batches are cheaper: the rush does not
    /// pass, though a look-ahead that ends cannot see that.</item>
    /// </list>
    /// </summary>
    private (double Min, double Max) Floors(ModelRef model, string pool, long now)
    {
        if (RateOf(model) is not { } rate || rate.PerTick(now) is not (> 0 and var perTick))
        {
            return (1, Lookahead.FloorsEnd);
        }

        var (portion, unitsMean) = (fleet.Pools.Count > 1 ? Portion(model, pool) : 1, rate.UnitsMean);
        _time.Set(costs.Of(pool, model), Options);
        var bunch = Deviations * Bunching(rate.Swing, perTick * Target);
        var most = bunch > 0 ? Math.Max(1, _time.UnitsWithin((long)((1 - bunch) * Target)) / unitsMean) : Lookahead.FloorsEnd;
        var unitsPerTick = portion * perTick * unitsMean;
        var (rowsMax, unitsMax) = Limits(model, pool);
        var sustained = Math.Min(_time.UnitsSustained(Target, unitsPerTick), Math.Min(unitsMax, rowsMax * unitsMean));
        var load = Share(unitsPerTick, sustained, Workers(pool));
        if (load <= 1)
        {
            return (1, most);
        }

        most = Math.Min(FilledShare * sustained / unitsMean, most);
        var lasts = rate.Swing is { } swing && load * (1 - (Deviations * swing)) > 1;
        return (lasts ? Math.Min(most, _time.UnitsAmortised / unitsMean) : 1, most);
    }

    /// <summary>
    /// By how much arrivals deviate from their mean beyond what chance explains: n that come independently deviate by 1/√n. Few
    /// stretches may by chance show twice that variance, so as much counts as chance.
    /// </summary>
    private static double Bunching(double? swing, double mean) =>
        swing is { } deviation ? Math.Sqrt(Math.Clamp((deviation * deviation) - (2 / mean), 0, 1)) : 0;

    /// <summary>
    /// Until when a batch waits to hold the lowest floor: in a rush that lasts a smaller one costs more tasks than it serves sooner. Never
    /// beyond its latest start with one more (Symphony's window). In the past where there is nothing to wait for.
    /// </summary>
    private long FillUntil(ClassQueue queue, string pool, long now)
    {
        var (floor, _) = Floors(queue.Model, pool, now);
        return queue.Chunks >= Math.Floor(floor)
            ? now
            : queue.DueShared - _time.Ticks(queue.Units + ((double)queue.Units / Math.Max(1, queue.Chunks))) - Options.ExpressLead.Ticks;
    }

    /// <summary>
    /// True when this worker may start bulk work: express leaves room on the pool's devices even when it bunches, and a bulk batch fits
    /// into its slack; where express is busy, the look-ahead has to miss no more with the device taken than without. Where no
    /// efficient batch fits (tight), devices are set aside for express: as many as it may need, and for this model as many as its
    /// batches, filled with bulk, come often enough to keep busy.
    /// </summary>
    public bool Spares(FleetWorker worker, ModelRef bulkModel, TimeSpan batchTime, bool tight, long now)
    {
        var (taken, bunched, sustained, setAside, spares) = (0.0, 0.0, 0.0, 0.0, true);
        var workers = Workers(worker.Pool);
        foreach (var model in _models)
        {
            var perTick = _rates[model].PerTick(now);
            if (!worker.Models.Contains(model) || perTick * Target < 1)
            {
                continue;
            }

            var portion = Portion(model, worker.Pool);
            perTick *= portion;
            _time.Set(costs.Of(worker.Pool, model), Options);
            var (unitsMean, (rowsMax, unitsMax)) = (_rates[model].UnitsMean, Limits(model, worker.Pool));
            var most = Math.Min(unitsMax, rowsMax * unitsMean);
            var share = Share(perTick * unitsMean, Math.Max(unitsMean, Math.Min(_time.UnitsWithin(Target / 2), most)), workers);
            var burst = Burst(model);
            taken += share;
            bunched += burst * share;
            sustained += Share(
                perTick * unitsMean,
                Math.Max(unitsMean, Math.Min(_time.UnitsSustained(Target, perTick * unitsMean), most)),
                workers
            );
            setAside += burst * (model == bulkModel ? perTick * batchTime.Ticks : share * workers);
            spares = spares && (tight || taken <= BusyShare || bunched >= 1 || SparesNow(model, worker, portion, batchTime, now));
        }

        _left[worker.Pool] = (Math.Max(0, 1 - taken), Math.Max(0, 1 - sustained));
        spares &= bunched < 1;
        return spares && (!tight || BulkHeld(worker.Pool) + 1 <= workers - setAside);
    }

    private double Burst(ModelRef model) => Math.Clamp(1 + (2 * (_rates[model].Swing ?? 1)), BurstMin, BurstMax);

    /// <summary>The part of a model's express work that this pool can take, of what all pools that have the model can.</summary>
    private double Portion(ModelRef model, string name)
    {
        var (own, all) = (1.0, 0.0);
        foreach (var pool in fleet.Pools)
        {
            if (pool.Workers > 0 && pool.Has(model))
            {
                _time.Set(costs.Of(pool.Name, model), Options);
                var units = Math.Max(1, _time.UnitsWithin(Target / 2));
                var capacity = pool.Workers * units / Math.Max(1, _time.Ticks(units));
                (own, all) = (pool.Name == name ? capacity : own, all + capacity);
            }
        }

        return all > 0 ? Math.Min(1, own / all) : 1;
    }

    private int Workers(string pool) => Math.Max(1, fleet.FindPool(pool)?.Workers ?? 1);

    /// <summary>Workers that hold bulk dispatches.</summary>
    private int BulkHeld(string pool) => fleet.FindPool(pool) is { } found ? found.Workers - found.EmptyCount(Lane.Bulk) : 0;

    /// <summary>The part of the pool's device time that these arrivals take in batches of this size.</summary>
    private double Share(double unitsPerTick, double units, int workers) => unitsPerTick / units * _time.Ticks(units) / workers;

    /// <summary>True where express takes so much of a pool's device time that bulk is let in batch by batch, as of the last time it asked.</summary>
    public bool IsBusy(string pool) => LeftShare(pool) < 1 - BusyShare;

    /// <summary>The part of a pool's device time that express leaves, as of the last time bulk asked.</summary>
    public double LeftShare(string pool) => _left.TryGetValue(pool, out var left) ? left.Cautious : 1;

    /// <summary>The same where express travels in the largest batches that fill and run within its target.</summary>
    public double LeftShareAtMost(string pool) => _left.TryGetValue(pool, out var left) ? left.AtMost : 1;

    private bool SparesNow(ModelRef model, FleetWorker worker, double portion, TimeSpan batchTime, long now)
    {
        var (rowsMax, unitsMax) = Limits(model, worker.Pool);
        var look = Look(backlog.QueueOf(model, LatencyClass.Express), worker.Pool, rowsMax, unitsMax, now);
        look.Rate *= Burst(model) * portion;
        var until = now + (SparesTargets * Target);
        var before = look.Missed(now, until);
        look.TakeDevice(now + batchTime.Ticks);
        return look.Missed(now, until) <= before + 1e-6;
    }

    private long NextFreeAt(long now)
    {
        var next = long.MaxValue;
        foreach (var pool in fleet.Pools)
        {
            next = Math.Min(next, pool.NextExpressFreeAt(now));
        }

        return next;
    }

    private static void Add(List<WaitingJob> jobs, WaitingJob job)
    {
        if (jobs.Count == 0 || jobs[^1] != job)
        {
            jobs.Add(job);
        }
    }

    /// <summary>
    /// Until when the batch may wait for company, where device time is scarce (bulk has the device) or paid by use: for a share of its target,
    /// or until it is so large that more would hardly make it cheaper; then until the bulk batch on the device is about to end.
    /// An estimate may be off and that moment be missed, so only work waits that could wait for one more bulk batch.
    /// </summary>
    private long? WaitUntil(ClassQueue queue, WaitingChunk head, Choice choice, double unitsMax, double rowsMax, long now)
    {
        var bulk = choice.Worker.Lane(Lane.Bulk).Flights is [var first, ..] ? first : null;
        if (DeferTicks <= 0 || queue.Units >= unitsMax || queue.Tasks >= rowsMax || (bulk is null && !Options.DeviceTimePaidByUse))
        {
            return null;
        }

        var mean = (double)queue.Units / Math.Max(1, queue.Chunks);
        var batch = bulk is null ? 0 : Math.Min(bulk.BatchTicks > 0 ? bulk.BatchTicks : bulk.EstimatedTicks, bulk.EstimatedTicks);
        var latest = queue.DueShared - _time.Ticks(queue.Units + mean) - batch - Options.ExpressLead.Ticks;
        var calm = Math.Min(1, LeftShare(choice.Worker.Pool) / (1 - BusyShare)); // A busy fleet has no time to wait.
        var company = _time.IsAmortised(queue.Units) ? now : Math.Min(head.Job.QueuedAt + (long)(calm * DeferTicks), latest);
        var boundary = choice.Start - Options.ExpressLead.Ticks - (long)(HoldEarly * batch);
        return choice.Start <= latest && choice.Worker.Lane(Lane.Express).Flights.Count == 0 ? Math.Max(company, boundary) : company;
    }

    /// <summary>The most urgent chunks that fit.</summary>
    private static int Fitting(ClassQueue queue, double units, double rows)
    {
        if (units >= queue.Units && rows >= queue.Tasks)
        {
            return queue.Chunks;
        }

        var fitting = 0;
        foreach (var chunk in queue.First(ChunksSeenMax))
        {
            (units, rows) = (units - chunk.UnitsWaiting, rows - chunk.Waiting.Count);
            if (units < 0 || rows < 0)
            {
                break;
            }

            fitting++;
        }

        return Math.Max(1, fitting);
    }

    private (double Rows, double Units) Limits(ModelRef model, string pool)
    {
        var cost = costs.Of(pool, model);
        var pace = costs.Pace(cost, model, Options.ExpressBatchTimeMax);
        return (Math.Min(pace.RowsMax, Options.SlicesMax), pace.PaddedUnitsMax / cost.PaddingRatio);
    }

    /// <summary>Device time with the error band the batches stay within, for units as the door estimates them.</summary>
    private sealed class ExpressTime : IBatchTime
    {
        private CostModel _cost = new();
        private double _caution = 1;

        public void Set(CostModel cost, PolicyOptions options) =>
            (_cost, _caution) = (cost, 1 + (options.ExpressBandShare * cost.ErrorBand));

        /// <summary>True when a batch of these units takes so long that its fixed part is a tenth: a larger one is hardly cheaper.</summary>
        public bool IsAmortised(double units) => _cost.BatchNs(units * _cost.PaddingRatio) >= 10 * _cost.AlphaNs;

        /// <summary>The units of such a batch.</summary>
        public double UnitsAmortised =>
            _cost.PaddedUnitsWithin(TimeSpan.FromTicks((long)Math.Min(_cost.AlphaNs / 10, TimeSpan.TicksPerDay))) / _cost.PaddingRatio;

        /// <summary>
        /// The units of the largest batch that fills and runs within the target, l(b) + b/r ≤ S: what express comes to when more and
        /// more of it comes (Symphony).
        /// </summary>
        public double UnitsSustained(long target, double unitsPerTick)
        {
            var (low, high) = (0.0, UnitsWithin(target));
            for (var halving = 0; halving < 20; halving++)
            {
                var middle = (low + high) / 2;
                (low, high) = Ticks(middle) + (middle / unitsPerTick) <= target ? (middle, high) : (low, middle);
            }

            return low;
        }

        public long Ticks(double units) =>
            (long)Math.Min(_cost.BatchNs(units * _cost.PaddingRatio) * _caution / TimeSpan.NanosecondsPerTick, TimeSpan.TicksPerDay);

        public double UnitsWithin(long ticks)
        {
            if (ticks <= 0)
            {
                return 0;
            }

            var time = new TimeSpan((long)(ticks / _caution));
            var padded = _cost.PaddedUnitsWithin(time);
            return padded > 1 || _cost.BatchNs(1) <= time.TotalNanoseconds ? padded / _cost.PaddingRatio : 0;
        }
    }
}
