using System.Text.Json;
using MassTransit;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Transport;

/// <summary>What both transports promise. The in-memory one passes the same suite as RabbitMQ, so that one host behaves as four.</summary>
public abstract class TransportTests
{
    internal abstract Task<string> BrokerAsync();

    [Theory]
    [InlineData("language-id")]
    [InlineData("model.with.dots")]
    public async Task A_chunk_reaches_the_scheduler_whatever_its_model_is_called(string model)
    {
        var scheduler = SchedulerQueue(static (e, l) => l.Take<ChunkSubmitted>(e));
        await using var process = await BusProcess.StartAsync(await BrokerAsync(), scheduler);

        foreach (var latencyClass in Enum.GetValues<LatencyClass>())
        {
            var sent = MessageSamples.Chunk(model, latencyClass);
            await process.Bus.Publish(sent);
            Assert.Equal(sent, await scheduler.NextAsync<ChunkSubmitted>());
        }
    }

    [Fact]
    public async Task A_chunk_that_is_waited_for_reaches_every_scheduler_and_not_the_queue_they_share()
    {
        var shared = SchedulerQueue(static (e, l) => l.Take<ChunkSubmitted>(e));
        Listener[] own = [Scheduler("one"), Scheduler("two")];
        await using var process = await BusProcess.StartAsync(await BrokerAsync(), [shared, .. own]);
        var waited = MessageSamples.Chunk() with { ReplyTo = Guid.NewGuid(), Payload = [1, 2, 3] };
        var kept = MessageSamples.Chunk();

        await process.Bus.Publish(waited);
        await process.Bus.Publish(kept);

        foreach (var scheduler in own)
        {
            Assert.Equivalent(waited, await scheduler.NextAsync<ChunkSubmitted>(), strict: true);
        }

        Assert.Equal(kept, await shared.NextAsync<ChunkSubmitted>());
        Assert.All(own, scheduler => Assert.Empty(scheduler.Rest()));

        static Listener Scheduler(string name) =>
            new(
                name,
                static (endpoint, listener) =>
                {
                    endpoint.AsTemporary(prefetch: 16);
                    endpoint.HearWaited();
                    listener.Take<ChunkSubmitted>(endpoint);
                }
            );
    }

    [Fact]
    public async Task A_dispatch_reaches_the_lane_it_names_and_no_other()
    {
        var (one, two) = (WorkerId.New(DateTimeOffset.UtcNow), WorkerId.New(DateTimeOffset.UtcNow));
        var lanes = (
            from worker in new[] { one, two }
            from lane in Enum.GetValues<Lane>()
            select (Worker: worker, Lane: lane, Listener: WorkerLane(worker, lane))
        ).ToList();
        await using var process = await BusProcess.StartAsync(await BrokerAsync(), [.. lanes.Select(l => l.Listener)]);

        foreach (var (worker, lane, listener) in lanes)
        {
            var sent = MessageSamples.Dispatch(worker, lane);
            await process.Bus.Publish(sent);
            Assert.Equal(sent.Id, (await listener.NextAsync<Dispatch>()).Id);
        }

        Assert.All(lanes, l => Assert.Empty(l.Listener.Rest()));
    }

    [Fact]
    public async Task Every_message_arrives_as_it_was_sent()
    {
        var worker = WorkerId.New(DateTimeOffset.UtcNow);
        var all = new Listener(
            "everything",
            (endpoint, listener) =>
            {
                endpoint.AsTemporary(prefetch: 1);
                Hear<DispatchFinished>(endpoint, listener);
                Hear<WorkerHeartbeat>(endpoint, listener);
                Hear<SchedulerTick>(endpoint, listener);
                Hear<SchedulerChanged>(endpoint, listener);
                Hear<JobChanged>(endpoint, listener);
                Hear<HoldsChanged>(endpoint, listener);
                Hear<Forecast>(endpoint, listener);
                Hear<AskJobDecisions>(endpoint, listener);
            }
        );
        var lane = WorkerLane(worker, Lane.Bulk);
        var scheduler = SchedulerQueue(
            static (e, l) =>
            {
                l.Take<ChunkSubmitted>(e);
                l.Take<ChunksSubmitted>(e);
            }
        );
        await using var process = await BusProcess.StartAsync(await BrokerAsync(), all, lane, scheduler);

        foreach (var sent in MessageSamples.All(worker))
        {
            await process.Bus.Publish(sent, sent.GetType());
            var from =
                sent is ChunkSubmitted or ChunksSubmitted ? scheduler
                : sent is Dispatch ? lane
                : all;
            Assert.Equivalent(sent, await from.NextAsync<object>(), strict: true);
        }
    }

    [Fact]
    public async Task Fields_of_a_newer_version_are_passed_over()
    {
        var listener = new Listener(
            "ticks",
            static (endpoint, l) =>
            {
                endpoint.AsTemporary(prefetch: 1);
                Hear<SchedulerTick>(endpoint, l);
            }
        );
        await using var process = await BusProcess.StartAsync(await BrokerAsync(), listener);
        var instance = Guid.NewGuid();

        var exchange = await process.Bus.GetPublishSendEndpoint<SchedulerTick>();
        await exchange.Send(
            new TickOfTomorrow
            {
                Version = 2,
                Instance = instance,
                SentAt = DateTimeOffset.UnixEpoch,
                Mood = "cheerful",
            }
        );

        var tick = await listener.NextAsync<SchedulerTick>();
        Assert.Equal((2, instance, DateTimeOffset.UnixEpoch), (tick.Version, tick.Instance, tick.SentAt));
    }

    [Fact]
    public async Task What_is_told_to_all_reaches_every_instance()
    {
        var instances = Enumerable
            .Range(0, 3)
            .Select(i => new Listener(
                $"instance-{i}",
                static (endpoint, l) =>
                {
                    endpoint.AsTemporary(prefetch: 10);
                    Hear<WorkerHeartbeat>(endpoint, l);
                }
            ))
            .ToList();
        await using var process = await BusProcess.StartAsync(await BrokerAsync(), [.. instances]);

        var sent = MessageSamples.Heartbeat(WorkerId.New(DateTimeOffset.UtcNow));
        await process.Bus.Publish(sent);

        foreach (var instance in instances)
        {
            Assert.Equal(sent.Worker, (await instance.NextAsync<WorkerHeartbeat>()).Worker);
        }
    }

    [Fact]
    public async Task A_dispatch_whose_consumer_throws_is_told_to_the_scheduler_as_a_fault()
    {
        var worker = WorkerId.New(DateTimeOffset.UtcNow);
        var lane = new Listener(
            Hosting.Bus.LaneQueue(worker, Lane.Bulk),
            (endpoint, _) =>
            {
                endpoint.AsWorkerLane(worker, Lane.Bulk);
                endpoint.Handler<Dispatch>(_ => throw new InvalidOperationException("the device is on fire"));
            }
        );
        var scheduler = SchedulerQueue(static (e, l) => Hear<Fault<Dispatch>>(e, l));
        await using var process = await BusProcess.StartAsync(await BrokerAsync(), lane, scheduler);

        var sent = MessageSamples.Dispatch(worker, Lane.Bulk);
        await process.Bus.Publish(sent);

        var fault = await scheduler.NextAsync<Fault<Dispatch>>();
        Assert.Equal(sent.Id, fault.Message.Id);
        Assert.Equal("the device is on fire", fault.Exceptions[0].Message);
    }

    internal static Listener SchedulerQueue(Action<IReceiveEndpointConfigurator, Listener> listen) =>
        new(
            Hosting.Bus.SchedulerQueue,
            (endpoint, listener) =>
            {
                endpoint.AsSchedulerQueue(prefetch: 16);
                listen(endpoint, listener);
            }
        );

    internal static Listener WorkerLane(WorkerId worker, Lane lane) =>
        new(
            Hosting.Bus.LaneQueue(worker, lane),
            (endpoint, listener) =>
            {
                endpoint.AsWorkerLane(worker, lane);
                listener.Take<Dispatch>(endpoint);
            }
        );

    internal static void Hear<T>(IReceiveEndpointConfigurator endpoint, Listener listener)
        where T : class
    {
        endpoint.Hear<T>();
        listener.Take<T>(endpoint);
    }

    /// <summary>A tick as a later release might send it.</summary>
    [MessageUrn("Pipeline.Contracts:SchedulerTick")]
    [EntityName("pipeline.scheduler-ticks")]
    internal sealed record TickOfTomorrow
    {
        public required int Version { get; init; }
        public required Guid Instance { get; init; }
        public required DateTimeOffset SentAt { get; init; }
        public required string Mood { get; init; }
    }
}

public sealed class InMemoryTransportTests : TransportTests
{
    internal override Task<string> BrokerAsync() => Task.FromResult(PipelineOptions.InMemoryBroker);
}
