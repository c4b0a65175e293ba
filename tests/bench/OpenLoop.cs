using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;

namespace Pipeline.Bench;

/// <summary>What became of the requests of one run.</summary>
/// <param name="LatencyMs">Of those that were answered, from the intended send time, ascending.</param>
/// <param name="BesideDeviceMs">The same without the time their batch was on the device, ascending.</param>
/// <param name="Refused">Answered 429.</param>
/// <param name="Failed">Answered otherwise, or not at all.</param>
/// <param name="Parts">Median milliseconds of the parts of the way: until the dispatch is there, staged, on the device, and the rest.</param>
/// <param name="FirstOther">What the first that was refused or failed was told.</param>
internal sealed record LoadResult(double[] LatencyMs, double[] BesideDeviceMs, int Refused, int Failed, string Parts, string? FirstOther)
{
    public int Sent => LatencyMs.Length + Refused + Failed;

    public double P(double percent) => Figures.Percentile(LatencyMs, percent);

    public double BesideP(double percent) => Figures.Percentile(BesideDeviceMs, percent);
}

/// <summary>
/// Open-loop load: requests leave at fixed times whatever became of those before, and their latency counts from the time at which they should
/// have left. So a server that stalls is charged for every request that had to wait meanwhile (no coordinated omission), and so is this
/// program for being late.
/// </summary>
internal sealed partial class OpenLoop(HttpClient http, string model, string[] texts)
{
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(20);

    /// <summary>Sends so many requests a second for so long.</summary>
    public async Task<LoadResult> RunAsync(double perSecond, TimeSpan duration, CancellationToken stop)
    {
        var count = Math.Max(1, (int)(perSecond * duration.TotalSeconds));
        var bodies = Array.ConvertAll(texts, text => JsonSerializer.SerializeToUtf8Bytes(new { model, input = text }));
        using var late = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var sent = await Task
            .Factory.StartNew(
                () =>
                    Pace(count, perSecond, i => Task.Run(() => SendAsync(bodies[i.Number % bodies.Length], i.Intended, late.Token), stop)),
                stop,
                TaskCreationOptions.LongRunning,
                TaskScheduler.Default
            )
            .ConfigureAwait(false);
        late.CancelAfter(Grace);
        var answers = await Task.WhenAll(sent);
        var good = answers.Where(a => a.Status == HttpStatusCode.OK).ToArray();
        return new LoadResult(
            [.. good.Select(a => a.LatencyMs).Order()],
            [.. good.Select(a => a.LatencyMs - Part(a, "device")).Order()],
            answers.Count(a => a.Status == HttpStatusCode.TooManyRequests),
            answers.Count(a => a.Status is not (HttpStatusCode.OK or HttpStatusCode.TooManyRequests)),
            Parts(good),
            answers.FirstOrDefault(a => a.Status != HttpStatusCode.OK) is { } other ? Encoding.UTF8.GetString(other.Body) : null
        );
    }

    /// <summary>Calls at fixed times, on a thread of its own, which sleeps until each: spinning would take the services' cores.</summary>
    private static Task<Answer>[] Pace(int count, double perSecond, Func<(int Number, long Intended), Task<Answer>> send)
    {
        var sent = new Task<Answer>[count];
        var began = Stopwatch.GetTimestamp() + (Stopwatch.Frequency / 100);
        for (var i = 0; i < count; i++)
        {
            var intended = began + (long)(i / perSecond * Stopwatch.Frequency);
            while (Stopwatch.GetElapsedTime(Stopwatch.GetTimestamp(), intended) is { Ticks: > 0 } left)
            {
                // .NET's own waits take whole milliseconds. An early return (EINTR) sleeps again.
                _ = SleepMicroseconds((uint)Math.Clamp(left.TotalMicroseconds, 1, 999_999));
            }

            sent[i] = send((i, intended));
        }

        return sent;
    }

    [LibraryImport("libc", EntryPoint = "usleep")]
    private static partial int SleepMicroseconds(uint time);

    private async Task<Answer> SendAsync(byte[] body, long intended, CancellationToken late)
    {
        try
        {
            using var content = new ByteArrayContent(body);
            content.Headers.ContentType = new("application/json");
            using var response = await http.PostAsync("v1/infer", content, late);
            var bytes = await response.Content.ReadAsByteArrayAsync(late);
            return new Answer(response.StatusCode, Stopwatch.GetElapsedTime(intended).TotalMilliseconds, bytes);
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException)
        {
            return new Answer(0, 0, Encoding.UTF8.GetBytes(e.Message));
        }
    }

    private static string Parts(Answer[] good)
    {
        double Median(Func<Answer, double> part) => Figures.Percentile([.. good.Select(part).Order()], 50);
        return string.Create(
            CultureInfo.InvariantCulture,
            $"queued {Median(a => Part(a, "queued")):0.00}, staged {Median(a => Part(a, "staged")):0.00}, device {Median(a => Part(a, "device")):0.00}, to result {Median(a => Part(a, "total")):0.00}, beside that {Median(a => a.LatencyMs - Part(a, "total")):0.00} ms"
        );
    }

    /// <summary>Milliseconds of a part of the way, as the result tells it.</summary>
    private static double Part(Answer answer, string part)
    {
        using var json = JsonDocument.Parse(answer.Body);
        return json.RootElement.GetProperty("results")[0].GetProperty("latency_ms").GetProperty(part).GetDouble();
    }

    private sealed record Answer(HttpStatusCode Status, double LatencyMs, byte[] Body);
}
