using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;

namespace Pipeline.GpuWorker;

/// <summary>The models of this worker's device: loaded and warmed when first asked for, kept within a memory budget.</summary>
internal interface IModelSource
{
    /// <summary>The provider the device runs on: <c>cuda</c>, <c>webgpu</c> or <c>cpu</c>.</summary>
    string Provider { get; }

    /// <summary>The device's name, as its driver gives it.</summary>
    string Device { get; }

    /// <summary>Bytes all loaded models may hold together.</summary>
    long MemoryBudgetBytes { get; }

    /// <summary>What is loaded at this moment.</summary>
    IReadOnlyList<LoadedModel> Loaded { get; }

    /// <summary>Lends a model, loading it first where needed; it stays loaded until the lease is disposed.</summary>
    /// <exception cref="Exception">The model is unknown, or could not be loaded; the message says why.</exception>
    Task<IModelLease> AcquireAsync(ModelRef model, CancellationToken stop);
}

/// <summary>The model could not be had on this worker; the message tells why. Nothing is wrong with the tasks, and other models run.</summary>
internal sealed class ModelNotLoadedException(string message, Exception reason) : Exception(message, reason);

/// <summary>A model that stays loaded while it is held.</summary>
internal interface IModelLease : IDisposable
{
    IModel Model { get; }
}
