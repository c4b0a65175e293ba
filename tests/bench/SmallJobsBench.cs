using System.Collections.Concurrent;
using System.CommandLine;
using System.Diagnostics;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Standalone.Host;
using Pipeline.Tests.Support;

namespace Pipeline.Bench;

internal sealed record SmallJobsSettings
{
    public int Jobs { get; init; } = 10_000;
    public int TasksEach { get; init; } = 10;
    public int Clients { get; init; } = 500;

    /// <summary>Tasks of the bulk job that is under way meanwhile.</summary>
    public int LargeJobTasks { get; init; } = 200_000;
}

/// <summary>
/// <c>small-jobs</c>: thousands of jobs of a few tasks from hundreds of clients, class <c>standard</c>, while one large bulk job runs: none
/// may wait behind it beyond its class's target.
/// </summary>
internal static class SmallJobsBench
{
    private const string Model = "language-id-small";

    public static Command Create()
    {
        var jobs = new Option<int>("--jobs") { Description = "How many jobs", DefaultValueFactory = _ => new SmallJobsSettings().Jobs };
        var clients = new Option<int>("--clients")
        {
            Description = "Concurrent clients",
            DefaultValueFactory = _ => new SmallJobsSettings().Clients,
        };
        var large = new Option<int>("--large-job-tasks")
        {
            Description = "Tasks of the bulk job beside them; 0 leaves it out",
            DefaultValueFactory = _ => new SmallJobsSettings().LargeJobTasks,
        };
        var command = new Command("small-jobs", "Many small jobs from many clients, beside one large job.") { jobs, clients, large };
        command.SetAction(
            (parsed, stop) =>
                RunAsync(
                    new SmallJobsSettings
                    {
                        Jobs = parsed.GetValue(jobs),
                        Clients = parsed.GetValue(clients),
                        LargeJobTasks = parsed.GetValue(large),
                    },
                    stop
                )
        );
        return command;
    }

    public static async Task<int> RunAsync(SmallJobsSettings settings, CancellationToken stop)
    {
        await using var rig = await ProcessRig.StartAsync(stop);
        await rig.AddStarterModelsAsync(stop);
        await rig.StartServicesAsync(null, stop);
        var texts = ShortTexts.Read();
        await SubmitAllAsync(rig, texts, settings with { Jobs = 10_000, Clients = 100 }, "warm", stop);
        if (settings.LargeJobTasks > 0)
        {
            var path = Path.Combine(rig.Folder, "large.ndjson");
            await ShortTexts.WriteBodyAsync(path, texts, settings.LargeJobTasks, stop);
            await using var file = File.OpenRead(path);
            using var body = new StreamContent(file);
            body.Headers.ContentType = new MediaTypeHeaderValue("application/x-ndjson");
            await rig.Client.SubmitAsync(
                body,
                [new("model", Model), new("class", "bulk"), new("reuse", "false"), new("metadata[bench]", "large")],
                null,
                stop
            );
        }

        var started = DateTimeOffset.UtcNow;
        var submits = await SubmitAllAsync(rig, texts, settings, "measured", stop);
        var submitted = DateTimeOffset.UtcNow;
        Figures.Say($"{settings.Jobs:N0} jobs accepted in {(submitted - started).TotalSeconds:0.0} s");
        var (finished, waits) = await UntilFinishedAsync(rig, stop);
        Array.Sort(submits);
        Array.Sort(waits);
        var target = LatencyClasses.Defaults[LatencyClass.Standard].Target.TotalSeconds;
        Figures.Report(
            new
            {
                benchmark = "small-jobs",
                jobs_per_s = Math.Round(settings.Jobs / (finished - started).TotalSeconds, 1),
                submit_p50_ms = Math.Round(Figures.Percentile(submits, 50), 1),
                submit_p99_ms = Math.Round(Figures.Percentile(submits, 99), 1),
                job_p50_s = Math.Round(Figures.Percentile(waits, 50), 2),
                job_p99_s = Math.Round(Figures.Percentile(waits, 99), 2),
                job_max_s = Math.Round(waits[^1], 2),
                class_target_s = target,
                jobs_beyond_target = waits.Count(wait => wait > target),
                peak_rss_mb = Figures.PeakServiceMemoryMb(rig),
                settings = new
                {
                    jobs = settings.Jobs,
                    tasks_each = settings.TasksEach,
                    clients = settings.Clients,
                    large_job_tasks = settings.LargeJobTasks,
                    cores = Environment.ProcessorCount,
                    durability = await Figures.DurabilityAsync(rig, stop),
                },
            }
        );
        return 0;
    }

    /// <returns>Milliseconds of each submission.</returns>
    private static async Task<double[]> SubmitAllAsync(
        ProcessRig rig,
        string[] texts,
        SmallJobsSettings settings,
        string mark,
        CancellationToken stop
    )
    {
        var took = new ConcurrentBag<double>();
        var next = -1;
        using var http = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = settings.Clients })
        {
            BaseAddress = rig.Services.Ingest.Address,
        };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", rig.ApiKey);
        var clients = Enumerable
            .Range(0, settings.Clients)
            .Select(async _ =>
            {
                while (Interlocked.Increment(ref next) is var job && job < settings.Jobs)
                {
                    var lines = Enumerable.Range(0, settings.TasksEach).Select(task => Line(texts, job, task));
                    using var body = new StringContent(string.Join('\n', lines), Encoding.UTF8, "application/x-ndjson");
                    var clock = Stopwatch.GetTimestamp();
                    using var answer = await http.PostAsync(
                        $"v1/jobs?model={Model}&class=standard&reuse=false&metadata[bench]={mark}",
                        body,
                        stop
                    );
                    answer.EnsureSuccessStatusCode();
                    took.Add(Stopwatch.GetElapsedTime(clock).TotalMilliseconds);
                }
            });
        await Task.WhenAll(clients);
        return [.. took];
    }

    private static string Line(string[] texts, int job, int task) =>
        JsonSerializer.Serialize(new { custom_id = $"t{task}", input = texts[((job * 10) + task) % texts.Length] });

    private static async Task<(DateTimeOffset Finished, double[] Waits)> UntilFinishedAsync(ProcessRig rig, CancellationToken stop)
    {
        // What is open has an index of its own, so waiting takes little from what is measured.
        await using var open = rig.Storage.CreateCommand("SELECT count(*) FROM jobs WHERE finished_at IS NULL AND class = 'standard'");
        while (await open.ExecuteScalarAsync(stop) is not 0L)
        {
            await Task.Delay(200, stop);
        }

        await using var command = rig.Storage.CreateCommand(
            """
            SELECT max(finished_at), array_agg(extract(epoch FROM finished_at - created_at)::float8)
            FROM jobs WHERE metadata->>'bench' = 'measured'
            """
        );
        await using var reader = await command.ExecuteReaderAsync(stop);
        await reader.ReadAsync(stop);
        return (reader.GetFieldValue<DateTimeOffset>(0), reader.GetFieldValue<double[]>(1));
    }
}
