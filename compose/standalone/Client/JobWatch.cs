using System.Globalization;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Pipeline.Standalone.Client;

/// <summary>Follows a job until it ends: a live bar at a terminal, a line now and then elsewhere, JSON lines for machines.</summary>
internal sealed class JobWatch(PipelineClient client, TimeProvider time)
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan PlainLineEvery = TimeSpan.FromSeconds(2);

    /// <returns>The job as it ended.</returns>
    public Task<ApiJob> UntilEndAsync(string id, bool json, CancellationToken stop) =>
        json ? WithAsync(id, WriteJson, stop)
        : Console.IsOutputRedirected || !AnsiConsole.Profile.Capabilities.Interactive ? PlainAsync(id, stop)
        : BarAsync(id, stop);

    private async Task<ApiJob> WithAsync(string id, Action<ApiJob> show, CancellationToken stop)
    {
        ApiJob? last = null;
        while (true)
        {
            var job = await client.GetJobAsync(id, stop);
            if (last is null || job.Ended != last.Ended || job.State != last.State || job.Paused != last.Paused)
            {
                show(job);
                last = job;
            }

            if (job.State.IsEnd())
            {
                return job;
            }

            await Task.Delay(LookEvery, time, stop);
        }
    }

    private Task<ApiJob> PlainAsync(string id, CancellationToken stop)
    {
        var rate = new Rate(time);
        var shown = time.GetTimestamp() - (time.TimestampFrequency * 3600);
        return WithAsync(
            id,
            job =>
            {
                rate.See(job);
                if (job.State.IsEnd() || time.GetElapsedTime(shown) >= PlainLineEvery)
                {
                    shown = time.GetTimestamp();
                    Console.WriteLine($"{job.State.Name(), -10} {job.Ended:N0} of {job.Tasks:N0}  {rate.Text(job)}");
                }
            },
            stop
        );
    }

    private Task<ApiJob> BarAsync(string id, CancellationToken stop)
    {
        var rate = new Rate(time);
        return AnsiConsole
            .Progress()
            .AutoClear(false)
            .Columns(
                new TaskDescriptionColumn { Alignment = Justify.Left },
                new ProgressBarColumn(),
                new PercentageColumn(),
                new SideColumn(() => rate.Line)
            )
            .StartAsync(progress =>
            {
                var bar = progress.AddTask("queued");
                return WithAsync(
                    id,
                    job =>
                    {
                        rate.See(job);
                        rate.Line = rate.Text(job);
                        bar.Description = $"{(job.Paused ? "paused" : job.State.Name())} {job.Ended:N0}/{job.Tasks:N0}";
                        bar.MaxValue = Math.Max(1, job.Tasks);
                        bar.Value = job.Ended;
                    },
                    stop
                );
            });
    }

    private static void WriteJson(ApiJob job) => Console.WriteLine(JsonSerializer.Serialize(job, ApiJson.Options));

    /// <summary>Tasks a second over the last few looks, and what follows from it.</summary>
    private sealed class Rate(TimeProvider time)
    {
        private readonly Queue<(long At, long Ended)> _seen = new();

        public string Line { get; set; } = "";

        public void See(ApiJob job)
        {
            _seen.Enqueue((time.GetTimestamp(), job.Ended));
            while (_seen.Count > 20)
            {
                _seen.Dequeue();
            }
        }

        public string Text(ApiJob job)
        {
            var cost = Cost.Format((Int128)job.CostPicoUsd);
            if (job.State.IsEnd() || _seen.Count < 2)
            {
                return cost;
            }

            var (first, last) = (_seen.Peek(), _seen.Last());
            var seconds = time.GetElapsedTime(first.At, last.At).TotalSeconds;
            var perSecond = seconds > 0 ? (last.Ended - first.Ended) / seconds : 0;
            var eta = perSecond > 0 ? $", {Duration(TimeSpan.FromSeconds((job.Tasks - job.Ended) / perSecond))} left" : "";
            return $"{perSecond:N0}/s{eta}, {cost}";
        }
    }

    /// <summary>A duration as people say it: 850 ms, 12.3 s, 4 min 05 s, 2 h 03 min.</summary>
    public static string Duration(TimeSpan value)
    {
        // Rounded first, so that 59.99 s is a minute and not 60.0 s.
        var tenths = TimeSpan.FromMilliseconds(100 * Math.Round(value.TotalMilliseconds / 100));
        var seconds = TimeSpan.FromSeconds(Math.Round(value.TotalSeconds));
        return Math.Round(value.TotalMilliseconds) < 1000 ? $"{value.TotalMilliseconds:0} ms"
            : tenths.TotalMinutes < 1 ? string.Create(CultureInfo.InvariantCulture, $"{tenths.TotalSeconds:0.0} s")
            : seconds.TotalHours < 1 ? $"{seconds.Minutes} min {seconds.Seconds:00} s"
            : $"{(int)seconds.TotalHours} h {seconds.Minutes:00} min";
    }

    private sealed class SideColumn(Func<string> text) : ProgressColumn
    {
        protected override bool NoWrap => true;

        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) => new Text(text());
    }
}
