using MassTransit;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Pipeline.Contracts;
using Pipeline.Hosting.Telemetry;
using InMemoryExchange = MassTransit.Transports.Fabric.ExchangeType;

namespace Pipeline.Hosting;

/// <summary>A part of the system that listens on the bus. Each service registers its own; one bus serves all parts of a process.</summary>
public interface IBusPart
{
    /// <summary>Declares the part's endpoints. Use the <c>As…</c> extensions of <see cref="Bus"/>; handlers only, no consumers by type.</summary>
    void Configure(IBusRegistrationContext context, IReceiveConfigurator bus);
}

/// <summary>
/// The topology on RabbitMQ and on MassTransit's in-memory transport, all of it: names, exchange types, queues, delivery rules.
/// <code>
/// pipeline.arrivals    topic   kept.&lt;class&gt;.&lt;model&gt;    ─> pipeline.scheduler (quorum, single active consumer)
///                              waited.&lt;class&gt;.&lt;model&gt;  ─> a temporary queue of each scheduler
/// pipeline.dispatches  direct  &lt;worker&gt;.&lt;lane&gt;  ─> work.&lt;worker&gt;.&lt;lane&gt; (temporary)
/// pipeline.answers     direct  &lt;instance&gt;       ─> pipeline.ingest.&lt;instance&gt;.answers (temporary)
/// everything else      fanout                  ─> pipeline.scheduler, or a temporary queue of each instance
/// answers to questions (none)                  ─> the temporary queue of the instance that asked
/// </code>
/// A changed topology gets new names: an exchange cannot change its type on a broker that has it.
/// </summary>
public static class Bus
{
    public const string SchedulerQueue = "pipeline.scheduler";
    public const string DeadLetterQueue = "pipeline.dead-letters";

    private const string Kept = "kept";
    private const string Waited = "waited";

    /// <summary>How often the broker delivers a message of a durable queue before it goes to <see cref="DeadLetterQueue"/>.</summary>
    private const int DeliveriesMax = 20;

    /// <summary>A frozen process is noticed after two missed heartbeats (12 s seen with 5 s; 172 s with the client's default).</summary>
    private static readonly TimeSpan ConnectionHeartbeat = TimeSpan.FromSeconds(5);

    /// <summary>Registers the one bus of this process; the parts registered as <see cref="IBusPart"/> declare their endpoints on it.</summary>
    public static IServiceCollection AddPipelineBus(this IServiceCollection services, PipelineOptions options)
    {
        services.AddSingleton(_ => new BusMetrics(options.UsesInMemoryBroker ? "in_memory" : "rabbitmq"));
        services.AddMassTransit(x =>
        {
            // Nothing here reports to anybody unless its operator asks for it.
            x.DisableUsageTelemetry();
            x.AddPublishObserver(static services => services.GetRequiredService<BusMetrics>());
            x.AddReceiveObserver(static services => services.GetRequiredService<BusMetrics>());
            if (options.UsesInMemoryBroker)
            {
                x.UsingInMemory((context, bus) => ConfigureInMemory(context, bus));
            }
            else
            {
                x.UsingRabbitMq((context, bus) => ConfigureRabbitMq(context, bus, new Uri(options.Broker)));
            }
        });
        services.Configure<MassTransitHostOptions>(o =>
        {
            o.WaitUntilStarted = true;
            o.StopTimeout = TimeSpan.FromSeconds(30);
        });
        return services;
    }

    /// <summary>The routing key of a chunk: <c>kept.bulk.language-id</c>, or <c>waited.…</c> where somebody waits for its results.</summary>
    public static string ChunkKey(ChunkSubmitted chunk) =>
        $"{(chunk.ReplyTo is null ? Kept : Waited)}.{chunk.Class.Name()}.{chunk.Model.Name}";

    /// <summary>The routing key of chunks that are announced together: that of each.</summary>
    public static string ChunksKey(ChunksSubmitted submitted) => ChunkKey(submitted.Chunks[0]);

    /// <summary>The routing key of a dispatch: <c>&lt;worker&gt;.express</c>.</summary>
    public static string DispatchKey(WorkerId worker, Lane lane) => $"{worker}.{lane.Name()}";

    /// <summary>The name of a worker's own queue.</summary>
    public static string LaneQueue(WorkerId worker, Lane lane) => $"work.{worker}.{lane.Name()}";

    /// <summary>
    /// The queue all schedulers share. Durable and replicated; only one of them is served (single active consumer), in order.
    /// Chunks that are kept are bound by topic; bind the rest with <see cref="Hear{T}"/>.
    /// </summary>
    public static void AsSchedulerQueue(this IReceiveEndpointConfigurator endpoint, ushort prefetch)
    {
        endpoint.ConfigureConsumeTopology = false;
        endpoint.PrefetchCount = prefetch;
        endpoint.ConcurrentMessageLimit = prefetch;
        if (endpoint is IRabbitMqReceiveEndpointConfigurator rabbit)
        {
            rabbit.SetQuorumQueue();
            rabbit.SingleActiveConsumer = true;
            rabbit.SetQueueArgument("x-delivery-limit", DeliveriesMax);
            rabbit.BindDeadLetterQueue(DeadLetterQueue, DeadLetterQueue, q => q.SetQuorumQueue());
        }

        BindChunks(endpoint, Kept);
    }

    /// <summary>
    /// Lets a temporary queue hear the chunks that somebody waits for. They do not wait for a disk here: what the broker loses is announced
    /// again, and kept, by who sent it.
    /// </summary>
    public static void HearWaited(this IReceiveEndpointConfigurator endpoint) => BindChunks(endpoint, Waited);

    private static void BindChunks(IReceiveEndpointConfigurator endpoint, string kind)
    {
        if (endpoint is IRabbitMqReceiveEndpointConfigurator rabbit)
        {
            rabbit.Bind<ChunkSubmitted>(b =>
            {
                b.ExchangeType = "topic";
                b.RoutingKey = $"{kind}.#";
            });
        }
        else
        {
            ((IInMemoryReceiveEndpointConfigurator)endpoint).Bind<ChunkSubmitted>(InMemoryExchange.Topic, $"{kind}.#");
        }
    }

    /// <summary>
    /// A queue of this instance alone, gone with its connection; what was in it is not missed. What its consumer throws over is told
    /// as a <see cref="Fault{T}"/> and dropped: an error queue would outlive every instance.
    /// </summary>
    public static void AsTemporary(this IReceiveEndpointConfigurator endpoint, ushort prefetch)
    {
        endpoint.ConfigureConsumeTopology = false;
        endpoint.PrefetchCount = prefetch;
        endpoint.DiscardFaultedMessages();
        endpoint.DiscardSkippedMessages();
        if (endpoint is IRabbitMqReceiveEndpointConfigurator rabbit)
        {
            rabbit.Durable = false;
            rabbit.AutoDelete = true;
        }
    }

    /// <summary>
    /// One lane of a worker: temporary, since what was in it is planned again from PostgreSQL. At most one dispatch runs and one is
    /// staged, so two are prefetched; each is acknowledged after its commit.
    /// </summary>
    public static void AsWorkerLane(this IReceiveEndpointConfigurator endpoint, WorkerId worker, Lane lane)
    {
        endpoint.AsTemporary(prefetch: 2);
        endpoint.ConcurrentMessageLimit = 2;
        if (endpoint is IRabbitMqReceiveEndpointConfigurator rabbit)
        {
            rabbit.Bind<Dispatch>(b =>
            {
                b.ExchangeType = "direct";
                b.RoutingKey = DispatchKey(worker, lane);
            });
        }
        else
        {
            ((IInMemoryReceiveEndpointConfigurator)endpoint).Bind<Dispatch>(InMemoryExchange.Topic, DispatchKey(worker, lane));
        }
    }

    /// <summary>The routing key of answers to an ingest instance.</summary>
    public static string AnswerKey(Guid instance) => instance.ToString("N");

    /// <summary>
    /// Where an ingest instance hears of the tasks it waits for: temporary. An answer to an instance that is gone is dropped by the broker,
    /// and leaves nothing behind.
    /// </summary>
    public static void AsAnswerQueue(this IReceiveEndpointConfigurator endpoint, Guid instance, ushort prefetch)
    {
        endpoint.AsTemporary(prefetch);
        if (endpoint is IRabbitMqReceiveEndpointConfigurator rabbit)
        {
            rabbit.Bind<TaskAnswered>(b =>
            {
                b.ExchangeType = "direct";
                b.RoutingKey = AnswerKey(instance);
            });
        }
        else
        {
            ((IInMemoryReceiveEndpointConfigurator)endpoint).Bind<TaskAnswered>(InMemoryExchange.Topic, AnswerKey(instance));
        }
    }

    /// <summary>Lets the endpoint hear every message of a kind (fan-out).</summary>
    public static void Hear<T>(this IReceiveEndpointConfigurator endpoint)
        where T : class
    {
        if (endpoint is IRabbitMqReceiveEndpointConfigurator rabbit)
        {
            rabbit.Bind<T>();
        }
        else
        {
            ((IInMemoryReceiveEndpointConfigurator)endpoint).Bind<T>(InMemoryExchange.FanOut, null);
        }
    }

    private static void ConfigureRabbitMq(IBusRegistrationContext context, IRabbitMqBusFactoryConfigurator bus, Uri broker)
    {
        var host = new UriBuilder(broker)
        {
            Scheme = broker.Scheme == "amqps" ? "rabbitmqs" : "rabbitmq",
            UserName = "",
            Password = "",
        };
        bus.Host(
            host.Uri,
            h =>
            {
                var user = broker.UserInfo.Split(':', 2);
                h.Username(user[0].Length > 0 ? Uri.UnescapeDataString(user[0]) : "guest");
                h.Password(user.Length > 1 ? Uri.UnescapeDataString(user[1]) : "guest");
                h.Heartbeat(ConnectionHeartbeat);
                h.PublisherConfirmation = true;
                h.ConnectionName($"pipeline {Environment.ProcessId}");
            }
        );
        NameExchanges(bus);
        bus.Publish<ChunkSubmitted>(p => p.ExchangeType = "topic");
        bus.Publish<ChunksSubmitted>(p => p.ExchangeType = "topic");
        bus.Publish<Dispatch>(p => p.ExchangeType = "direct");
        bus.Publish<TaskAnswered>(p => p.ExchangeType = "direct");
        ConfigureBoth(context, bus);
    }

    private static void ConfigureInMemory(IBusRegistrationContext context, IInMemoryBusFactoryConfigurator bus)
    {
        // Routing by key works here only with the topic type on publish and on bind; with "direct" every binding gets every message.
        NameExchanges(bus);
        bus.Publish<ChunkSubmitted>(p => p.ExchangeType = InMemoryExchange.Topic);
        bus.Publish<ChunksSubmitted>(p => p.ExchangeType = InMemoryExchange.Topic);
        bus.Publish<Dispatch>(p => p.ExchangeType = InMemoryExchange.Topic);
        bus.Publish<TaskAnswered>(p => p.ExchangeType = InMemoryExchange.Topic);
        ConfigureBoth(context, bus);
    }

    /// <summary>The exchange of a kind of message; <c>other</c> for what is none of ours.</summary>
    public static string ExchangeOf(Type message) => Exchanges.GetValueOrDefault(message, "other");

    private static readonly Dictionary<Type, string> Exchanges = new()
    {
        [typeof(ChunkSubmitted)] = "pipeline.arrivals",
        [typeof(ChunksSubmitted)] = "pipeline.arrivals",
        [typeof(Dispatch)] = "pipeline.dispatches",
        [typeof(TaskAnswered)] = "pipeline.answers",
        [typeof(DispatchFinished)] = "pipeline.dispatches-finished",
        [typeof(WorkerHeartbeat)] = "pipeline.heartbeats",
        [typeof(SchedulerTick)] = "pipeline.scheduler-ticks",
        [typeof(SchedulerChanged)] = "pipeline.scheduler-changes",
        [typeof(JobChanged)] = "pipeline.job-changes",
        [typeof(JobChangeObserved)] = "pipeline.job-change-answers",
        [typeof(HoldsChanged)] = "pipeline.hold-changes",
        [typeof(HoldsObserved)] = "pipeline.hold-answers",
        [typeof(Forecast)] = "pipeline.forecasts",
        [typeof(AskJobDecisions)] = "pipeline.decision-questions",
        [typeof(JobDecisions)] = "pipeline.decision-answers",
    };

    /// <summary>First of all: whatever else is said of a message settles its exchange's name.</summary>
    private static void NameExchanges(IBusFactoryConfigurator bus)
    {
        Name<ChunkSubmitted>();
        Name<ChunksSubmitted>();
        Name<Dispatch>();
        Name<TaskAnswered>();
        Name<DispatchFinished>();
        Name<WorkerHeartbeat>();
        Name<SchedulerTick>();
        Name<SchedulerChanged>();
        Name<JobChanged>();
        Name<JobChangeObserved>();
        Name<HoldsChanged>();
        Name<HoldsObserved>();
        Name<Forecast>();
        Name<AskJobDecisions>();
        Name<JobDecisions>();

        void Name<T>()
            where T : class => bus.Message<T>(m => m.SetEntityName(ExchangeOf(typeof(T))));
    }

    private static void ConfigureBoth(IBusRegistrationContext context, IBusFactoryConfigurator bus)
    {
        bus.Send<ChunkSubmitted>(s => s.UseRoutingKeyFormatter(c => ChunkKey(c.Message)));
        bus.Send<ChunksSubmitted>(s => s.UseRoutingKeyFormatter(c => ChunksKey(c.Message)));
        bus.Send<Dispatch>(s => s.UseRoutingKeyFormatter(c => DispatchKey(c.Message.Worker, c.Message.Lane)));
        bus.Send<TaskAnswered>(s => s.UseRoutingKeyFormatter(c => AnswerKey(c.Message.ReplyTo)));
        bus.ConfigurePublish(p => p.UseExecute(SetDelivery));
        foreach (var part in context.GetServices<IBusPart>())
        {
            part.Configure(context, bus);
        }
    }

    /// <summary>
    /// An unroutable message is confirmed all the same; <c>mandatory</c> turns it into a <c>MessageReturnedException</c> for the
    /// kinds that must reach somebody. What is sent every second, or again if need be, need not survive a restart of the broker.
    /// </summary>
    private static void SetDelivery(PublishContext context)
    {
        if (
            context is SendContext<ChunkSubmitted> or SendContext<ChunksSubmitted> or SendContext<Dispatch>
            && context.TryGetPayload<RabbitMqSendContext>(out var rabbit)
        )
        {
            rabbit.Mandatory = true;
        }

        if (
            context
            is SendContext<WorkerHeartbeat>
                or SendContext<SchedulerTick>
                or SendContext<SchedulerChanged>
                or SendContext<Forecast>
                or SendContext<AskJobDecisions>
                or SendContext<Dispatch>
                or SendContext<TaskAnswered>
                or SendContext<ChunkSubmitted> { Message.ReplyTo: not null }
        )
        {
            context.Durable = false;
        }
    }
}
