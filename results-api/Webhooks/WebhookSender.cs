using System.Diagnostics;
using System.Threading.Channels;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Telemetry;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Webhooks;

/// <summary>
/// Sends what is due. A turn claims as much as there is room for, endpoint by endpoint, and starts requests; their outcomes go to a second
/// loop that writes them in groups. Nothing waits for one endpoint but its own deliveries. Instances share the work by their claims.
/// </summary>
internal sealed partial class WebhookSender(
    DeliveryQueue queue,
    WebhookHttp http,
    ResultsMetrics metrics,
    TelemetryOptions telemetry,
    WebhookOptions options,
    LoopBook loops,
    TimeProvider time,
    ILogger<WebhookSender> log
) : BackgroundService
{
    private static readonly TimeSpan PauseAfterFailure = TimeSpan.FromSeconds(1);
    private readonly Loop _loop = loops.Add(
        "webhook-sending",
        "Sends the webhook deliveries that are due, again where one failed.",
        options.LookEvery
    );
    private readonly Dictionary<WebhookEndpointId, EndpointFlow> _flows = [];
    private readonly Lock _lock = new();
    private readonly SemaphoreSlim _wake = new(0, 1);
    private readonly List<ClaimedDelivery> _unsent = [];
    private readonly Channel<DeliveryOutcome> _outcomes = Channel.CreateBounded<DeliveryOutcome>(options.RequestsMax * 4);
    private int _sending;

    /// <summary>Something is due, or there is room again.</summary>
    public void Wake()
    {
        lock (_lock)
        {
            if (_wake.CurrentCount == 0)
            {
                _wake.Release();
            }
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var abandon = new CancellationTokenSource();
        var recording = RecordAsync();
        while (!stoppingToken.IsCancellationRequested)
        {
            var pause = options.LookEvery;
            var begun = _loop.TryBegin();
            try
            {
                if (begun)
                {
                    await TurnAsync(abandon.Token, stoppingToken);
                }
            }
            catch (Exception e) when (Problems.IsLostServer(e) || e is TimeoutException)
            {
                _loop.Fail(e.Message);
                LogAway(log, e.Message);
                pause = PauseAfterFailure;
            }
            catch (PostgresException e)
            {
                _loop.Fail(e.Message);
                LogFailed(log, e);
                pause = PauseAfterFailure;
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                break;
            }
            finally
            {
                if (begun)
                {
                    _loop.End();
                }
            }

            await ((Task)_wake.WaitAsync(pause, stoppingToken)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        await FinishAsync(abandon);
        _outcomes.Writer.Complete();
        await recording;
    }

    /// <summary>Claims what there is room for, and starts the requests that may go out.</summary>
    /// <param name="abandon">Ends requests under way.</param>
    internal async Task TurnAsync(CancellationToken abandon, CancellationToken stop)
    {
        await HandBackAsync(stop);
        var now = time.GetUtcNow();
        List<FlowRoom> rooms;
        int waiting,
            failing;
        lock (_lock)
        {
            foreach (var flow in _flows.Values.Where(flow => flow.IsAsNew(now)).ToList())
            {
                _flows.Remove(flow.Endpoint);
            }

            waiting = _flows.Values.Sum(flow => flow.Waiting.Count);
            failing = _flows.Values.Count(flow => flow.Fails && flow.Sending + flow.Waiting.Count > 0);
            rooms = [.. _flows.Values.OrderBy(flow => flow.PausedUntil).Select(flow => new FlowRoom(flow.Endpoint, RoomOf(flow)))];

            int RoomOf(EndpointFlow flow)
            {
                var room = flow.Room(now);
                return !flow.Fails || room == 0 ? room
                    : failing++ < options.RequestsMax / 2 ? room
                    : 0;
            }
        }

        var free = options.RequestsMax - _sending;
        var rows = Math.Min(free * options.ClaimAheadMax, (options.RequestsMax * options.ClaimAheadMax) - waiting);
        if (free > 0 && rows > 0)
        {
            var roomOfNew = Math.Min(EndpointFlow.WindowFirst, options.EndpointRequestsMax);
            var claimed = await queue.ClaimAsync(rooms, roomOfNew, free, rows, stop);
            lock (_lock)
            {
                Take(claimed, rooms, roomOfNew, isCut: claimed.Count == rows || claimed.DistinctBy(d => d.Endpoint).Count() == free);
            }
        }

        Start(abandon);
    }

    /// <summary>Puts what was claimed into its queues, and notes of which more is due.</summary>
    /// <param name="isCut">True when the claim may have left out endpoints.</param>
    private void Take(List<ClaimedDelivery> claimed, List<FlowRoom> rooms, int roomOfNew, bool isCut)
    {
        var room = rooms.ToDictionary(r => r.Endpoint, r => r.Free);
        var taken = claimed.ToLookup(d => d.Endpoint);
        foreach (var deliveries in taken)
        {
            if (!_flows.TryGetValue(deliveries.Key, out var flow))
            {
                _flows[deliveries.Key] = flow = new EndpointFlow(deliveries.Key, options);
            }

            foreach (var delivery in deliveries)
            {
                flow.Waiting.Enqueue(delivery);
            }
        }

        // Of one without room nothing was asked: it may have more, and is asked when it has room.
        foreach (var flow in _flows.Values)
        {
            flow.MoreIsDue = isCut || taken[flow.Endpoint].Count() >= room.GetValueOrDefault(flow.Endpoint, roomOfNew);
        }
    }

    /// <summary>Starts requests while there is room: one of each endpoint in turn.</summary>
    private void Start(CancellationToken abandon)
    {
        lock (_lock)
        {
            var now = time.GetUtcNow();
            var ready = new Queue<EndpointFlow>(_flows.Values.Where(flow => flow.MaySend(now)));
            while (_sending < options.RequestsMax && ready.TryDequeue(out var flow))
            {
                var delivery = flow.Waiting.Dequeue();

                // What waited so long may be another sender's by the time of its answer.
                if (delivery.ClaimedUntil - now > options.RequestTimeMax)
                {
                    flow.Sending++;
                    _sending++;
                    _ = SendAsync(flow, delivery, abandon);
                }
                else
                {
                    _unsent.Add(delivery);
                }

                if (flow.MaySend(now))
                {
                    ready.Enqueue(flow);
                }
            }
        }
    }

    private async Task SendAsync(EndpointFlow flow, ClaimedDelivery delivery, CancellationToken abandon)
    {
        await Task.Yield();
        var sentAt = time.GetUtcNow();
        AttemptResult result;
        try
        {
            using var calls = Trace(delivery);
            result = await http.SendAsync(delivery, abandon);
            Tell(calls, result);
        }
        catch (OperationCanceledException)
        {
            lock (_lock)
            {
                _sending--;
                flow.Sending--;
                _unsent.Add(delivery);
            }

            Wake();
            return;
        }
        catch (Exception e)
        {
            LogBug(log, e, delivery.Id);
            result = new AttemptResult(null, "The request could not be made; the service's log has the reason.", null, TimeSpan.Zero);
        }

        var outcome = Verdict.Of(delivery, result, sentAt, options, Random.Shared.NextDouble());
        metrics.Attempted(outcome.State, result.Took);

        // Written first: while outcomes cannot be written, no more requests are made than there is room for outcomes.
        await _outcomes.Writer.WriteAsync(outcome, CancellationToken.None);
        bool wake;
        lock (_lock)
        {
            _sending--;
            flow.Observe(result, time.GetUtcNow());
            if (flow.Fails)
            {
                // Not held here while it is paused: that would cost each of them an attempt.
                _unsent.AddRange(flow.Waiting);
                flow.Waiting.Clear();
            }

            wake = _unsent.Count > 0 || (flow.MoreIsDue && flow.Room(time.GetUtcNow()) > 0);
        }

        if (!abandon.IsCancellationRequested)
        {
            Start(abandon);
        }

        if (wake)
        {
            Wake();
        }
    }

    /// <summary>
    /// The request in its job's trace; null where that is not traced. Its path is left out, which may hold a secret of the receiver's; and no
    /// context goes along, which is nobody's business outside.
    /// </summary>
    private Activity? Trace(ClaimedDelivery delivery) =>
        Traces
            .Start(
                $"webhook {delivery.Payload.Type}",
                telemetry.TraceOf(delivery.Traceparent, delivery.Payload.Seq ?? 0),
                ActivityKind.Client
            )
            ?.SetTag("http.request.method", "POST")
            .SetTag("http.request.resend_count", delivery.Attempt - 1)
            .SetTag("server.address", Uri.TryCreate(delivery.Url, UriKind.Absolute, out var url) ? url.Host : null)
            .SetTag(Metrics.EventType, delivery.Payload.Type)
            .SetTag(Traces.JobAttribute, delivery.Payload.Job?.ToString());

    private static void Tell(Activity? calls, AttemptResult result)
    {
        calls?.SetTag("http.response.status_code", result.Status);
        if (!result.Succeeded)
        {
            calls?.SetStatus(ActivityStatusCode.Error, result.Error);
        }
    }

    /// <summary>What was claimed and not sent is due again at once, and none of its attempts is used.</summary>
    private async Task HandBackAsync(CancellationToken stop)
    {
        List<ClaimedDelivery> unsent;
        lock (_lock)
        {
            unsent = [.. _unsent];
            _unsent.Clear();
        }

        if (unsent.Count > 0)
        {
            await queue.HandBackAsync(unsent, stop);
        }
    }

    /// <summary>Waits a little for requests under way, then hands back what was not sent or not answered.</summary>
    private async Task FinishAsync(CancellationTokenSource abandon)
    {
        lock (_lock)
        {
            foreach (var flow in _flows.Values)
            {
                _unsent.AddRange(flow.Waiting);
                flow.Waiting.Clear();
            }
        }

        abandon.CancelAfter(options.StopWaitMax);
        while (Volatile.Read(ref _sending) > 0)
        {
            await _wake.WaitAsync(TimeSpan.FromMilliseconds(20));
        }

        try
        {
            using var late = new CancellationTokenSource(options.StopWaitMax);
            await HandBackAsync(late.Token);
        }
        catch (Exception e) when (Problems.IsLostServer(e) || e is TimeoutException or OperationCanceledException)
        {
            // They come due by themselves.
            LogAway(log, e.Message);
        }
    }

    /// <summary>Writes outcomes in groups, until the last. While PostgreSQL is away they are kept and tried again.</summary>
    private async Task RecordAsync()
    {
        var group = new List<DeliveryOutcome>(options.RecordRowsMax);
        while (await _outcomes.Reader.WaitToReadAsync())
        {
            await Task.Delay(options.RecordWaitMax, time);
            while (group.Count < options.RecordRowsMax && _outcomes.Reader.TryRead(out var outcome))
            {
                group.Add(outcome);
            }

            await WriteAsync(group);
            group.Clear();
        }
    }

    private async Task WriteAsync(List<DeliveryOutcome> group)
    {
        // Past the claims' end the deliveries are sent again, whatever is written here.
        for (var since = time.GetTimestamp(); time.GetElapsedTime(since) < options.ClaimTime; )
        {
            try
            {
                if (await queue.RecordAsync(group, CancellationToken.None) is > 0 and var disabled)
                {
                    LogDisabled(log, disabled);
                }

                return;
            }
            catch (Exception e) when (Problems.IsLostServer(e) || e is TimeoutException or PostgresException)
            {
                LogUnwritten(log, group.Count, e.Message);
                await Task.Delay(PauseAfterFailure, time);
            }
        }
    }

    public override void Dispose()
    {
        _wake.Dispose();
        base.Dispose();
    }

    [LoggerMessage(72, LogLevel.Warning, "Could not look for webhooks that are due, and will again: {Reason}")]
    private static partial void LogAway(ILogger log, string reason);

    [LoggerMessage(73, LogLevel.Error, "Webhooks that are due could not be claimed, and will be tried again")]
    private static partial void LogFailed(ILogger log, Exception error);

    [LoggerMessage(74, LogLevel.Error, "Webhook delivery {Delivery} could not be sent")]
    private static partial void LogBug(ILogger log, Exception error, WebhookDeliveryId delivery);

    [LoggerMessage(75, LogLevel.Warning, "Could not write what {Count} webhook requests came to, and will again: {Reason}")]
    private static partial void LogUnwritten(ILogger log, int count, string reason);

    [LoggerMessage(76, LogLevel.Warning, "{Count} webhook endpoints were disabled: they have failed for days, or want no more")]
    private static partial void LogDisabled(ILogger log, int count);
}
