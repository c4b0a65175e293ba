namespace Pipeline.Scheduler.Policy;

/// <summary>
/// Plays the next batches forward: devices that come free take what waits in order of when it is due, as much as its head's slack
/// allows, and new work flows in at its mean rate. It tells how many will miss their target, and how many should step aside now so that
/// the fewest do.
/// <para>
/// Why: when a head has little slack left, its batch is small, what stays behind waits longer and has less slack in turn, and batches
/// shrink until everything is late. Nexus (SOSP'19) drops heads that spoil a window, Symphony heads that spoil the candidate; both
/// look at one batch and drop too much when the next device is about to come free, or too little when it is not. Measured
/// against them in the simulator (tests/simulator/REPORT.md).
/// </para>
/// <para>
/// A play ends after some rounds of the devices. What waits longer at its end is worse off: <see cref="WaitCost"/> says by how many tasks.
/// </para>
/// </summary>
internal sealed class Lookahead
{
    /// <summary>Batches that are played at most.</summary>
    private const int BatchesMax = 192;

    /// <summary>How far ahead is played, in targets: some rounds of the devices, so that a shrinking of batches shows.</summary>
    private const int HorizonTargets = 3;

    /// <summary>Floors that are compared: each a third above the one before.</summary>
    private const double FloorStep = 1.34;

    /// <summary>No floor is higher, whatever comes.</summary>
    public const double FloorsEnd = 512;

    /// <summary>Devices that are told apart, the soonest free.</summary>
    public const int DevicesMax = 24;

    private readonly long[] _free = new long[DevicesMax];
    private readonly PriorityQueue<int, long> _devices = new(DevicesMax);
    private readonly WaitCost _waitCost = new();
    private long[] _due = new long[256];
    private double[] _unitsBefore = new double[257];
    private int _waiting;
    private int _deviceCount;

    /// <summary>Arrivals per tick, and the units of one.</summary>
    public double Rate { get; set; }
    public double UnitsMean { get; set; } = 1;

    /// <summary>The target of what will come, in ticks.</summary>
    public long Target { get; set; }

    /// <summary>The index of dispersion of what comes in a target's time (<see cref="ArrivalRate.Dispersion"/>).</summary>
    public double Dispersion { get; set; } = 1;

    /// <summary>Units, as estimated at the door, that one batch may hold beside its time.</summary>
    public double UnitsMax { get; set; } = double.PositiveInfinity;

    /// <summary>Tasks that one batch may hold.</summary>
    public double RowsMax { get; set; } = double.PositiveInfinity;

    /// <summary>The lowest and the highest floor that are compared, in tasks.</summary>
    public double FloorMin { get; set; } = 1;
    public double FloorMax { get; set; } = FloorsEnd;

    /// <summary>What a batch takes.</summary>
    public required IBatchTime Time { get; set; }

    public int Waiting => _waiting;

    public void Clear() => (_waiting, _deviceCount) = (0, 0);

    /// <summary>The next of what waits, in order of when it is due.</summary>
    public void Add(long due, double units)
    {
        if (_waiting == _due.Length)
        {
            Array.Resize(ref _due, 2 * _waiting);
            Array.Resize(ref _unitsBefore, (2 * _waiting) + 1);
        }

        _due[_waiting] = due;
        _unitsBefore[_waiting + 1] = _unitsBefore[_waiting] + units;
        _waiting++;
    }

    /// <summary>A device comes free at this time. Of more than <see cref="DevicesMax"/> the soonest count.</summary>
    public void AddDevice(long freeAt)
    {
        if (_deviceCount < DevicesMax)
        {
            _free[_deviceCount++] = freeAt;
            return;
        }

        var last = Place(latest: true);
        _free[last] = Math.Min(_free[last], freeAt);
    }

    /// <summary>The device that comes free first is taken by something else until then.</summary>
    public void TakeDevice(long until)
    {
        if (_deviceCount > 0)
        {
            var first = Place(latest: false);
            _free[first] = Math.Max(_free[first], until);
        }
    }

    private int Place(bool latest)
    {
        var place = 0;
        for (var i = 1; i < _deviceCount; i++)
        {
            place = _free[i] > _free[place] == latest ? i : place;
        }

        return place;
    }

    /// <summary>How many of those at the front should step aside: the fewest tasks are late in all.</summary>
    /// <param name="missed">How many will be late all the same.</param>
    /// <remarks>
    /// What is compared are floors: batches are never let shrink below one, and who has too little slack for it steps aside. With a
    /// floor of one only the hopeless do. Every floor is asked about the same tasks: what waits, and what comes until the horizon.
    /// </remarks>
    public int StepAside(long now, out double missed)
    {
        var until = now + (HorizonTargets * Target);
        var highest = Math.Max(1, Math.Floor(Math.Min(RowsMax, FloorMax)));
        var lowest = Math.Clamp(Math.Floor(FloorMin), 1, highest);
        SetWaitCost();
        var bestMissed = Missed(now, until, lowest, out var best);
        for (var floor = lowest + 1; bestMissed > 0 && floor <= highest; floor = NextFloor(floor, highest))
        {
            var all = Missed(now, until, floor, out var aside);
            if (all < bestMissed - 1e-9)
            {
                (best, bestMissed) = (aside, all);
            }
        }

        missed = bestMissed - best;
        return best;
    }

    /// <summary>Of more devices than are told apart nobody knows here how many there are: waits at the end cost nothing then.</summary>
    private void SetWaitCost()
    {
        _waitCost.Clear();
        if (_deviceCount < DevicesMax)
        {
            _waitCost.Set(
                new ExpressFlow(Time, _deviceCount, Rate, UnitsMean, Math.Min(UnitsMax, RowsMax * UnitsMean), Target, Dispersion)
            );
        }
    }

    /// <summary>The next floor to compare; the highest is one of them.</summary>
    private static double NextFloor(double floor, double highest)
    {
        var next = Math.Max(floor + 1, Math.Floor(floor * FloorStep));
        return floor < highest ? Math.Min(next, highest) : next;
    }

    /// <summary>How many will be late, of what waits and what comes until then, when only the hopeless step aside.</summary>
    public double Missed(long now, long until)
    {
        _waitCost.Clear();
        return Missed(now, until, floor: 1, out _);
    }

    /// <param name="floor">Tasks that a batch has at least, as far as so many wait.</param>
    /// <param name="aside">How many step aside before the first batch.</param>
    private double Missed(long now, long until, double floor, out int aside)
    {
        _devices.Clear();
        for (var i = 0; i < _deviceCount; i++)
        {
            _devices.Enqueue(i, Math.Max(now, _free[i]));
        }

        (aside, var position, var missed) = (0, 0.0, 0.0);
        for (var batch = 0; batch < BatchesMax && _devices.TryPeek(out var device, out var at); batch++)
        {
            var available = _waiting + (Rate * (Math.Min(at, until) - now));
            var served = FirstWithSlack(position, available, floor, at, now);
            missed += served - position;
            position = served;
            aside = batch == 0 ? (int)Math.Min(position, _waiting) : aside;
            if (available - position < 1)
            {
                break; // Everything was served.
            }

            var rows = Rows(position, available, at, now);
            _devices.DequeueEnqueue(device, at + Time.Ticks(UnitsBefore(position + rows) - UnitsBefore(position)));
            position += rows;
        }

        return _devices.TryPeek(out _, out var next) ? missed + _waitCost.Of(next - (Due(position, now) - Target)) : missed;
    }

    /// <summary>The first position from which a batch can hold the floor, or all that waits, so that its head is in time.</summary>
    private double FirstWithSlack(double position, double available, double floor, long at, long now)
    {
        while (available - position >= 1)
        {
            var rows = Math.Max(1, Math.Min(floor, Math.Floor(available - position)));
            var needed = at + Time.Ticks(UnitsBefore(position + rows) - UnitsBefore(position));
            if (Due(position, now) >= needed)
            {
                return position;
            }

            position = Math.Max(position + 1, Math.Min(FirstDue(position, needed, now), available - rows));
        }

        return position;
    }

    /// <summary>The first position that is due then or later.</summary>
    private double FirstDue(double position, long due, long now)
    {
        var (low, high) = ((int)position, _waiting);
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = _due[middle] < due ? (middle + 1, high) : (low, middle);
        }

        return low < _waiting ? low : Math.Max(position, _waiting + ((due - now - Target) * Rate));
    }

    /// <summary>Tasks that a batch from here can hold so that its head is in time; at least the head.</summary>
    private double Rows(double position, double available, long at, long now)
    {
        var units = Math.Min(Time.UnitsWithin(Due(position, now) - at), UnitsMax);
        var before = UnitsBefore(position);
        return Math.Clamp(Math.Min(available, PositionOf(before + units)) - position, 1, Math.Max(1, RowsMax));
    }

    private long Due(double position, long now)
    {
        var index = (int)(position + 1e-9);
        return index < _waiting ? _due[index] : now + Target + (long)((position - _waiting) / Math.Max(Rate, 1e-12));
    }

    private double UnitsBefore(double position)
    {
        if (position >= _waiting)
        {
            return _unitsBefore[_waiting] + ((position - _waiting) * UnitsMean);
        }

        var index = (int)position;
        return _unitsBefore[index] + ((position - index) * (_unitsBefore[index + 1] - _unitsBefore[index]));
    }

    /// <summary>The position up to which all units are these: the inverse of <see cref="UnitsBefore"/>, whole tasks among what waits.</summary>
    private double PositionOf(double units)
    {
        var all = _unitsBefore[_waiting];
        if (units >= all)
        {
            return _waiting + ((units - all) / UnitsMean);
        }

        var found = Array.BinarySearch(_unitsBefore, 0, _waiting + 1, units);
        return found >= 0 ? found : ~found - 1;
    }
}

/// <summary>What a batch takes on a device.</summary>
internal interface IBatchTime
{
    /// <summary>Device time in ticks of a batch of these units, as estimated at the door.</summary>
    long Ticks(double units);

    /// <summary>Units, as estimated at the door, that fit into a device time; 0 when not even the smallest does.</summary>
    double UnitsWithin(long ticks);
}
