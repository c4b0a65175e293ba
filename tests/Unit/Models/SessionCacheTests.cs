using System.Collections.Concurrent;
using Microsoft.Extensions.Logging.Abstractions;
using Pipeline.Contracts;
using Pipeline.GpuWorker;
using Pipeline.GpuWorker.Models;
using Pipeline.GpuWorker.Models.Sessions;
using Xunit;

namespace Pipeline.Tests.Unit.Models;

public sealed class SessionCacheTests : IDisposable
{
    private static readonly ModelRef A = new("a", "1");
    private static readonly ModelRef B = new("b", "1");
    private static readonly ModelRef C = new("c", "1");
    private static readonly CancellationToken Never = CancellationToken.None;

    private readonly FakeLoader _loader = new();
    private readonly SessionCache _cache;

    public SessionCacheTests() => _cache = Cache(budget: 20);

    public void Dispose() => _cache.Dispose();

    [Fact]
    public async Task Loads_a_model_once_and_lends_it_to_all()
    {
        using var first = await _cache.AcquireAsync(A, Never);
        using var second = await _cache.AcquireAsync(A, Never);

        Assert.Same(first.Model, second.Model);
        Assert.Equal(["load a"], _loader.Story);
        Assert.Equal([new LoadedModel(A, "cpu", 10)], _cache.Loaded);
    }

    [Fact]
    public async Task Loads_once_when_many_ask_at_the_same_time()
    {
        var leases = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => Task.Run(() => _cache.AcquireAsync(A, Never))));

        Assert.Equal(["load a"], _loader.Story);
        Assert.All(leases, lease => lease.Dispose());
    }

    [Fact]
    public async Task Closes_what_was_idle_longest_to_make_room()
    {
        await UseAsync(A);
        await UseAsync(B);
        await UseAsync(A);
        await UseAsync(C);

        Assert.Equal(["load a", "load b", "close b", "load c"], _loader.Story);
        Assert.Equal([A, C], _cache.Loaded.Select(loaded => loaded.Model));
    }

    [Fact]
    public async Task Waits_for_room_while_all_of_it_is_lent()
    {
        var a = await _cache.AcquireAsync(A, Never);
        using var b = await _cache.AcquireAsync(B, Never);
        var waiting = _cache.AcquireAsync(C, Never);
        Assert.False(waiting.IsCompleted);

        a.Dispose();
        using var c = await waiting;

        Assert.Equal(["load a", "load b", "close a", "load c"], _loader.Story);
    }

    [Fact]
    public async Task Who_waits_for_room_may_give_up()
    {
        using var a = await _cache.AcquireAsync(A, Never);
        using var b = await _cache.AcquireAsync(B, Never);
        using var stop = new CancellationTokenSource();
        var waiting = _cache.AcquireAsync(C, stop.Token);

        await stop.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
        using var again = await _cache.AcquireAsync(A, Never);
    }

    [Fact]
    public async Task Loads_a_model_larger_than_the_budget_alone()
    {
        _loader.Bytes[B] = 100;
        await UseAsync(A);
        await UseAsync(B);

        Assert.Equal(["load a", "close a", "load b"], _loader.Story);
    }

    [Fact]
    public async Task Makes_room_afterwards_when_a_model_takes_more_than_it_said()
    {
        _loader.Bytes[B] = 15;
        _loader.Estimates[B] = 5;
        await UseAsync(A);
        await UseAsync(B);
        Assert.Equal(["load a", "load b", "close a"], _loader.Story);

        // The next time it knows.
        await UseAsync(A);
        await UseAsync(B);
        Assert.Equal(["load a", "load b", "close a", "close b", "load a", "close a", "load b"], _loader.Story);
    }

    [Fact]
    public async Task A_model_that_fails_to_load_leaves_the_cache_usable()
    {
        _loader.Broken.Add(A);

        await Assert.ThrowsAsync<InvalidModelException>(() => _cache.AcquireAsync(A, Never));
        await UseAsync(B);
        _loader.Broken.Clear();
        await UseAsync(A);

        Assert.Equal(["load b", "load a"], _loader.Story);
    }

    [Fact]
    public async Task A_lease_given_back_twice_counts_once()
    {
        var first = await _cache.AcquireAsync(A, Never);
        using var second = await _cache.AcquireAsync(A, Never);
        first.Dispose();
        first.Dispose();
        await UseAsync(B);
        var third = _cache.AcquireAsync(C, Never);
        using var lease = await third;

        // A is still lent, so B had to go.
        Assert.Equal(["load a", "load b", "close b", "load c"], _loader.Story);
    }

    [Fact]
    public async Task Tells_of_every_load()
    {
        var loads = new List<ModelLoad>();
        _cache.ModelLoaded += loads.Add;
        await UseAsync(A);
        await UseAsync(A);
        await UseAsync(B);

        Assert.Equal([A, B], loads.Select(load => load.Model));
        Assert.All(loads, load => Assert.True(load.ToTimestamp >= load.FromTimestamp && load.MemoryBytes == 10));
    }

    [Fact]
    public async Task Closing_it_closes_what_is_lent_when_it_comes_back()
    {
        var a = await _cache.AcquireAsync(A, Never);
        await UseAsync(B);

        _cache.Dispose();
        Assert.Equal(["load a", "load b", "close b"], _loader.Story);
        a.Dispose();

        Assert.Equal(["load a", "load b", "close b", "close a"], _loader.Story);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => _cache.AcquireAsync(A, Never));
    }

    [Fact]
    public async Task Closing_it_wakes_who_waits_for_room()
    {
        using var a = await _cache.AcquireAsync(A, Never);
        using var b = await _cache.AcquireAsync(B, Never);
        var waiting = _cache.AcquireAsync(C, Never);

        _cache.Dispose();

        await Assert.ThrowsAsync<ObjectDisposedException>(() => waiting);
    }

    [Fact]
    public async Task Keeps_its_budget_and_closes_everything_whatever_is_asked()
    {
        await Task.WhenAll(
            Enumerable
                .Range(0, 8)
                .Select(seed =>
                    Task.Run(async () =>
                    {
                        var random = new Random(seed);
                        for (var i = 0; i < 200; i++)
                        {
                            using var lease = await _cache.AcquireAsync(new ModelRef($"{(char)('a' + random.Next(4))}", "1"), Never);
                            Assert.False(((FakeModel)lease.Model).Closed);
                            if (random.Next(3) == 0)
                                await Task.Yield();
                        }
                    })
                )
        );
        Assert.True(_loader.MostOpenAtOnce <= 2);

        _cache.Dispose();

        Assert.Equal(_loader.Story.Count(line => line.StartsWith("load", StringComparison.Ordinal)), _loader.Story.Count / 2);
        Assert.Equal(0, _loader.Open);
    }

    private static SessionCache CacheOf(FakeLoader loader, long budget) =>
        new(new DeviceProbe("cpu", "a device", []), loader, budget, TimeProvider.System, NullLogger<SessionCache>.Instance);

    private SessionCache Cache(long budget) => CacheOf(_loader, budget);

    private async Task UseAsync(ModelRef model)
    {
        using var lease = await _cache.AcquireAsync(model, Never);
    }

    /// <summary>Models of 10 bytes each, unless told otherwise.</summary>
    private sealed class FakeLoader : IModelLoader
    {
        private readonly ConcurrentQueue<string> _story = new();
        private int _open;

        public ConcurrentQueue<string> Story => _story;

        public Dictionary<ModelRef, long> Bytes { get; } = [];

        public Dictionary<ModelRef, long> Estimates { get; } = [];

        public HashSet<ModelRef> Broken { get; } = [];

        public int Open => _open;

        public int MostOpenAtOnce { get; private set; }

        public long EstimateBytes(ModelRef model) => Estimates.GetValueOrDefault(model, Bytes.GetValueOrDefault(model, 10));

        public IModel Load(ModelRef model)
        {
            if (Broken.Contains(model))
                throw new InvalidModelException(new ModelMistake("model.onnx", "", "a model", "a broken one"));
            _story.Enqueue($"load {model.Name}");
            MostOpenAtOnce = Math.Max(MostOpenAtOnce, Interlocked.Increment(ref _open));
            return new FakeModel(Bytes.GetValueOrDefault(model, 10), () => Close(model));
        }

        private void Close(ModelRef model)
        {
            Interlocked.Decrement(ref _open);
            _story.Enqueue($"close {model.Name}");
        }
    }

    private sealed class FakeModel(long bytes, Action close) : IModel
    {
        public bool Closed { get; private set; }

        public ModelManifest Manifest => throw new NotSupportedException();

        public string Provider => "cpu";

        public string Device => "a device";

        public long MemoryBytes => bytes;

        public int FixedRows => 0;

        public PreparedTask Prepare(ReadOnlyMemory<byte> input) => throw new NotSupportedException();

        public IPackedBatch Pack(ReadOnlySpan<PreparedTask> tasks) => throw new NotSupportedException();

        public IRanBatch Run(IPackedBatch batch, CancellationToken stop) => throw new NotSupportedException();

        public void Dispose()
        {
            Assert.False(Closed);
            Closed = true;
            close();
        }
    }
}
