using System.Globalization;
using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Simulator.Baselines;

/// <summary>
/// The baselines by name. <see cref="All"/> has each once, with the knobs an operator would set by rule; <see cref="Variants"/> has the
/// knobs an operator would try, so that a comparison can give each baseline the best of them, cell by cell.
/// </summary>
internal static class BaselineEntries
{
    private static readonly double[] Shares = [0.5, 0.65, 0.75, 0.8, 0.9];

    /// <summary>Delays as shares of the express target, beside NVIDIA's 1 ms.</summary>
    private static readonly double[] Delays = [1.0 / 12, 1.0 / 6];

    public static IReadOnlyList<PolicyEntry> All { get; } =
    [
        Entry("fifo-1", "first come, a request at a time (KServe's default)", s => new FifoPolicy(s)),
        Entry("fifo-max", "first come, batches that fit the target", s => new FifoPolicy(s, null)),
        Entry("fixed", "fixed size with timeout", s => new FixedBatchPolicy(s)),
        Entry("triton", "Triton: queue delay, strict priority levels", s => new TritonPolicy(s)),
        Entry("tf-serving", "TensorFlow Serving: low-priority padding", s => new TfServingPolicy(s)),
        Entry("bentoml", "BentoML: adaptive cork", s => new BentoMlPolicy(s)),
        Entry("clipper", "Clipper: additive increase, multiplicative decrease", s => new ClipperPolicy(s)),
        Entry("nexus", "Nexus: half the target, early drop", s => new NexusPolicy(s)),
        Entry("clockwork", "Clockwork: strategies by size, a short horizon", s => new ClockworkPolicy(s)),
        Entry("shepherd", "Shepherd: the largest feasible batch, preemption", s => new ShepherdPolicy(s)),
        Entry("symphony", "Symphony: deferred batching", s => new SymphonyPolicy(s)),
        Entry("mlperf", "MLPerf's harness with soft-drop", s => new MlPerfPolicy(s)),
        Entry("split", "half the devices for express, half for the rest", s => new StaticSplitPolicy(s)),
        Entry("llm-d", "deadline order, strict lanes, saturation gate", s => new LlmdPolicy(s)),
        Entry("hygen", "HyGen: latency-budget fill", s => new HyGenPolicy(s)),
    ];

    /// <summary>The baseline as in <see cref="All"/>, then with other knobs.</summary>
    public static IReadOnlyList<PolicyEntry> Variants(string name) =>
        [
            All.Single(e => e.Name == name),
            .. name switch
            {
                "fifo-max" => Shared(name, s => new FifoPolicy(s, null)),
                "fixed" => Delayed(name, (s, delay) => new FixedBatchPolicy(s, null, delay)),
                "triton" => Delayed(name, (s, delay) => new TritonPolicy(s, null, delay)),
                "tf-serving" => Delayed(name, (s, delay) => new TfServingPolicy(s, null, delay)),
                "clipper" => Shared(name, s => new ClipperPolicy(s)),
                "split" =>
                [
                    .. ((double[])[0.125, 0.25, 0.5, 0.75, 0.875]).SelectMany(express =>
                        Shared($"{name} {Text(express)}", s => new StaticSplitPolicy(s, 0, express))
                    ),
                ],
                "llm-d" =>
                [
                    .. ((double[])[0.5, 0.8, 2]).SelectMany(gate => Shared($"{name} gate {Text(gate)}", s => new LlmdPolicy(s, gate))),
                ],
                "hygen" => Shared(name, s => new HyGenPolicy(s)),
                _ => Array.Empty<PolicyEntry>(),
            },
        ];

    /// <summary>With every share of the target that an express batch may take.</summary>
    private static IEnumerable<PolicyEntry> Shared(string name, Func<BaselineSetup, IPolicy> create) =>
        Shares.Select(share => Entry($"{name} share {Text(share)}", "", s => create(s with { ExpressBatchShare = share })));

    /// <summary>The same, with every delay.</summary>
    private static IEnumerable<PolicyEntry> Delayed(string name, Func<BaselineSetup, TimeSpan?, IPolicy> create) =>
        [
            .. Shared($"{name} delay 1 ms", s => create(s, TimeSpan.FromMilliseconds(1))),
            .. Delays.SelectMany(delay =>
                Shared($"{name} delay {Text(delay)} of target", s => create(s, delay * s.Options.Classes[LatencyClass.Express].Target))
            ),
        ];

    private static PolicyEntry Entry(string name, string about, Func<BaselineSetup, IPolicy> create) =>
        new(name, about, options => create(new BaselineSetup { Options = options }));

    private static string Text(double value) => value.ToString("0.###", CultureInfo.InvariantCulture);
}
