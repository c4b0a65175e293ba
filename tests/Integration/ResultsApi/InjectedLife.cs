using Pipeline.Contracts;

namespace Pipeline.Tests.Integration.ResultsApi;

/// <summary>A trouble that is put into the life of a job.</summary>
internal enum Trouble
{
    None,
    Callback,
    WorkerLost,
    Paused,
    Ingest,
    DeadlineTooTight,
    Overload,
    Waiting,
    Staged,
    Device,
    Writing,
}

/// <summary>
/// The life of a job as a system would let it come to pass that has this trouble, and others that do not matter: how long everything takes, and
/// what happens to it, drawn from a seed. It knows what goes on in the system, and nothing of how a report looks for causes.
/// </summary>
internal sealed class InjectedLife
{
    /// <summary>What takes how long on a good day, in seconds; how many tasks a batch has.</summary>
    private sealed record Days(double Target, double Announce, double Wait, double Stage, double Run, double Write, int Rows);

    private static readonly Dictionary<LatencyClass, Days> Good = new()
    {
        [LatencyClass.Express] = new(0.5, 0.004, 0.02, 0.006, 0.06, 0.012, 4),
        [LatencyClass.Standard] = new(30, 0.01, 4, 0.3, 0.4, 0.15, 64),
        [LatencyClass.Bulk] = new(3600, 0.05, 1200, 1.5, 0.9, 0.4, 256),
    };

    private readonly Random _random;
    private readonly Days _good;
    private double _backlog;
    private double _slow = 1;

    public InjectedLife(LatencyClass latencyClass, Trouble trouble, int seed)
    {
        (Class, Trouble, _random, _good) = (latencyClass, trouble, new Random(seed), Good[latencyClass]);
        _backlog = About(_good.Wait, 0.5);
        Announced = About(_good.Announce, 0.5);
        Staged = About(_good.Stage, 0.35);
        Written = About(_good.Write, 0.35);
        Predicted = _good.Wait + _good.Stage + _good.Run + _good.Write;
        Deadline = 20 * _good.Target;
        if (trouble != Trouble.None)
        {
            Mishap();
        }

        Befall();
        Ran = About(_good.Run, 0.15) * _slow;
        Dispatched = Announced + (_backlog * _slow) + Paused + Lost;
        Predicted = _random.Next(20) == 0 ? null : About(Predicted!.Value, 0.12);
    }

    public LatencyClass Class { get; }
    public Trouble Trouble { get; }

    /// <summary>Seconds from acceptance to the announcement, and to the dispatch that ended it.</summary>
    public double Announced { get; private set; }
    public double Dispatched { get; }

    /// <summary>Seconds from there to the device, on it, and to the write.</summary>
    public double Staged { get; private set; }
    public double Ran { get; private set; }
    public double Written { get; private set; }
    public double Total => Dispatched + Staged + Ran + Written;

    /// <summary>Seconds its owner held it back, a little after it was accepted.</summary>
    public double Paused { get; private set; }

    /// <summary>Seconds from the last sign of life of a worker that died to the dispatch; whether that had begun the job; and whether the pool had no other.</summary>
    public double Lost { get; private set; }
    public bool LostHadBegun { get; private set; }
    public bool LostWasLast { get; private set; }

    /// <summary>Seconds of its deadline and of its predicted end, from acceptance.</summary>
    public double Deadline { get; private set; }
    public double? Predicted { get; private set; }

    /// <summary>Seconds that its receiver took longer than it should.</summary>
    public double CallbackLate { get; private set; }

    /// <summary>Seconds of device time for a unit of its batches; on a good day <see cref="UnitSeconds"/>.</summary>
    public double Unit => UnitSeconds * _slow * About(1, 0.05);
    public const double UnitSeconds = 2e-5;
    public int Rows => _good.Rows;

    /// <summary>The trouble itself.</summary>
    private void Mishap()
    {
        var (target, much) = (_good.Target, _good.Target * Between(1.1, 3));
        switch (Trouble)
        {
            case Trouble.WorkerLost:
                // It died with the job on its device, or while the job waited for it. Another takes over at once, or must be found first.
                LostHadBegun = _random.Next(3) > 0;
                LostWasLast = !LostHadBegun || Class != LatencyClass.Express;
                Lost = Class == LatencyClass.Express ? Between(3.2, 6) : much;
                break;
            case Trouble.Paused:
                Paused = much;
                break;
            case Trouble.Ingest:
                // The broker was away.
                Announced = much;
                break;
            case Trouble.DeadlineTooTight:
                Deadline = Between(0.2, 0.8) * (_backlog + _good.Run);
                break;
            case Trouble.Overload:
                _backlog = much;
                Predicted = much + _good.Run;
                break;
            case Trouble.Waiting:
                // A burst of others that went before it.
                _backlog += much;
                break;
            case Trouble.Staged:
                // The model had to be loaded first.
                Staged = much;
                break;
            case Trouble.Device:
                // All that is before it takes longer as well, and forecasts may have learned so already.
                _slow = Class == LatencyClass.Express ? Between(10, 40) : Between(2.5, 5);
                _backlog = Class == LatencyClass.Express ? _backlog : target * Between(0.45, 0.8);
                Predicted = _backlog * (_random.Next(2) == 0 ? 1 : _slow);
                break;
            case Trouble.Writing:
                // PostgreSQL was away.
                Written = much;
                break;
            case Trouble.Callback:
                CallbackLate = Between(5, 500);
                break;
            default:
                break;
        }
    }

    /// <summary>What befalls every fourth job besides, and is not why it is late.</summary>
    private void Befall()
    {
        if (_random.Next(4) == 0 && Paused == 0)
        {
            Paused = _good.Target * Between(0.005, 0.04);
        }

        if (_random.Next(4) == 0 && Lost == 0 && Class != LatencyClass.Express)
        {
            (Lost, LostHadBegun) = (Between(3.2, 4.5), _random.Next(2) == 0);
        }
    }

    private double Between(double from, double to) => from + (_random.NextDouble() * (to - from));

    private double About(double median, double sigma) =>
        median * Math.Exp(sigma * Math.Sqrt(-2 * Math.Log(1 - _random.NextDouble())) * Math.Cos(2 * Math.PI * _random.NextDouble()));
}
