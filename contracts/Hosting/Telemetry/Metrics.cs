namespace Pipeline.Hosting.Telemetry;

/// <summary>
/// Every metric there is: what is not listed here is not exported, nor is a label that is not listed. The README's table is made from it,
/// and the rules and dashboards in <c>compose/observability</c> are checked against it.
/// </summary>
public static class Metrics
{
    private const string Ingest = "ingest";
    private const string Scheduler = "scheduler";
    private const string Worker = "gpu-worker";
    private const string Results = "results-api";
    private const string Every = "every service";

    // Labels. No tenant, no job, no worker: what grows with use is found in the tables, and in traces.
    public const string Class = "pipeline.class";
    public const string Lane = "pipeline.lane";
    public const string Pool = "pipeline.pool";
    public const string State = "pipeline.state";
    public const string Outcome = "pipeline.outcome";
    public const string Reason = "pipeline.reason";
    public const string Account = "pipeline.account";
    public const string UnitKind = "pipeline.unit.kind";
    public const string Source = "pipeline.source";
    public const string EventType = "pipeline.event.type";
    public const string Model = "gen_ai.request.model";
    public const string Destination = "messaging.destination.name";
    public const string Operation = "messaging.operation.name";
    public const string System = "messaging.system";
    public const string Error = "error.type";
    public const string HardwareId = "hw.id";
    public const string HardwareName = "hw.name";

    private static readonly List<Metric> List = [];

    /// <summary>From 1 ms to a minute: answers that are waited for, commits, messages.</summary>
    private static readonly double[] Seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

    /// <summary>From 10 ms to a day: how long work waits and takes, of every class.</summary>
    private static readonly double[] LongSeconds =
    [
        0.01,
        0.05,
        0.1,
        0.25,
        0.5,
        1,
        5,
        15,
        30,
        60,
        300,
        900,
        1800,
        3600,
        4 * 3600,
        12 * 3600,
        24 * 3600,
    ];

    /// <summary>From 100 µs to 10 s: a device call, a turn of a loop.</summary>
    private static readonly double[] ShortSeconds =
    [
        0.0001,
        0.00025,
        0.0005,
        0.001,
        0.0025,
        0.005,
        0.01,
        0.025,
        0.05,
        0.1,
        0.25,
        0.5,
        1,
        2.5,
        10,
    ];
    private static readonly double[] Sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096];
    private static readonly double[] Shares = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1];

    public static IReadOnlyList<Metric> All => List;

    // The door

    public static readonly Metric JobsAccepted = Counter(
        "pipeline.jobs.accepted",
        "{job}",
        Ingest,
        [Class, Model],
        "jobs accepted, express requests among them",
        "falls to nothing while clients send: look at refusals, then at RabbitMQ, without which writes are turned away"
    );

    public static readonly Metric TasksAccepted = Counter(
        "pipeline.tasks.accepted",
        "{task}",
        Ingest,
        [Class, Model],
        "tasks of accepted jobs",
        "grows faster than `pipeline.tasks.ended` for hours: the fleet is too small, see `pipeline.scheduler.workers.desired`"
    );

    public static readonly Metric Refused = Counter(
        "pipeline.requests.refused",
        "{request}",
        "ingest, results-api",
        [Error],
        "requests answered with a problem, by its code",
        "`deadline_infeasible`, `express_unavailable`: too few workers; `rate_limited`: a client, or a limit; `unavailable`: PostgreSQL or RabbitMQ is away; `internal`: read the log"
    );

    public static readonly Metric RequestDuration = Histogram(
        "gen_ai.server.request.duration",
        "s",
        Ingest,
        [Model, Outcome],
        Seconds,
        "time from acceptance to answer of an inference that is waited for: `answered`, `accepted` (202), `late` (504, Open Inference Protocol)",
        "p99 above the class's target: look at `pipeline.queue.wait` of express; where that is short, at the commit and at messages"
    );

    public static readonly Metric Disconnects = Histogram(
        "pipeline.express.disconnects",
        "s",
        Ingest,
        [],
        Seconds,
        "clients that closed the connection before their answer, by how long they had waited",
        "many at one value: that is the clients' time-out, longer than which answers take"
    );

    public static readonly Metric LostAnswers = Counter(
        "pipeline.express.answers.lost",
        "{result}",
        Ingest,
        [],
        "results found in the rows and not by message, half a second late",
        "more than now and then: answers are dropped (worker log), or RabbitMQ lags"
    );

    public static readonly Metric CommitJobs = Histogram(
        "pipeline.commit.jobs",
        "{job}",
        Ingest,
        [],
        Sizes,
        "jobs that shared a commit when they were accepted",
        "near its maximum (`CommitJobsMax`): commits are slow, look at PostgreSQL's disk"
    );

    public static readonly Metric ExpressWaiting = Gauge(
        "pipeline.express.waiting",
        "{job}",
        Ingest,
        [],
        "jobs whose results somebody waits for in this process",
        "near `ExpressWaitersMax` requests are refused: add an ingest instance, or find what is slow"
    );

    // The queue and who decides

    public static readonly Metric SchedulerActive = Gauge(
        "pipeline.scheduler.active",
        "{scheduler}",
        Scheduler,
        [],
        "1 for the scheduler that plans, 0 for a spare",
        "the sum over instances is not 1 for longer than a few seconds: nothing is dispatched; look at the shared queue and at the schedulers' logs"
    );

    public static readonly Metric Decisions = Counter(
        "pipeline.scheduler.decisions",
        "{decision}",
        Scheduler,
        [Reason],
        "decisions by reason code",
        "the reasons are listed in the policy's README; many that end or promote work: deadlines are tight for this fleet"
    );

    public static readonly Metric TurnDuration = Histogram(
        "pipeline.scheduler.turn.duration",
        "s",
        Scheduler,
        [],
        ShortSeconds,
        "time of a turn that planned",
        "p99 above 50 ms: express waits for the scheduler; look at its CPU and at the number of open chunks"
    );

    public static readonly Metric ChunksOpen = Gauge(
        "pipeline.scheduler.chunks.open",
        "{chunk}",
        Scheduler,
        [],
        "chunks in the index: waiting or in flight (about 100 bytes each)",
        "millions: check the scheduler's memory"
    );

    public static readonly Metric QueueTasks = Gauge(
        "pipeline.queue.tasks",
        "{task}",
        Scheduler,
        [Class, Model],
        "tasks that wait for a device",
        "grows: more comes than runs; see `pipeline.scheduler.workers.desired`"
    );

    public static readonly Metric QueueUnits = Gauge(
        "pipeline.queue.units",
        "{unit}",
        Scheduler,
        [Class, Model],
        "units (tokens, elements) of those",
        "as above, in the measure of the device's work"
    );

    public static readonly Metric QueueSlack = Gauge(
        "pipeline.queue.slack",
        "s",
        Scheduler,
        [Class],
        "time until the most urgent waiting work should start by the class's target; negative: it is late",
        "negative for long: targets are missed; add workers, or move work to a slower class"
    );

    public static readonly Metric QueueWait = Histogram(
        "pipeline.queue.wait",
        "s",
        Scheduler,
        [Class, Model],
        LongSeconds,
        "time from acceptance to dispatch, one value for each part of a chunk that is sent",
        "express above 0.1 s: bulk batches are too long or express too much; others: compare with their target"
    );

    public static readonly Metric WorkersAlive = Gauge(
        "pipeline.scheduler.workers.alive",
        "{worker}",
        Scheduler,
        [Pool],
        "workers whose heartbeat is fresh",
        "falls: a worker is lost or stopped; its log, its machine. Its work is planned again by itself"
    );

    public static readonly Metric WorkersDesired = Gauge(
        "pipeline.scheduler.workers.desired",
        "{worker}",
        Scheduler,
        [Pool],
        "the fewest workers that keep every deadline",
        "above the living ones: start workers (an autoscaler's input)"
    );

    public static readonly Metric HeartbeatAge = Gauge(
        "pipeline.scheduler.heartbeat.age",
        "s",
        Scheduler,
        [Pool],
        "age of the oldest heartbeat of a pool's living workers, one a second each",
        "some seconds: a worker hangs, or RabbitMQ lags; soon it is declared lost"
    );

    public static readonly Metric DispatchesInFlight = Gauge(
        "pipeline.scheduler.dispatches.inflight",
        "{dispatch}",
        Scheduler,
        [Lane],
        "dispatches sent and not reported",
        "0 while tasks wait: no worker may work (draining, unreachable, model not loadable)"
    );

    // Messages: the semantic conventions' names

    public static readonly Metric MessagesSent = Counter(
        "messaging.client.sent.messages",
        "{message}",
        Every,
        [System, Destination, Operation, Error],
        "messages published and confirmed by the broker; with `error.type` those that were not",
        "errors: RabbitMQ is away or returns dispatches (their worker is gone); both heal by themselves, the sweeps find what is missing"
    );

    public static readonly Metric SendDuration = Histogram(
        "messaging.client.operation.duration",
        "s",
        Every,
        [System, Destination, Operation, Error],
        Seconds,
        "time of a publish until the broker's confirm",
        "p99 above 0.1 s: the broker's disk or its quorum is slow"
    );

    public static readonly Metric ProcessDuration = Histogram(
        "messaging.process.duration",
        "s",
        Every,
        [System, Destination, Operation, Error],
        LongSeconds,
        "time a consumer took for a message; of a dispatch until its results are committed",
        "grows: the consumer is what is slow; with `error.type` it threw, read the log"
    );

    // The device

    public static readonly Metric TasksRun = Counter(
        "pipeline.worker.tasks",
        "{task}",
        Worker,
        [Model, Lane, Outcome],
        "tasks a worker committed: `succeeded`, `failed`, `cancelled`, or `escalated` to the next model of a route",
        "`failed` grows: the model fails on inputs (the results say why), or inputs do not suit it"
    );

    public static readonly Metric BatchSize = Histogram(
        "pipeline.worker.batch.size",
        "{task}",
        Worker,
        [Model, Lane],
        Sizes,
        "tasks of a device call",
        "small on the bulk lane while much waits: long inputs, or batches are cut short for express"
    );

    public static readonly Metric BatchDuration = Histogram(
        "pipeline.worker.batch.duration",
        "s",
        Worker,
        [Model, Lane],
        ShortSeconds,
        "device time of a call",
        "grows at the same size: the device is slower (temperature, a neighbour), or another provider was loaded"
    );

    public static readonly Metric BatchFill = Histogram(
        "pipeline.worker.batch.fill",
        "1",
        Worker,
        [Model, Lane],
        Shares,
        "padded units of a call, of those it might have had",
        "low on the bulk lane: too little waits to fill batches, which is no fault where nothing queues"
    );

    public static readonly Metric Units = Counter(
        "pipeline.worker.units",
        "{unit}",
        Worker,
        [Model, UnitKind],
        "units the device ran: `real`, and `padding`",
        "the share of padding grows: lengths are mixed; a model with more length limits, or larger dispatches, cut it"
    );

    public static readonly Metric DeviceTime = Counter(
        "pipeline.worker.device.time",
        "s",
        Worker,
        [Account, Pool],
        "the device's time as it is booked, all of it: `task`, `padding`, `idle`, `warm_up`, `waste`",
        "`idle` high for days: the fleet is too large; `waste`: batches were halved or done twice, read the worker's log; `warm_up`: models come and go, give the cache more memory"
    );

    public static readonly Metric WriteDuration = Histogram(
        "pipeline.worker.write.duration",
        "s",
        Worker,
        [],
        Seconds,
        "time of a commit of results, retries not counted",
        "grows: PostgreSQL is what is slow; its disk, locks, or vacuum"
    );

    public static readonly Metric WriteRows = Histogram(
        "pipeline.worker.write.rows",
        "{result}",
        Worker,
        [],
        Sizes,
        "results of a commit",
        "small while much runs: express is beside it, or dispatches are small"
    );

    public static readonly Metric Unwritten = Gauge(
        "pipeline.worker.unwritten",
        "{result}",
        Worker,
        [],
        "results that have run and are not committed",
        "grows: PostgreSQL takes less than the device makes; while it is away results are held"
    );

    public static readonly Metric Reused = Counter(
        "pipeline.worker.reused",
        "{result}",
        Worker,
        [Source],
        "results that were made for another task: of the same `job`, or from the `cache`",
        "falls: inputs repeat less, or a cache was emptied"
    );

    public static readonly Metric ReusedSaved = Counter(
        "pipeline.worker.reused.saved",
        "USD",
        Worker,
        [Source],
        "what those had cost when they were made",
        "says what reuse is worth"
    );

    public static readonly Metric GpuUtilization = Gauge(
        "hw.gpu.utilization",
        "1",
        Worker,
        [HardwareId, HardwareName],
        "share of time in which the device ran something, as its driver sees it (NVML; absent where there is none)",
        "low while `pipeline.worker.device.time` says busy: batches are too small for the device"
    );

    public static readonly Metric GpuMemoryUsage = Gauge(
        "hw.gpu.memory.usage",
        "By",
        Worker,
        [HardwareId, HardwareName],
        "device memory in use, by whomever (NVML)",
        "near the limit: fewer models at a time, or a smaller memory budget"
    );

    public static readonly Metric GpuMemoryLimit = Gauge(
        "hw.gpu.memory.limit",
        "By",
        Worker,
        [HardwareId, HardwareName],
        "device memory there is (NVML)",
        "changes only with the device"
    );

    public static readonly Metric GpuPower = Gauge(
        "hw.power",
        "W",
        Worker,
        [HardwareId, HardwareName],
        "power the device draws (NVML)",
        "at its limit for long: the device may run slower than it can"
    );

    public static readonly Metric GpuTemperature = Gauge(
        "hw.temperature",
        "Cel",
        Worker,
        [HardwareId, HardwareName],
        "temperature of the device (NVML)",
        "above 85: cooling; devices slow down to protect themselves"
    );

    // How work ended

    public static readonly Metric JobsEnded = Counter(
        "pipeline.jobs.ended",
        "{job}",
        Results,
        [Class, Model, Outcome],
        "jobs that ended: `completed`, `failed`, `expired`, `cancelled`; counted once, by whichever instance fans the event out",
        "`expired`: deadlines pass, see `pipeline.queue.slack`; `failed`: the job itself was refused, its error says why"
    );

    public static readonly Metric TasksEnded = Counter(
        "pipeline.tasks.ended",
        "{task}",
        Results,
        [Class, Model, Outcome],
        "tasks of jobs that ended, with their job",
        "of a running job see `pipeline.worker.tasks`; `failed` or `expired` grow: as there, and as for jobs"
    );

    public static readonly Metric JobDuration = Histogram(
        "pipeline.jobs.duration",
        "s",
        Results,
        [Class, Outcome],
        LongSeconds,
        "time from acceptance to end of a job",
        "above the class's target: the queue (`pipeline.queue.wait`), or large jobs"
    );

    public static readonly Metric JobsLate = Counter(
        "pipeline.jobs.late",
        "{job}",
        Results,
        [Class],
        "jobs that missed their deadline: expired, or ended after it",
        "any: predictions were wrong, or workers were lost; the job's decisions tell which"
    );

    public static readonly Metric JobsCost = Counter(
        "pipeline.jobs.cost",
        "USD",
        Results,
        [Class, Model],
        "cost of jobs that ended (rounded; the ledger is exact)",
        "per task rises: smaller batches, a dearer pool, or more padding"
    );

    public static readonly Metric JobsOpen = Gauge(
        "pipeline.jobs.open",
        "{job}",
        Results,
        [Class, State],
        "jobs that have not ended, as PostgreSQL has them",
        "`receiving` stays: uploads hang; `finalizing` stays: output files are not made, read the log"
    );

    public static readonly Metric OldestAge = Gauge(
        "pipeline.jobs.oldest.age",
        "s",
        Results,
        [Class],
        "age of the oldest queued or running job, paused ones left out",
        "above the class's window: something is stuck; ask for that job's decisions"
    );

    public static readonly Metric Unannounced = Gauge(
        "pipeline.chunks.unannounced",
        "{chunk}",
        Results,
        [],
        "chunks of queued or running jobs whose message the broker has not confirmed",
        "stays above 0: ingest cannot publish; its sweep does as soon as RabbitMQ is back"
    );

    // Webhooks

    public static readonly Metric WebhookEvents = Counter(
        "pipeline.webhook.events",
        "{event}",
        Results,
        [EventType],
        "events fanned out to endpoints",
        "stops while jobs end: results-api's log"
    );

    public static readonly Metric WebhookDuration = Histogram(
        "pipeline.webhook.duration",
        "s",
        Results,
        [Outcome],
        Seconds,
        "time of a delivery's request: `delivered`, `pending` (will be tried again), `failed` (given up)",
        "slow or not `delivered`: a receiver is slow or down; its deliveries say what it answered"
    );

    public static readonly Metric WebhooksPending = Gauge(
        "pipeline.webhook.pending",
        "{delivery}",
        Results,
        [],
        "deliveries that wait for their time or their turn",
        "grows: receivers fail, or too few may be called at once (`RequestsMax`)"
    );

    public static readonly Metric WebhooksOldest = Gauge(
        "pipeline.webhook.oldest.age",
        "s",
        Results,
        [],
        "age of the oldest delivery that waits",
        "days: an endpoint is down; it is disabled by itself after its time"
    );

    public static readonly Metric EventsWaiting = Gauge(
        "pipeline.webhook.events.waiting",
        "{event}",
        Results,
        [],
        "events not fanned out yet",
        "grows: results-api is down, or its fan-out fails (log)"
    );

    // What others measure, as far as it is exported

    public static readonly Metric HttpDuration = Histogram(
        "http.server.request.duration",
        "s",
        "every service (ASP.NET Core)",
        ["http.route", "http.request.method", "http.response.status_code", Error],
        [],
        "time of a request, by route and status",
        "5xx: the log; slow reads: PostgreSQL"
    );

    public static readonly Metric HttpActive = Gauge(
        "http.server.active_requests",
        "{request}",
        "every service (ASP.NET Core)",
        ["http.request.method"],
        "requests under way; event streams and waiting inferences are among them",
        "grows without end: something does not answer"
    );

    public static readonly Metric DbConnections = Gauge(
        "db.client.connection.count",
        "{connection}",
        "every service (Npgsql)",
        ["db.client.connection.pool.name", "db.client.connection.state"],
        "connections to PostgreSQL, `idle` and `used`",
        "`used` at the maximum: raise `DatabaseConnectionsMax`, or find what holds them"
    );

    public static readonly Metric DbConnectionsMax = Gauge(
        "db.client.connection.max",
        "{connection}",
        "every service (Npgsql)",
        ["db.client.connection.pool.name"],
        "connections the process may open",
        "changes only with the option"
    );

    public static readonly Metric DbDuration = Histogram(
        "db.client.operation.duration",
        "s",
        "every service (Npgsql)",
        ["db.client.connection.pool.name", Error],
        [],
        "time of a command",
        "grows in every service: PostgreSQL; in one: its statements"
    );

    public static readonly Metric CpuTime = Counter(
        "dotnet.process.cpu.time",
        "s",
        "every service (.NET)",
        ["cpu.mode"],
        "CPU the process took",
        "as many cores as there are: more instances, or a profile"
    );

    public static readonly Metric CpuCount = Gauge(
        "dotnet.process.cpu.count",
        "{cpu}",
        "every service (.NET)",
        [],
        "cores the process may use",
        "changes only with the machine or its limit"
    );

    public static readonly Metric WorkingSet = Gauge(
        "dotnet.process.memory.working_set",
        "By",
        "every service (.NET)",
        [],
        "resident memory",
        "grows for days: take a dump; the scheduler's follows its open chunks, a worker's its models"
    );

    public static readonly Metric GcPause = Counter(
        "dotnet.gc.pause.time",
        "s",
        "every service (.NET)",
        [],
        "time in which the garbage collector held all threads",
        "more than 5 % of time: too much garbage, or too little memory"
    );

    public static readonly Metric GcAllocated = Counter(
        "dotnet.gc.heap.total_allocated",
        "By",
        "every service (.NET)",
        [],
        "bytes allocated",
        "its rate tells what makes the collector run"
    );

    public static readonly Metric Exceptions = Counter(
        "dotnet.exceptions",
        "{exception}",
        "every service (.NET)",
        [],
        "exceptions thrown, handled ones among them",
        "a jump: read the log"
    );

    /// <summary>The meters whose instruments are looked at; of them only what is listed here is exported.</summary>
    public static readonly string[] Meters = ["Pipeline.*", "Microsoft.AspNetCore.Hosting", "Npgsql", "System.Runtime"];

    private static Metric Counter(string name, string unit, string owner, string[] labels, string meaning, string moves) =>
        Add(new Metric(name, MetricKind.Counter, unit, owner, labels, meaning, moves));

    private static Metric Gauge(string name, string unit, string owner, string[] labels, string meaning, string moves) =>
        Add(new Metric(name, MetricKind.Gauge, unit, owner, labels, meaning, moves));

    private static Metric Histogram(
        string name,
        string unit,
        string owner,
        string[] labels,
        double[] buckets,
        string meaning,
        string moves
    ) => Add(new Metric(name, MetricKind.Histogram, unit, owner, labels, meaning, moves) { Buckets = buckets });

    private static Metric Add(Metric metric)
    {
        List.Add(metric);
        return metric;
    }
}
