using Npgsql;
using NpgsqlTypes;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Jobs;
using Pipeline.ResultsApi.Dashboard.Layout;
using RabbitMQ.Client.Exceptions;

namespace Pipeline.ResultsApi.Dashboard.Fleet;

/// <summary>What waits for one model in one class.</summary>
/// <param name="Oldest">When the first of its jobs was accepted.</param>
public sealed record WaitingWork(string Model, string Class, long Jobs, long Tasks, DateTimeOffset? Oldest);

/// <summary>What the workers of a pool ran in one lane over <see cref="QueuePages.LaneWindow"/>.</summary>
/// <param name="DeviceTime">Of all its batches together, and <paramref name="Longest"/> of one.</param>
public sealed record LaneWork(string Pool, string Lane, long Batches, long Tasks, TimeSpan DeviceTime, TimeSpan Longest);

/// <summary>One life of a worker process.</summary>
/// <param name="Begun">Slices it has on or past the device.</param>
public sealed record WorkerLife(
    Guid Id,
    string Name,
    string Pool,
    string Provider,
    string Device,
    long PricePerHourPico,
    string State,
    DateTimeOffset StartedAt,
    DateTimeOffset LastSeen,
    int Begun
);

/// <summary>Queues and workers: what waits and where, who works, and what operators hold of it.</summary>
internal static class QueuePages
{
    public const string Here = $"{DashboardServices.Root}/workers";
    public static readonly TimeSpan LaneWindow = TimeSpan.FromMinutes(5);

    public static void MapQueues(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/workers", ShowAsync);
        pages.MapGet("/workers/export", ExportAsync);
        pages.MapPost("/workers/hold", HoldAsync);
        pages.MapPost("/workers/release", ReleaseAsync);
        pages.MapPost("/workers/redrive", RedriveAsync);
    }

    private static async Task<IResult> ShowAsync(
        HttpContext http,
        NpgsqlDataSource database,
        BrokerQueues broker,
        DashboardOptions options,
        TimeProvider time
    )
    {
        var stop = http.RequestAborted;
        Guid? after = Guid.TryParse(http.Request.Query["after"], out var id) ? id : null;
        var workers = await WorkersAsync(database, options, after, options.PageItems + 1, stop);
        var shown = workers.Take(options.PageItems).ToList();
        var (queues, away) = await QueuesAsync(broker, stop);
        return http.Page<QueuesPage>(
            new
            {
                Holds = (await HoldStore.ReadAsync(database, stop)).Select(h => h.Hold).ToList(),
                Waiting = await WaitingAsync(database, options, stop),
                Lanes = await LanesAsync(database, options, time.GetUtcNow(), stop),
                Queues = queues,
                Away = away,
                Workers = shown,
                Next = workers.Count > options.PageItems ? shown[^1].Id.ToString() : null,
            }
        );
    }

    private static async Task<List<LaneWork>> LanesAsync(
        NpgsqlDataSource database,
        DashboardOptions options,
        DateTimeOffset now,
        CancellationToken stop
    )
    {
        await using var command = database.CreateCommand(
            options,
            """
            SELECT w.pool, b.lane, count(*), sum(b.rows), sum(b.device_ns)::float8 / 1e6, max(b.device_ns)::float8 / 1e6
            FROM batches b JOIN workers w ON w.id = b.worker WHERE b.id >= $1 GROUP BY w.pool, b.lane ORDER BY w.pool, b.lane DESC
            """
        );
        command.Parameters.Add(new() { Value = Partitions.LowerBound(now - LaneWindow) });
        return await Rows.ReadAsync(
            command,
            row => new LaneWork(
                row.GetString(0),
                row.GetString(1),
                row.GetInt64(2),
                row.GetInt64(3),
                TimeSpan.FromMilliseconds(row.GetDouble(4)),
                TimeSpan.FromMilliseconds(row.GetDouble(5))
            ),
            stop
        );
    }

    private static async Task<IResult> ExportAsync(HttpContext http, NpgsqlDataSource database, DashboardOptions options) =>
        Export.Answer(
            http,
            "workers",
            await WorkersAsync(database, options, after: null, options.ExportRowsMax, http.RequestAborted),
            ("id", w => w.Id),
            ("name", w => w.Name),
            ("pool", w => w.Pool),
            ("provider", w => w.Provider),
            ("device", w => w.Device),
            ("price_per_hour_pico_usd", w => w.PricePerHourPico),
            ("state", w => w.State),
            ("started_at", w => w.StartedAt),
            ("last_seen_at", w => w.LastSeen)
        );

    private static async Task<IResult> HoldAsync(
        HttpContext http,
        NpgsqlDataSource database,
        AuditedIngest ingest,
        DashboardOptions options
    )
    {
        var (actor, form, refused) = await Actors.ReadAsync(http, options, Here);
        if (actor is null)
        {
            return refused!;
        }

        var body = new { reason = actor.Reason, by = actor.Name };
        return await AskAsync(http, database, ingest, actor, "hold.set", HttpMethod.Put, form, body);
    }

    private static async Task<IResult> ReleaseAsync(
        HttpContext http,
        NpgsqlDataSource database,
        AuditedIngest ingest,
        DashboardOptions options
    )
    {
        var (actor, form, refused) = await Actors.ReadAsync(http, options, Here);
        return actor is null ? refused! : await AskAsync(http, database, ingest, actor, "hold.remove", HttpMethod.Delete, form, body: null);
    }

    private static async Task<IResult> AskAsync(
        HttpContext http,
        NpgsqlDataSource database,
        AuditedIngest ingest,
        Actor actor,
        string action,
        HttpMethod method,
        IFormCollection form,
        object? body
    )
    {
        var (kind, name) = (form["kind"].ToString(), form["name"].ToString().Trim());
        if (form["what"].ToString() is { Length: > 0 } what && what.Split('/', 2) is [var ofKind, var named])
        {
            (kind, name) = (ofKind, named);
        }

        if (name.Length == 0)
        {
            return http.Back(Here, good: false, "Name what is meant.");
        }

        var holds = await HoldStore.ReadAsync(database, http.RequestAborted);
        var (was, _) = holds.FirstOrDefault(h => h.Hold.Kind.Name() == kind && h.Hold.Name == name);
        var notHeld = new { held = false };
        var deed = new Deed(action, kind, name)
        {
            Before = was is null
                ? notHeld
                : new
                {
                    reason = was.Reason,
                    by = was.By,
                    at = was.At,
                },
        };
        var request = new IngestRequest(method, $"v1/holds/{Uri.EscapeDataString(kind)}/{Uri.EscapeDataString(name)}") { Body = body };
        var outcome = await ingest.AskAsync(
            actor,
            deed,
            request,
            _ => Task.FromResult<(string?, object?)>((null, body ?? notHeld)),
            http.RequestAborted
        );
        return http.Back(
            Here,
            outcome.Done,
            outcome.Done ? $"The {kind} {name} {(body is null ? "goes on" : "is held")}." : outcome.Detail ?? "It did not work."
        );
    }

    /// <summary>Sends dead letters to the scheduler again.</summary>
    private static async Task<IResult> RedriveAsync(HttpContext http, BrokerQueues broker, AuditLog audit, DashboardOptions options)
    {
        var (actor, form, refused) = await Actors.ReadAsync(http, options, Here);
        if (actor is null)
        {
            return refused!;
        }

        var queue = form["queue"].ToString();
        if (!broker.HasBroker || !BrokerQueues.DeadLetters.Contains(queue))
        {
            return http.Error(StatusCodes.Status404NotFound, "There is nothing to send again", "No such queue of dead letters.");
        }

        var deed = new Deed("queue.redrive", "queue", queue) { Reason = actor.Reason };
        var row = await audit.BeginAsync(actor.Id, actor.Name, actor.Address, deed, http.RequestAborted);
        try
        {
            var sent = await broker.RedriveAsync(queue, http.RequestAborted);
            await audit.CompleteAsync(row, done: true, detail: null, new { sent });
            return http.Back(Here, good: true, $"{Show.Count(sent)} messages were sent again.");
        }
        catch (Exception e) when (e is BrokerUnreachableException or OperationInterruptedException or AlreadyClosedException)
        {
            await audit.CompleteAsync(row, done: false, e.Message, after: null);
            return http.Back(Here, good: false, $"It stopped: {e.Message}");
        }
    }

    private static async Task<(IReadOnlyList<BrokerQueue>? Queues, string? Away)> QueuesAsync(BrokerQueues broker, CancellationToken stop)
    {
        if (!broker.HasBroker)
        {
            return (null, null);
        }

        try
        {
            return (await broker.ReadAsync(stop), null);
        }
        catch (Exception e) when (e is BrokerUnreachableException or OperationInterruptedException or AlreadyClosedException)
        {
            return (null, e.Message);
        }
    }

    private static async Task<List<WaitingWork>> WaitingAsync(NpgsqlDataSource database, DashboardOptions options, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            options,
            $"""
            SELECT w.model, w.class, count(*), sum(w.tasks)::bigint, min(w.queued_at) FROM (
              SELECT {ChunkSql.Model} AS model, j.class, j.queued_at, sum(c.remaining) AS tasks
              FROM chunks c JOIN jobs j ON j.id = c.job
              WHERE c.remaining > 0 AND j.finished_at IS NULL GROUP BY j.id, 1
            ) w GROUP BY 1, 2 ORDER BY 1, 2 LIMIT {options.PageItemsMax}
            """
        );
        return await Rows.ReadAsync(
            command,
            row => new WaitingWork(
                row.GetString(0),
                row.GetString(1),
                row.GetInt64(2),
                row.GetInt64(3),
                row.IsDBNull(4) ? null : row.GetFieldValue<DateTimeOffset>(4)
            ),
            stop
        );
    }

    /// <summary>Newest first: those that live, and those that have ended.</summary>
    private static async Task<List<WorkerLife>> WorkersAsync(
        NpgsqlDataSource database,
        DashboardOptions options,
        Guid? after,
        int rows,
        CancellationToken stop
    )
    {
        await using var command = database.CreateCommand(options);
        var filter = new SqlFilter(command).Add("id < {0}", after, NpgsqlDbType.Uuid);
        command.CommandText = $"""
            SELECT id, name, pool, provider, device, price_per_hour_pico, state, started_at, last_seen, jsonb_array_length(begun)
            FROM workers {filter.Where} ORDER BY id DESC LIMIT {rows}
            """;
        return await Rows.ReadAsync(
            command,
            row => new WorkerLife(
                row.GetGuid(0),
                row.GetString(1),
                row.GetString(2),
                row.GetString(3),
                row.GetString(4),
                row.GetInt64(5),
                row.GetString(6),
                row.GetFieldValue<DateTimeOffset>(7),
                row.GetFieldValue<DateTimeOffset>(8),
                row.GetInt32(9)
            ),
            stop
        );
    }
}
