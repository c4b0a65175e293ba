using Microsoft.Extensions.Logging;
using Pipeline.Contracts;

namespace Pipeline.GpuWorker.Models.Sessions;

/// <summary>
/// The models loaded on one device, within a memory budget: what is asked for is loaded and warmed, and what was idle longest makes
/// room. A model that is lent stays; when all room is lent, who wants another model waits until a lease comes back. So nobody may wait
/// for a second model while holding the first for it. One model is loaded at a time, as the device has one warm-up account.
/// </summary>
internal sealed partial class SessionCache : IModelSource, IDisposable
{
    private readonly DeviceProbe _device;
    private readonly IModelLoader _loader;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly SemaphoreSlim _loading = new(1, 1);
    private readonly Lock _lock = new();
    private readonly Dictionary<ModelRef, Entry> _entries = [];

    /// <summary>What a model took when it was last loaded: a better estimate than its files.</summary>
    private readonly Dictionary<ModelRef, long> _measured = [];
    private TaskCompletionSource _returned = NewSignal();
    private long _uses;
    private bool _disposed;

    /// <param name="device">Where the models run.</param>
    /// <param name="loader">Where they come from.</param>
    /// <param name="memoryBudgetBytes">What they may hold together. One larger model is loaded all the same, alone.</param>
    /// <param name="time">Measures how long loading takes.</param>
    /// <param name="log">Told of every load and eviction.</param>
    public SessionCache(DeviceProbe device, IModelLoader loader, long memoryBudgetBytes, TimeProvider time, ILogger<SessionCache> log)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(memoryBudgetBytes, 1);
        (_device, _loader, MemoryBudgetBytes, _time, _log) = (device, loader, memoryBudgetBytes, time, log);
    }

    /// <summary>Tells of every load when it has ended, for the warm-up account. Handlers must be quick and must not throw.</summary>
    public event Action<ModelLoad>? ModelLoaded;

    public string Provider => _device.Provider;

    public string Device => _device.Device;

    public long MemoryBudgetBytes { get; }

    public IReadOnlyList<LoadedModel> Loaded
    {
        get
        {
            lock (_lock)
            {
                return
                [
                    .. _entries
                        .Values.Select(entry => new LoadedModel(entry.Ref, entry.Model.Provider, entry.Model.MemoryBytes))
                        .OrderBy(loaded => loaded.Model.ToString(), StringComparer.Ordinal),
                ];
            }
        }
    }

    /// <exception cref="InvalidModelException">There is no such model, or it cannot be used.</exception>
    /// <exception cref="OnnxRuntime.OnnxRuntimeException">The device is at fault.</exception>
    /// <exception cref="ObjectDisposedException">The cache is closed.</exception>
    public async Task<IModelLease> AcquireAsync(ModelRef model, CancellationToken stop)
    {
        if (TryLend(model) is { } lent)
            return lent;
        await _loading.WaitAsync(stop);
        try
        {
            // Whoever loaded before us may have loaded this one.
            return TryLend(model) ?? await LoadAsync(model, stop);
        }
        finally
        {
            _loading.Release();
        }
    }

    /// <summary>Closes the cache; what is lent is closed when it comes back.</summary>
    public void Dispose()
    {
        List<Entry> idle;
        lock (_lock)
        {
            _disposed = true;
            idle = [.. _entries.Values.Where(entry => entry.Leases == 0)];
            idle.ForEach(entry => _entries.Remove(entry.Ref));
            _returned.TrySetResult();
        }
        idle.ForEach(entry => entry.Model.Dispose());
    }

    private Lease? TryLend(ModelRef model)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (!_entries.TryGetValue(model, out var entry))
                return null;
            entry.Leases++;
            return new Lease(this, entry);
        }
    }

    private async Task<IModelLease> LoadAsync(ModelRef model, CancellationToken stop)
    {
        await MakeRoomAsync(_measured.GetValueOrDefault(model, _loader.EstimateBytes(model)), stop);
        var from = _time.GetTimestamp();
        var loaded = await Task.Run(() => _loader.Load(model), stop);
        var load = new ModelLoad(model, loaded.MemoryBytes, from, _time.GetTimestamp());
        Lease lease;
        lock (_lock)
        {
            _measured[model] = loaded.MemoryBytes;
            var entry = new Entry(model, loaded) { Leases = 1 };
            _entries.Add(model, entry);
            lease = new Lease(this, entry);
        }
        LogLoaded(model, load.MemoryBytes, _time.GetElapsedTime(load.FromTimestamp, load.ToTimestamp).TotalMilliseconds);
        ModelLoaded?.Invoke(load);
        // It may have taken more than was estimated.
        Evict(0);
        return lease;
    }

    private async Task MakeRoomAsync(long bytes, CancellationToken stop)
    {
        while (true)
        {
            Task returned;
            lock (_lock)
            {
                ObjectDisposedException.ThrowIf(_disposed, this);
                returned = _returned.Task;
            }
            if (Evict(bytes))
                return;
            await returned.WaitAsync(stop);
        }
    }

    /// <summary>Closes idle models, the longest idle first, until so many bytes are free.</summary>
    /// <returns>False when models that are lent stand in the way.</returns>
    private bool Evict(long bytes)
    {
        var evicted = new List<Entry>();
        bool enough;
        lock (_lock)
        {
            var held = _entries.Values.Sum(entry => entry.Model.MemoryBytes);
            foreach (var idle in _entries.Values.Where(entry => entry.Leases == 0).OrderBy(entry => entry.LastUse).ToList())
            {
                if (held + bytes <= MemoryBudgetBytes)
                    break;
                _entries.Remove(idle.Ref);
                evicted.Add(idle);
                held -= idle.Model.MemoryBytes;
            }
            enough = held + bytes <= MemoryBudgetBytes || _entries.Count == 0;
        }
        foreach (var entry in evicted)
        {
            entry.Model.Dispose();
            LogEvicted(entry.Ref, entry.Model.MemoryBytes);
        }
        return enough;
    }

    private void Return(Entry entry)
    {
        TaskCompletionSource? signal = null;
        bool close;
        lock (_lock)
        {
            entry.LastUse = ++_uses;
            if (--entry.Leases == 0)
            {
                signal = _returned;
                _returned = NewSignal();
            }
            close = _disposed && entry.Leases == 0 && _entries.Remove(entry.Ref);
        }
        if (close)
            entry.Model.Dispose();
        signal?.TrySetResult();
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private sealed class Entry(ModelRef model, IModel loaded)
    {
        public ModelRef Ref => model;

        public IModel Model => loaded;

        public int Leases { get; set; }

        public long LastUse { get; set; }
    }

    private sealed class Lease(SessionCache cache, Entry entry) : IModelLease
    {
        private SessionCache? _cache = cache;

        public IModel Model => entry.Model;

        public void Dispose() => Interlocked.Exchange(ref _cache, null)?.Return(entry);
    }

    [LoggerMessage(1, LogLevel.Information, "Loaded {Model}: {MemoryBytes} bytes, {Milliseconds:F0} ms.")]
    private partial void LogLoaded(ModelRef model, long memoryBytes, double milliseconds);

    [LoggerMessage(2, LogLevel.Information, "Closed {Model} to make room: {MemoryBytes} bytes.")]
    private partial void LogEvicted(ModelRef model, long memoryBytes);
}

/// <summary>One load of a model, warm-up included. Timestamps are the cache's <see cref="TimeProvider.GetTimestamp"/>.</summary>
internal sealed record ModelLoad(ModelRef Model, long MemoryBytes, long FromTimestamp, long ToTimestamp);
