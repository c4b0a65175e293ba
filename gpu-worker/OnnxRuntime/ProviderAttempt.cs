namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>One provider that was tried for a session, in the order tried.</summary>
/// <param name="Provider">Its name: <c>cuda</c>, <c>webgpu</c> or <c>cpu</c>.</param>
/// <param name="Reason">Why it did not load; null when it did.</param>
internal sealed record ProviderAttempt(string Provider, string? Reason)
{
    public bool Loaded => Reason is null;

    public override string ToString() => Loaded ? $"{Provider}: loaded" : $"{Provider}: {Reason}";
}
