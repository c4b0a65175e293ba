namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// Lets calls to a provider in together, or one at a time where it can do no more. The CPU and CUDA take any number. WebGPU shares one
/// device and one open command list between all sessions of a process: two at once ended in "CommandEncoder is already finished", or
/// in a segmentation fault when they came from two sessions. A GPU runs one after the other anyhow.
/// </summary>
internal sealed class DeviceGate
{
    /// <summary>Nobody waits.</summary>
    public static DeviceGate Free { get; } = new(null);

    private static readonly DeviceGate OneAtATime = new(new Lock());

    private readonly Lock? _turn;

    private DeviceGate(Lock? turn) => _turn = turn;

    public static DeviceGate Of(string provider) => provider == ExecutionProviders.WebGpu ? OneAtATime : Free;

    /// <summary>Waits for its turn, which ends when the passage is disposed. A thread inside may enter again.</summary>
    public Passage Enter() => new(_turn);

    internal readonly ref struct Passage : IDisposable
    {
        private readonly Lock? _turn;

        public Passage(Lock? turn)
        {
            _turn = turn;
            _turn?.Enter();
        }

        public void Dispose() => _turn?.Exit();
    }
}
