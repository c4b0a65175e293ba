using System.CommandLine;
using System.Diagnostics;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Logging.Abstractions;
using Pipeline.Standalone.Host;
using Pipeline.Tests.Support;
using Pipeline.Tests.Support.Models;

namespace Pipeline.Bench;

internal sealed record StreamsSettings
{
    public int Streams { get; init; } = 1_000;
    public double PerSecond { get; init; } = 20;
    public int Inputs { get; init; } = 12;

    /// <summary>Mean seconds between two kills of an ingest process.</summary>
    public double KillEvery { get; init; } = 6;
    public int Seed { get; init; } = 1;
}

/// <summary>
/// <c>streams</c>: inferences read as server-sent events through two ingest processes, while half of the connections are cut by the client at a
/// random event and the processes are killed (<c>kill -9</c>) in turns and started again. A reader goes on at either process with <c>Last-Event-ID</c>,
/// or sends its request again under its <c>Idempotency-Key</c> where it was not told an id yet. A stream is complete when every input's
/// result came exactly once, then <c>finished</c>, and after each break the reader was being served again within 2 s.
/// </summary>
internal static class StreamsBench
{
    private static readonly TimeSpan ReadyWait = TimeSpan.FromMinutes(1);

    public static Command Create()
    {
        var usual = new StreamsSettings();
        var streams = new Option<int>("--streams") { Description = "Inferences", DefaultValueFactory = _ => usual.Streams };
        var rate = new Option<double>("--per-second") { Description = "Of them a second", DefaultValueFactory = _ => usual.PerSecond };
        var kill = new Option<double>("--kill-every")
        {
            Description = "Mean seconds between two kills",
            DefaultValueFactory = _ => usual.KillEvery,
        };
        var command = new Command("streams", "Event streams whose connections are cut and whose servers are killed: how many are complete?")
        {
            streams,
            rate,
            kill,
        };
        command.SetAction(
            (parsed, stop) =>
                RunAsync(
                    usual with
                    {
                        Streams = parsed.GetValue(streams),
                        PerSecond = parsed.GetValue(rate),
                        KillEvery = parsed.GetValue(kill),
                    },
                    stop
                )
        );
        return command;
    }

    public static async Task<int> RunAsync(StreamsSettings settings, CancellationToken stop)
    {
        await using var rig = await ProcessRig.StartAsync(stop);
        await rig.AddStarterModelsAsync(stop);
        var folder = Path.Combine(rig.Folder, SlowEncoder.Name);
        SlowEncoder.Write(folder);
        await ModelSetup.AddAsync(rig.Storage, folder, rig.Options.ModelsFolder, new(), makeCurrent: true, NullLogger.Instance, stop);
        await rig.StartServicesAsync(null, stop);
        ServiceProcess[] doors = [rig.Services.Ingest, StartDoor(rig, 0)];
        await doors[1].UntilReadyAsync(ReadyWait, stop);

        using var http = new HttpClient { Timeout = Timeout.InfiniteTimeSpan };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", rig.ApiKey);
        http.DefaultRequestHeaders.Accept.ParseAdd("text/event-stream");
        using var ends = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var killing = KillAsync(rig, doors, settings, ends.Token);
        var (random, texts) = (new Random(settings.Seed), ShortTexts.Read());
        var readers = new List<Task<StreamReading>>();
        for (var i = 0; i < settings.Streams; i++)
        {
            var inputs = random.GetItems(texts, settings.Inputs);
            var cutAfter = random.Next(2) == 0 ? random.Next(settings.Inputs + 2) : (int?)null;
            readers.Add(new StreamReading(http, [.. doors.Select(door => door.Address)], inputs, cutAfter).RunAsync(stop));
            await Task.Delay(TimeSpan.FromSeconds(1 / settings.PerSecond), stop);
        }

        var read = await Task.WhenAll(readers);
        await ends.CancelAsync();
        var kills = await killing;
        var complete = read.Count(r => r.IsComplete);
        Figures.Report(
            new
            {
                benchmark = "streams",
                complete_pct = Math.Round(100.0 * complete / read.Length, 2),
                streams = read.Length,
                kills,
                broken = read.Count(r => r.Breaks > 0),
                breaks = read.Sum(r => r.Breaks),
                results_missing = read.Sum(r => r.Missing),
                results_twice = read.Sum(r => r.Twice),
                late = read.Count(r => r.LongestMs > StreamReading.ResumeMax.TotalMilliseconds),
                resume_p99_ms = Math.Round(Figures.Percentile([.. read.Select(r => r.LongestMs).Order()], 99)),
                settings = new
                {
                    inputs = settings.Inputs,
                    per_second = settings.PerSecond,
                    kill_every_s = settings.KillEvery,
                    seed = settings.Seed,
                    cores = Environment.ProcessorCount,
                    durability = await Figures.DurabilityAsync(rig, stop),
                },
            }
        );
        return complete >= 0.995 * read.Length ? 0 : 1;
    }

    private static ServiceProcess StartDoor(ProcessRig rig, int port) => rig.Services.Start("ingest", "Pipeline.Ingest.dll", port);

    /// <summary>One after the other, and the next only when the last is back: so one of them is there, as behind a gateway.</summary>
    private static async Task<int> KillAsync(ProcessRig rig, ServiceProcess[] doors, StreamsSettings settings, CancellationToken stop)
    {
        var random = new Random(settings.Seed + 1);
        var kills = 0;
        try
        {
            while (true)
            {
                await Task.Delay(TimeSpan.FromSeconds(settings.KillEvery * (0.5 + random.NextDouble())), stop);
                var victim = kills++ % doors.Length;
                doors[victim].Kill();
                doors[victim] = StartDoor(rig, doors[victim].Address.Port);
                await doors[victim].UntilReadyAsync(ReadyWait, stop);
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            return kills;
        }
    }
}

/// <summary>One inference, read as events until it has finished, over as many connections as that takes.</summary>
/// <param name="doors">Where it may be read; the next is tried when one fails.</param>
/// <param name="cutAfter">Events after which the connection is cut, once; null for never.</param>
internal sealed class StreamReading(HttpClient http, IReadOnlyList<Uri> doors, string[] inputs, int? cutAfter)
{
    public static readonly TimeSpan ResumeMax = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan GiveUpAfter = TimeSpan.FromMinutes(1);

    private readonly int[] _seen = new int[inputs.Length];
    private readonly string _key = Guid.NewGuid().ToString("N");
    private readonly byte[] _body = JsonSerializer.SerializeToUtf8Bytes(
        new
        {
            model = SlowEncoder.Name,
            @class = "standard",
            inputs,
        }
    );
    private int? _cutAfter = cutAfter;
    private string? _job;
    private string _last = "";
    private bool _finished;

    public int Breaks { get; private set; }

    /// <summary>The longest time after a break until it was served again.</summary>
    public double LongestMs { get; private set; }

    public int Missing => _seen.Count(times => times == 0);

    public int Twice => _seen.Count(times => times > 1);

    public bool IsComplete => _finished && Missing + Twice == 0 && LongestMs <= ResumeMax.TotalMilliseconds;

    public async Task<StreamReading> RunAsync(CancellationToken stop)
    {
        var (door, began) = (_key[0] % doors.Count, Stopwatch.StartNew());
        Stopwatch? broken = null;
        while (!_finished && began.Elapsed < GiveUpAfter)
        {
            try
            {
                using var request = Request(doors[door]);
                using var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, stop);
                if (response is { IsSuccessStatusCode: true, Content.Headers.ContentType.MediaType: "text/event-stream" })
                {
                    LongestMs = Math.Max(LongestMs, broken?.Elapsed.TotalMilliseconds ?? 0);
                    broken = null;
                    using var events = new StreamReader(await response.Content.ReadAsStreamAsync(stop), Encoding.UTF8);
                    await ReadAsync(events, stop);
                }
            }
            catch (Exception e) when (e is HttpRequestException or IOException)
            {
                // Refused, reset, or ended in the middle: the process is gone.
            }

            if (!_finished)
            {
                Breaks += broken is null ? 1 : 0;
                broken ??= Stopwatch.StartNew();
                door = (door + 1) % doors.Count;
                await Task.Delay(Pause, stop);
            }
        }

        return this;
    }

    private HttpRequestMessage Request(Uri door)
    {
        if (_job is not null)
        {
            var again = new HttpRequestMessage(HttpMethod.Get, new Uri(door, $"/v1/infer/{_job}"));
            again.Headers.Add("Last-Event-ID", _last);
            return again;
        }

        var first = new HttpRequestMessage(HttpMethod.Post, new Uri(door, "/v1/infer")) { Content = new ByteArrayContent(_body) };
        first.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        first.Headers.Add("Idempotency-Key", _key);
        return first;
    }

    /// <summary>Reads to the end, or to where it is cut.</summary>
    private async Task ReadAsync(StreamReader events, CancellationToken stop)
    {
        var (type, id, data) = ("", (string?)null, "");
        while (!_finished && await events.ReadLineAsync(stop) is { } line)
        {
            if (line.Length > 0)
            {
                var colon = line.IndexOf(':', StringComparison.Ordinal);
                var value = line[(colon + 1)..].TrimStart(' ');
                (type, id, data) = line[..Math.Max(0, colon)] switch
                {
                    "event" => (value, id, data),
                    "id" => (type, value, data),
                    "data" => (type, id, data + value),
                    _ => (type, id, data),
                };
                continue;
            }

            Take(type, data);
            _last = id ?? _last;
            (type, id, data) = ("", null, "");
            if (_cutAfter is { } left && (_cutAfter = left - 1) < 0)
            {
                _cutAfter = null;
                return;
            }
        }
    }

    private void Take(string type, string data)
    {
        switch (type)
        {
            case "accepted":
                _job = JsonElement.Parse(data).GetProperty("id").GetString();
                break;
            case "result":
                _seen[JsonElement.Parse(data).GetProperty("seq").GetInt32()]++;
                break;
            case "finished":
                _finished = true;
                break;
        }
    }
}
