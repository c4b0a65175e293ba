using Pipeline.Scheduler.Policy;

namespace Pipeline.Simulator.Baselines;

/// <summary>The baselines by name, with the knobs an operator would set for the targets at hand.</summary>
internal static class BaselineEntries
{
    public static IReadOnlyList<PolicyEntry> All { get; } =
    [
        Entry("fifo-1", "first come, a request at a time (KServe's default)", s => new FifoPolicy(s)),
        Entry("fifo-max", "first come, batches of which two fit the target", s => new FifoPolicy(s, null)),
        Entry("fixed", "fixed size with timeout", s => new FixedBatchPolicy(s)),
        Entry("triton", "Triton: queue delay, strict priority levels", s => new TritonPolicy(s)),
        Entry("tf-serving", "TensorFlow Serving: low-priority padding", s => new TfServingPolicy(s)),
        Entry("bentoml", "BentoML: adaptive cork", s => new BentoMlPolicy(s)),
        Entry("clipper", "Clipper: additive increase, multiplicative decrease", s => new ClipperPolicy(s)),
        Entry("split", "half the devices for express, half for the rest", s => new StaticSplitPolicy(s)),
        Entry("llm-d", "deadline order, strict lanes, saturation gate", s => new LlmdPolicy(s)),
        Entry("hygen", "HyGen: latency-budget fill", s => new HyGenPolicy(s)),
    ];

    private static PolicyEntry Entry(string name, string about, Func<BaselineSetup, IPolicy> create) =>
        new(name, about, options => create(new BaselineSetup { Options = options }));
}
