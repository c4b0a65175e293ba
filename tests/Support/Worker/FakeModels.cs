using Pipeline.Contracts;
using Pipeline.GpuWorker;
using Pipeline.GpuWorker.Models;

namespace Pipeline.Tests.Support.Worker;

/// <summary>Lends one <see cref="FakeModel"/>, and another as the large variant of a route; any other is unknown.</summary>
internal sealed class FakeModels(int batchRowsMax = 4) : IModelSource
{
    private int _lent;

    public static ModelRef Name { get; } = new("fake", "1");

    public static ModelRef LargeName { get; } = new("fake-large", "1");

    public FakeModel Model { get; } = new(Name, batchRowsMax);

    public FakeModel Large { get; } = new(LargeName, batchRowsMax);

    public string Provider => Model.Provider;

    public string Device => Model.Device;

    public long MemoryBudgetBytes => 1024;

    public IReadOnlyList<LoadedModel> Loaded => [new(Name, Model.Provider, Model.MemoryBytes)];

    /// <summary>Leases that were not given back.</summary>
    public int Lent => Volatile.Read(ref _lent);

    public Task<IModelLease> AcquireAsync(ModelRef model, CancellationToken stop)
    {
        if (model != Name && model != LargeName)
        {
            throw new InvalidOperationException($"Model {model} is not here.");
        }

        Interlocked.Increment(ref _lent);
        return Task.FromResult<IModelLease>(new Lease(this, model == Name ? Model : Large));
    }

    private sealed class Lease(FakeModels models, FakeModel model) : IModelLease
    {
        public IModel Model => model;

        public void Dispose() => Interlocked.Decrement(ref models._lent);
    }
}
