using System.Text.Json;
using System.Text.Json.Nodes;
using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Unit.Contracts;

/// <summary>Messages meet older and newer processes: what is unknown is ignored, and what was sent arrives.</summary>
public sealed class MessagesTests
{
    /// <summary>The way MassTransit's serializer reads and writes.</summary>
    private static readonly JsonSerializerOptions Wire = new(JsonSerializerDefaults.Web);

    private static readonly DateTimeOffset Now = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
    private static readonly JobId Job = JobId.New(Now);
    private static readonly WorkerId Worker = WorkerId.New(Now);
    private static readonly ModelRef Model = new("language-id", "1.0.0");
    private static readonly Slice Part = new(Job, 3, 0, 512);

    private static readonly ChunkSubmitted Chunk = new()
    {
        Job = Job,
        No = 3,
        Tenant = TenantId.New(Now),
        Model = Model,
        Class = LatencyClass.Bulk,
        Deadline = Now.AddHours(1),
        QueuedAt = Now,
        FirstSeq = 1536,
        Tasks = 512,
        Units = 30_000,
        UnitsMax = 512,
        ReplyTo = Guid.CreateVersion7(Now),
        Payload = [1, 0, 255],
    };

    public static TheoryData<string> Kinds => [.. Samples.Keys];

    private static readonly Dictionary<string, object> Samples = new object[]
    {
        Chunk,
        new ChunksSubmitted { Chunks = [Chunk, Chunk with { No = 4 }] },
        new Dispatch
        {
            Id = DispatchId.New(Now),
            Epoch = 7,
            Worker = Worker,
            Lane = Lane.Express,
            Model = Model,
            Slices = [Part],
            BatchTimeMax = TimeSpan.FromMilliseconds(250),
            PaddedUnitsMax = 65_536,
            CommitRowsMax = 1,
            Reason = "express_first",
            Notes = [new SliceNote(0, Guid.CreateVersion7(Now), 1536, Now, [1, 0, 255])],
        },
        new TaskAnswered
        {
            ReplyTo = Guid.CreateVersion7(Now),
            Answers =
            [
                new TaskAnswer(Job, 0, "a-1", "succeeded", [123, 125], "application/json", null, null, "m@1", 1, 556, 12, 3, 4, 25),
                new TaskAnswer(Job, 1, "a-2", "failed", null, null, "model_failed", "no", "m@1", 1, 0, 12, 3, 4, 25),
            ],
        },
        new DispatchFinished
        {
            Id = DispatchId.New(Now),
            Epoch = 7,
            Worker = Worker,
            Lane = Lane.Bulk,
            Model = Model,
            Slices = [new SliceReport(Job, 3, 0, 512, SliceOutcome.HandedBack)],
            Batches = [new BatchFact(64, 1000, 1200, 5_000_000)],
        },
        new WorkerHeartbeat
        {
            Worker = Worker,
            Name = "worker-1",
            Pool = "default",
            Provider = "cpu",
            Device = "CPU",
            PricePerHourPico = Cost.PicoPerUsd,
            UptimeNs = 1_000_000_000,
            Models = [new LoadedModel(Model, "cpu", 1 << 20)],
            MemoryBudgetBytes = 1L << 32,
            Epoch = 7,
            Held = [new HeldDispatch(DispatchId.New(Now), 7, Lane.Bulk, true, [Part])],
            Draining = false,
        },
        new SchedulerTick { Instance = Guid.CreateVersion7(Now), SentAt = Now },
        new SchedulerChanged { Epoch = 8, Instance = Guid.CreateVersion7(Now) },
        new JobChanged
        {
            Job = Job,
            Change = JobChange.Moved,
            Class = LatencyClass.Standard,
            Deadline = Now,
            Since = Now,
        },
        new HoldsChanged(),
        new HoldsObserved(),
        new JobChangeObserved(),
        new Forecast
        {
            At = Now,
            Pools =
            [
                new PoolForecast("default", Model, 2, [0, 10, 500], 1e6, 200, 65_536)
                {
                    ErrorBand = 0.1,
                    PricePerHourPico = 3,
                    ExpressFreeAt = Now,
                },
            ],
        },
        new AskJobDecisions { Job = Job, Most = 64 },
        new JobDecisions
        {
            Job = Job,
            Epoch = 13,
            Since = Now,
            Decisions =
            [
                new DecisionTold
                {
                    At = Now,
                    Kind = "promote_job",
                    Reason = "promote.laxity",
                    TasksOfJob = 10,
                    Tasks = 10,
                    Units = 500,
                    Estimated = TimeSpan.FromSeconds(1),
                    Slack = TimeSpan.FromSeconds(-1),
                    ChunksWaiting = 2,
                },
            ],
        },
    }.ToDictionary(message => message.GetType().Name);

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_message_arrives_as_it_was_sent(string kind)
    {
        var sent = Samples[kind];
        var json = JsonSerializer.Serialize(sent, sent.GetType(), Wire);
        var arrived = JsonSerializer.Deserialize(json, sent.GetType(), Wire);

        Assert.Equivalent(sent, arrived, strict: true);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_field_of_a_newer_sender_is_ignored_wherever_it_stands(string kind)
    {
        var sent = Samples[kind];
        var json = JsonSerializer.SerializeToNode(sent, sent.GetType(), Wire)!;
        AddUnknownFields(json);
        var arrived = JsonSerializer.Deserialize(json.ToJsonString(), sent.GetType(), Wire);

        Assert.Equivalent(sent, arrived, strict: true);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Every_message_carries_its_version(string kind)
    {
        var sent = Samples[kind];

        Assert.Equal(1, (int)JsonSerializer.SerializeToNode(sent, sent.GetType(), Wire)!["version"]!);
    }

    [Fact]
    public void Every_message_of_the_contracts_is_among_the_samples()
    {
        var messages = typeof(Dispatch)
            .Assembly.GetExportedTypes()
            .Where(type => type.GetProperty("Version")?.PropertyType == typeof(int) && type != typeof(ModelRoute))
            .Select(type => type.Name);

        Assert.Equal(messages.Order(StringComparer.Ordinal), Samples.Keys.Order(StringComparer.Ordinal));
    }

    private static void AddUnknownFields(JsonNode node)
    {
        foreach (var child in node is JsonArray array ? array.ToArray() : [.. node.AsObject().Select(pair => pair.Value)])
        {
            if (child is JsonObject or JsonArray)
            {
                AddUnknownFields(child);
            }
        }

        if (node is JsonObject obj)
        {
            obj["fieldOfTomorrow"] = new JsonObject { ["depth"] = 1 };
        }
    }
}
