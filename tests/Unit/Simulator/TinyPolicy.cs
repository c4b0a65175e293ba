using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator;
using Pipeline.Simulator.Fleet;
using Pipeline.Simulator.Workloads;

namespace Pipeline.Tests.Unit.Simulator;

/// <summary>A policy of a few lines: it keeps what arrived and who is idle, and a test says what to decide.</summary>
internal sealed class TinyPolicy(Func<TinyPolicy, IEnumerable<Decision>> decide) : IPolicy
{
    private int _sent;

    public List<ChunkHeader> Waiting { get; } = [];
    public List<WorkerId> Idle { get; } = [];
    public List<Fact> Facts { get; } = [];
    public DateTimeOffset Now { get; private set; }
    public DateTimeOffset WakeAt { get; set; } = DateTimeOffset.MaxValue;

    /// <summary>First come, first served, one task at a time on whoever is idle.</summary>
    public static TinyPolicy Fifo() =>
        new(policy =>
        {
            var decisions = new List<Decision>();
            while (policy.Waiting.Count > 0 && policy.Idle.Count > 0)
            {
                decisions.Add(policy.Send(policy.Waiting[0], policy.Idle[0]));
                policy.Waiting.RemoveAt(0);
                policy.Idle.RemoveAt(0);
            }

            return decisions;
        });

    public void Observe(Fact fact, DateTimeOffset time)
    {
        Now = time;
        switch (fact)
        {
            case ChunkArrived arrived:
                Waiting.Add(arrived.Chunk);
                break;
            case DispatchEnded ended:
                Idle.Add(ended.Report.Worker);
                Facts.Add(fact);
                break;
            case WorkerSeen seen when !Known.Contains(seen.Heartbeat.Worker):
                Known.Add(seen.Heartbeat.Worker);
                Idle.Add(seen.Heartbeat.Worker);
                break;
            case WorkerSeen:
                break;
            default:
                Facts.Add(fact);
                break;
        }
    }

    public HashSet<WorkerId> Known { get; } = [];

    public IReadOnlyList<Decision> Plan(DateTimeOffset time)
    {
        Now = time;
        return [.. decide(this)];
    }

    public DateTimeOffset NextWake(DateTimeOffset time) => WakeAt;

    public SendDispatch Send(
        ChunkHeader chunk,
        WorkerId worker,
        Lane lane = Lane.Express,
        long paddedUnitsMax = long.MaxValue / 4,
        int first = 0,
        int? count = null
    ) =>
        new(
            new Dispatch
            {
                Id = new DispatchId(new Guid(++_sent, 0, 0, new byte[8])),
                Epoch = 1,
                Worker = worker,
                Lane = lane,
                Model = chunk.Model,
                Slices = [new Slice(chunk.Job, chunk.No, first, count ?? chunk.Tasks)],
                BatchTimeMax = TimeSpan.FromHours(1),
                PaddedUnitsMax = paddedUnitsMax,
                Reason = "test",
            },
            new Why("test")
        );
}

/// <summary>Small worlds: one model, whose tasks take 1 ms each and nothing more.</summary>
internal static class TinyWorld
{
    public static DeviceProfile Millisecond { get; } = new("millisecond", [(1, 1e6), (2, 2e6), (100, 1e8)]);

    public static WorldOptions Options(int workers = 1, Func<PoolSpec, PoolSpec>? pool = null)
    {
        var spec = new PoolSpec { Workers = workers, Devices = [Millisecond] };
        return new WorldOptions
        {
            Pools = [pool?.Invoke(spec) ?? spec],
            Models =
            [
                new ModelSpec(
                    new ModelRef("millisecond", "1.0.0"),
                    Millisecond.Measured("cuda"),
                    new LimitSpec { BatchRowsMax = 4096, PaddedUnitsMax = 4096 }
                ),
            ],
        };
    }
}

/// <summary>Submissions that a test wrote down.</summary>
internal sealed class Written(params Submission[] submissions) : IArrivals
{
    private int _next;

    public static long Ms(double milliseconds) => TimeSpan.FromMilliseconds(milliseconds).Ticks;

    public bool Next(out Submission submission)
    {
        submission = _next < submissions.Length ? submissions[_next] : default;
        return _next++ < submissions.Length;
    }
}
