using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Ingest.Express;

/// <summary>
/// An inference as server-sent events: <c>accepted</c>, <c>position</c>, <c>started</c>, a <c>result</c> for each input as it lands,
/// <c>finished</c>. A reader that is slow is waited for: nothing is kept for it but the results themselves, which are as many as the inputs.
/// The id of an event says which results were sent (a bit an input, as hexadecimal), so that <c>Last-Event-ID</c> goes on anywhere, in
/// whatever order the rest lands.
/// </summary>
internal sealed class InferStream(
    ExpressAccepted accepted,
    bool[] sent,
    Forecasts forecasts,
    IngestOptions options,
    CancellationToken stopping
) : IResult
{
    public const string ContentType = "text/event-stream";

    /// <summary>True when the client asks for events.</summary>
    public static bool IsAsked(HttpRequest request) =>
        request.Headers.Accept.Any(a => a?.Contains(ContentType, StringComparison.OrdinalIgnoreCase) == true);

    /// <summary>Which results an event id says were sent; null for a text that is no such id.</summary>
    public static bool[]? ParseId(string id, int tasks)
    {
        var sent = new bool[tasks];
        if (id.Length == 0)
        {
            return sent;
        }

        try
        {
            var bits = Convert.FromHexString(id);
            for (var i = 0; i < tasks && i / 8 < bits.Length; i++)
            {
                sent[i] = (bits[i / 8] & (1 << (i % 8))) != 0;
            }

            return bits.Length == Bytes(tasks) ? sent : null;
        }
        catch (FormatException)
        {
            return null;
        }
    }

    public async Task ExecuteAsync(HttpContext httpContext)
    {
        var stream = new EventStream(httpContext.Response);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(httpContext.RequestAborted, stopping);
        var stop = either.Token;
        try
        {
            await stream.BeginAsync(stop);
            if (!sent.Any(s => s))
            {
                await SendBeginningAsync(stream, stop);
            }

            await SendResultsAsync(stream, stop);
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested && !httpContext.RequestAborted.IsCancellationRequested)
        {
            // This process is stopping; the client comes back with the last id it saw, to another or the next.
        }
    }

    private async Task SendBeginningAsync(EventStream stream, CancellationToken stop)
    {
        await accepted.SettleAsync();
        await stream.SendAsync("accepted", Id(), JsonSerializer.Serialize(accepted.Job, ApiJson.Options), stop);
        if (forecasts.Fresh is { } forecast && !accepted.IsComplete)
        {
            var job = accepted.Job;
            var ahead = forecast.Pools.Where(p => p.Model == job.Model).Select(p => p.UnitsAhead.ElementAtOrDefault((int)job.Class));
            var data = new { UnitsAhead = ahead.DefaultIfEmpty().Min(), job.PredictedAt };
            await stream.SendAsync("position", null, JsonSerializer.Serialize(data, ApiJson.Options), stop);
        }
    }

    private async Task SendResultsAsync(EventStream stream, CancellationToken stop)
    {
        var told = sent.Any(s => s);
        for (var seen = 0; ; )
        {
            var landed = accepted.Landed(seen);
            foreach (var answer in landed)
            {
                seen++;
                if (!told && answer.Turns > 0)
                {
                    told = true;
                    var at = accepted.Job.QueuedAt + TimeSpan.FromMicroseconds(answer.QueuedUs + answer.StagedUs);
                    await stream.SendAsync("started", null, JsonSerializer.Serialize(new { At = at }, ApiJson.Options), stop);
                }

                if (answer.Seq < sent.Length && !sent[answer.Seq])
                {
                    sent[answer.Seq] = true;
                    await stream.SendAsync("result", Id(), Encoding.UTF8.GetString(InferAnswer.Line(answer).Span), stop);
                }
            }

            if (landed.Count == 0 && accepted.IsComplete)
            {
                await stream.SendAsync("finished", Id(), Finish(), stop);
                return;
            }

            if (landed.Count == 0 && !await accepted.MoreAsync(seen, options.StreamHeartbeat, stop))
            {
                await stream.HeartbeatAsync(stop);
            }
        }
    }

    private string Finish()
    {
        var results = accepted.Results();
        return JsonSerializer.Serialize(
            new
            {
                Job = accepted.Job.Id,
                Tasks = results.Count,
                Succeeded = results.Count(r => r.ErrorCode is null),
                CostPicoUsd = results.Sum(r => (decimal)r.CostPico),
            },
            ApiJson.Options
        );
    }

    private string Id()
    {
        var bits = new byte[Bytes(sent.Length)];
        for (var i = 0; i < sent.Length; i++)
        {
            bits[i / 8] |= (byte)(sent[i] ? 1 << (i % 8) : 0);
        }

        return Convert.ToHexString(bits);
    }

    private static int Bytes(int tasks) => (tasks + 7) / 8;
}
