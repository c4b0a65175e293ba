using System.Text.Json;
using MassTransit;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Tests.Support.Servers;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;
using RabbitMQ.Client.Exceptions;
using Xunit;

namespace Pipeline.Tests.Integration.Transport;

/// <summary>The shared suite on RabbitMQ, and what only a broker can do: lose queues, hand a queue on, keep what nobody can read.</summary>
public sealed class RabbitMqTransportTests : TransportTests, IAsyncLifetime
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private TestVhost _vhost = null!;

    internal override Task<string> BrokerAsync() => Task.FromResult(_vhost.Uri);

    public async ValueTask InitializeAsync() => _vhost = await TestRabbitMq.CreateVhostAsync();

    public ValueTask DisposeAsync() => _vhost.DisposeAsync();

    [Fact]
    public async Task A_dispatch_to_a_worker_that_is_gone_comes_back_while_others_go_on()
    {
        var (gone, alive) = (WorkerId.New(DateTimeOffset.UtcNow), WorkerId.New(DateTimeOffset.UtcNow));
        var lane = WorkerLane(alive, Lane.Bulk);
        await using var scheduler = await BusProcess.StartAsync(_vhost.Uri);
        await using var worker = await BusProcess.StartAsync(_vhost.Uri, lane);
        await using (await BusProcess.StartAsync(_vhost.Uri, WorkerLane(gone, Lane.Bulk)))
        {
            await scheduler.Bus.Publish(MessageSamples.Dispatch(gone, Lane.Bulk));
        }

        await Assert.ThrowsAsync<MessageReturnedException>(() => scheduler.Bus.Publish(MessageSamples.Dispatch(gone, Lane.Bulk)));

        var sent = MessageSamples.Dispatch(alive, Lane.Bulk);
        await scheduler.Bus.Publish(sent);
        Assert.Equal(sent.Id, (await lane.NextAsync<Dispatch>()).Id);
    }

    [Fact]
    public async Task A_chunk_that_no_queue_takes_comes_back()
    {
        await using var ingest = await BusProcess.StartAsync(_vhost.Uri);

        await Assert.ThrowsAsync<MessageReturnedException>(() => ingest.Bus.Publish(MessageSamples.Chunk()));
        await Assert.ThrowsAsync<MessageReturnedException>(() =>
            ingest.Bus.Publish(new ChunksSubmitted { Chunks = [MessageSamples.Chunk()] })
        );
    }

    [Fact]
    public async Task One_scheduler_is_served_and_the_spare_takes_over()
    {
        var (first, second) = (
            SchedulerQueue(static (e, l) => l.Take<ChunkSubmitted>(e)),
            SchedulerQueue(static (e, l) => l.Take<ChunkSubmitted>(e))
        );
        await using var active = await BusProcess.StartAsync(_vhost.Uri, first);
        await using var spare = await BusProcess.StartAsync(_vhost.Uri, second);
        for (var i = 0; i < 20; i++)
        {
            await spare.Bus.Publish(MessageSamples.Chunk());
            await first.NextAsync<ChunkSubmitted>();
        }

        Assert.Empty(second.Rest());
        await active.DisposeAsync();
        var sent = MessageSamples.Chunk();
        await spare.Bus.Publish(sent);
        Assert.Equal(sent, await second.NextAsync<ChunkSubmitted>());
    }

    [Fact]
    public async Task Queues_are_what_the_topology_says()
    {
        var worker = WorkerId.New(DateTimeOffset.UtcNow);
        var scheduler = SchedulerQueue(static (e, l) => l.Take<ChunkSubmitted>(e));
        await using (await BusProcess.StartAsync(_vhost.Uri, scheduler, WorkerLane(worker, Lane.Express)))
        {
            var shared = await QueueAsync(Hosting.Bus.SchedulerQueue);
            Assert.NotNull(shared);
            Assert.True(shared.Durable);
            Assert.Equal("quorum", shared.Arguments["x-queue-type"].GetString());
            Assert.True(shared.Arguments["x-single-active-consumer"].GetBoolean());
            Assert.Equal(20, shared.Arguments["x-delivery-limit"].GetInt32());
            Assert.Equal(Hosting.Bus.DeadLetterQueue, shared.Arguments["x-dead-letter-exchange"].GetString());

            var lane = await QueueAsync(Hosting.Bus.LaneQueue(worker, Lane.Express));
            Assert.NotNull(lane);
            Assert.False(lane.Durable);
            Assert.True(lane.AutoDelete);
        }

        Assert.Null(await QueueAsync(Hosting.Bus.LaneQueue(worker, Lane.Express)));
        Assert.NotNull(await QueueAsync(Hosting.Bus.SchedulerQueue));
        var exchanges = await _vhost.GetAsync<Named[]>("exchanges/{vhost}");
        Assert.DoesNotContain(exchanges!, e => e.Name.Contains(worker.ToString(), StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_faulted_dispatch_leaves_no_queue_behind()
    {
        var worker = WorkerId.New(DateTimeOffset.UtcNow);
        var lane = new Listener(
            Hosting.Bus.LaneQueue(worker, Lane.Bulk),
            (endpoint, _) =>
            {
                endpoint.AsWorkerLane(worker, Lane.Bulk);
                endpoint.Handler<Dispatch>(_ => throw new InvalidOperationException("no"));
            }
        );
        var scheduler = SchedulerQueue(static (e, l) => Hear<Fault<Dispatch>>(e, l));
        await using (var process = await BusProcess.StartAsync(_vhost.Uri, lane, scheduler))
        {
            await process.Bus.Publish(MessageSamples.Dispatch(worker, Lane.Bulk));
            await scheduler.NextAsync<Fault<Dispatch>>();
        }

        var queues = await _vhost.GetAsync<Named[]>("queues/{vhost}");
        Assert.DoesNotContain(queues!, q => q.Name.Contains(worker.ToString(), StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(typeof(ChunkSubmitted), true)]
    [InlineData(typeof(ChunksSubmitted), true)]
    [InlineData(typeof(DispatchFinished), true)]
    [InlineData(typeof(JobChanged), true)]
    [InlineData(typeof(Dispatch), false)]
    [InlineData(typeof(WorkerHeartbeat), false)]
    [InlineData(typeof(SchedulerTick), false)]
    [InlineData(typeof(SchedulerChanged), false)]
    [InlineData(typeof(Forecast), false)]
    public async Task Only_what_must_survive_the_broker_is_written_to_disk(Type kind, bool persistent)
    {
        var sent = MessageSamples.All(WorkerId.New(DateTimeOffset.UtcNow)).Single(m => m.GetType() == kind);
        await using var process = await BusProcess.StartAsync(
            _vhost.Uri,
            SchedulerQueue(static (e, l) => l.Take<ChunkSubmitted>(e)),
            WorkerLane(WorkerId.New(DateTimeOffset.UtcNow), Lane.Bulk),
            new Listener(
                "all",
                static (endpoint, l) =>
                {
                    endpoint.AsTemporary(prefetch: 1);
                    Hear<DispatchFinished>(endpoint, l);
                    Hear<JobChanged>(endpoint, l);
                    Hear<WorkerHeartbeat>(endpoint, l);
                    Hear<SchedulerTick>(endpoint, l);
                    Hear<SchedulerChanged>(endpoint, l);
                    Hear<Forecast>(endpoint, l);
                }
            )
        );
        await using var probe = await ProbeAsync();
        await probe.Channel.QueueDeclareAsync("probe", durable: false, exclusive: true, autoDelete: true);
        var key = sent is Dispatch d ? Hosting.Bus.DispatchKey(d.Worker, d.Lane) : "#";
        await probe.Channel.QueueBindAsync("probe", EntityNames[kind], key);

        await process.Bus.Publish(sent, kind);

        var message = await probe.NextAsync("probe");
        Assert.Equal(persistent, message.BasicProperties.Persistent);
    }

    [Fact]
    public async Task What_is_delivered_again_and_again_ends_in_the_dead_letter_queue()
    {
        await using (await BusProcess.StartAsync(_vhost.Uri, SchedulerQueue(static (e, l) => l.Take<ChunkSubmitted>(e))))
        {
            // Declares the queues.
        }

        await using (var ingest = await BusProcess.StartAsync(_vhost.Uri))
        {
            await ingest.Bus.Publish(MessageSamples.Chunk());
        }

        await using var probe = await ProbeAsync();
        var deliveries = 0;
        var consumer = new AsyncEventingBasicConsumer(probe.Channel);
        consumer.ReceivedAsync += async (_, delivery) =>
        {
            deliveries++;
            await probe.Channel.BasicNackAsync(delivery.DeliveryTag, multiple: false, requeue: true);
        };
        await probe.Channel.BasicConsumeAsync(Hosting.Bus.SchedulerQueue, autoAck: false, consumer);

        Assert.NotNull(await probe.NextAsync(Hosting.Bus.DeadLetterQueue));
        Assert.Equal(21, deliveries);
    }

    [Fact]
    public async Task What_cannot_be_read_ends_in_a_queue_that_can_be_seen()
    {
        var scheduler = SchedulerQueue(static (e, l) => l.Take<ChunkSubmitted>(e));
        await using var process = await BusProcess.StartAsync(_vhost.Uri, scheduler);
        await using var probe = await ProbeAsync();

        await probe.Channel.BasicPublishAsync(
            "pipeline.arrivals",
            "kept.bulk.x",
            mandatory: true,
            new BasicProperties { ContentType = "application/vnd.masstransit+json" },
            """{"messageId":"00000000-0000-0000-0000-000000000001","messageType":["urn:message:Pipeline.Contracts:ChunkSubmitted"],"message":{"no":"many"}}"""u8.ToArray()
        );

        Assert.NotNull(await FirstOfAsync($"{Hosting.Bus.SchedulerQueue}_error"));
        var sent = MessageSamples.Chunk();
        await process.Bus.Publish(sent);
        Assert.Equal(sent, await scheduler.NextAsync<ChunkSubmitted>());
    }

    private static readonly Dictionary<Type, string> EntityNames = new()
    {
        [typeof(ChunkSubmitted)] = "pipeline.arrivals",
        [typeof(ChunksSubmitted)] = "pipeline.arrivals",
        [typeof(Dispatch)] = "pipeline.dispatches",
        [typeof(DispatchFinished)] = "pipeline.dispatches-finished",
        [typeof(WorkerHeartbeat)] = "pipeline.heartbeats",
        [typeof(SchedulerTick)] = "pipeline.scheduler-ticks",
        [typeof(SchedulerChanged)] = "pipeline.scheduler-changes",
        [typeof(JobChanged)] = "pipeline.job-changes",
        [typeof(Forecast)] = "pipeline.forecasts",
    };

    private async Task<QueueInfo?> QueueAsync(string name) =>
        (await _vhost.GetAsync<QueueInfo[]>("queues/{vhost}"))!.SingleOrDefault(q => q.Name == name);

    private async Task<Probe> ProbeAsync()
    {
        var connection = await new ConnectionFactory { Uri = new Uri(_vhost.Uri) }.CreateConnectionAsync();
        return new Probe(connection, await connection.CreateChannelAsync());
    }

    /// <summary>
    /// The first message of a queue that is being declared. Before that RabbitMQ knows no such queue (404); and just after it, on a busy machine, it
    /// was seen to close the connection of who consumes from it (541).
    /// </summary>
    private async Task<BasicDeliverEventArgs> FirstOfAsync(string queue)
    {
        using var patience = new CancellationTokenSource(Patience);
        while (true)
        {
            await using var probe = await ProbeAsync();
            try
            {
                return await probe.NextAsync(queue);
            }
            catch (OperationInterruptedException) when (!patience.IsCancellationRequested)
            {
                await Task.Delay(20);
            }
        }
    }

    /// <summary>A bare client beside the bus.</summary>
    private sealed record Probe(IConnection Connection, IChannel Channel) : IAsyncDisposable
    {
        /// <summary>The queue's next message. By a consumer: a queue with a single active one refuses to be pulled from.</summary>
        public async Task<BasicDeliverEventArgs> NextAsync(string queue)
        {
            var next = new TaskCompletionSource<BasicDeliverEventArgs>(TaskCreationOptions.RunContinuationsAsynchronously);
            var consumer = new AsyncEventingBasicConsumer(Channel);
            consumer.ReceivedAsync += (_, delivery) =>
            {
                next.TrySetResult(delivery);
                return Task.CompletedTask;
            };
            await Channel.BasicConsumeAsync(queue, autoAck: true, consumer);
            return await next.Task.WaitAsync(Patience);
        }

        public async ValueTask DisposeAsync()
        {
            await Channel.DisposeAsync();
            await Connection.DisposeAsync();
        }
    }

    private sealed record Named(string Name);

    private sealed record QueueInfo(string Name, bool Durable, Dictionary<string, JsonElement> Arguments)
    {
        [System.Text.Json.Serialization.JsonPropertyName("auto_delete")]
        public bool AutoDelete { get; init; }
    }
}
