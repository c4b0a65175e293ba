using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models.Registration;
using Pipeline.GpuWorker.OnnxRuntime;
using Pipeline.Scheduler.Policy;
using Pipeline.Scheduler.Service;
using Pipeline.Simulator.Fidelity;
using Pipeline.Simulator.Fleet;
using Pipeline.Simulator.Workloads;
using Pipeline.Standalone.Host;
using Pipeline.StarterModels.Onnx;
using Pipeline.Tests.Support;

namespace Pipeline.Bench;

/// <summary>
/// The real half of <c>fidelity</c>: one life of the four services for each target. First calibration (single tasks, a stream, a bulk
/// job), then the pairs one after another, each until all of it has ended. What happened is read from PostgreSQL (batches, results) and
/// from the scheduler's journal, whose replay says when each dispatch was decided.
/// </summary>
internal sealed class FidelityRun
{
    private const string Model = "fidelity-encoder";

    /// <summary>Letters of every text, as many tokens as the model takes: equal lengths leave nothing to chance but time.</summary>
    private const int TextLength = 128;
    private const double WarmingPerSecond = 15;

    /// <summary>Most of what runs often is compiled then; in the first six seconds single batches took a third to three quarters longer.</summary>
    private const double WarmingSeconds = 30;
    private const int CalibrationSingles = 40;
    private const double CalibrationLoad = 0.7;
    private const double CalibrationLoadBesideBulk = 0.5;
    private const double CalibrationSeconds = 18;
    private const double BeforeSeconds = 6;

    private readonly ProcessRig _rig;
    private readonly FidelitySettings _settings;
    private readonly ModelSpec _model;
    private readonly string _line = $$"""{"custom_id":"t","input":"{{new string('a', TextLength)}}"}""";
    private HttpClient _http = null!;
    private ulong _seed;

    private FidelityRun(ProcessRig rig, FidelitySettings settings, ModelSpec model)
    {
        (_rig, _settings, _model) = (rig, settings, model);
        _seed = settings.Seed * 1000;
    }

    /// <summary>Registers the model.</summary>
    public static async Task<FidelityRun> PrepareAsync(ProcessRig rig, FidelitySettings settings, CancellationToken stop)
    {
        Figures.Say("registering the encoder (its profile is measured)");
        var installed = await ModelSetup.AddAsync(
            rig.Storage,
            WriteModel(Path.Combine(rig.Folder, Model)),
            rig.Options.ModelsFolder,
            new InstallOptions { Session = new SessionOptions { IntraOpThreads = 1 } },
            makeCurrent: false,
            NullLogger.Instance,
            stop
        );
        var manifest = installed.Manifest;
        return new FidelityRun(rig, settings, new ModelSpec(manifest.Ref, installed.Profile, manifest.Limits));
    }

    /// <summary>Lives once, with all pairs of one target.</summary>
    public async Task<Observed> ObserveAsync(IReadOnlyList<FidelityPair> pairs, CancellationToken stop)
    {
        var target = pairs[0].TargetMs;
        var journals = Path.Combine(_rig.Folder, string.Create(CultureInfo.InvariantCulture, $"journals-{target}"));
        var started = DateTimeOffset.UtcNow;
        await using (var services = new ServiceProcesses(_rig.Options, Path.Combine(_rig.Folder, "logs"), Settings(target, journals)))
        {
            await services.StartAllAsync(0, 0, stop);
            using var http = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = 256 })
            {
                BaseAddress = services.Ingest.Address,
            };
            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", _rig.ApiKey);
            _http = http;
            var perSecond = await CalibrateAsync(stop);
            Figures.Say($"target {target} ms: calibrated, the device does {perSecond:0.0} tasks/s");
            foreach (var pair in pairs)
            {
                await RunPairAsync(pair, perSecond, stop);
            }
        }

        return await ReadAsync(journals, started, stop);
    }

    private static Dictionary<string, string> Settings(double targetMs, string journals) =>
        new()
        {
            ["WORKER__INTRAOPTHREADS"] = "1",
            // What cannot be promised is let in all the same, so that there is something to miss.
            ["INGEST__REFUSELATEEXPRESS"] = "false",
            ["SCHEDULER__JOURNAL__FOLDER"] = journals,
            ["SCHEDULER__POLICY__CLASSES__EXPRESS__TARGET"] = TimeSpan.FromMilliseconds(targetMs).ToString(),
            ["SCHEDULER__POLICY__CLASSES__EXPRESS__COMPLETIONWINDOW"] = "00:01:00",
            ["SCHEDULER__POLICY__CLASSES__EXPRESS__PRICEFACTOR"] = "4",
        };

    // Work

    /// <summary>Single tasks on an idle system, streams of express, and one beside a bulk job.</summary>
    /// <returns>Tasks per second of the device, in batches as large as express may have them.</returns>
    private async Task<double> CalibrateAsync(CancellationToken stop)
    {
        // First calls are compiled and connections opened: that is no part of what follows.
        await SubmitAsync(SeenJob.Warming, LatencyClass.Bulk, (int)(WarmingPerSecond * WarmingSeconds), stop);
        await StreamAsync(SeenJob.Warming, WarmingPerSecond, (int)(WarmingPerSecond * WarmingSeconds), 1, stop);
        await UntilEndedAsync(stop);
        var began = DateTimeOffset.UtcNow;
        for (var i = 0; i < CalibrationSingles; i++)
        {
            await SubmitAsync(SeenJob.Calibration, LatencyClass.Express, 1, stop);
            await Task.Delay(80 + (i % 7), stop);
        }

        await UntilEndedAsync(stop);
        var perSecond = await CapacityAsync(began, stop);
        await CalibrationStreamAsync(SeenJob.Calibration, perSecond, CalibrationSeconds / 3, 1, bulk: false, stop);
        await CalibrationStreamAsync(SeenJob.Calibration, perSecond, CalibrationSeconds / 3, 2, bulk: false, stop);
        await CalibrationStreamAsync(SeenJob.Calibration, perSecond, CalibrationSeconds / 3, 1, bulk: true, stop);
        await UntilEndedAsync(stop);
        return await CapacityAsync(began, stop);
    }

    private async Task RunPairAsync(FidelityPair pair, double perSecond, CancellationToken stop)
    {
        var number = FidelityPair.All.ToList().IndexOf(pair);
        await CalibrationStreamAsync(SeenJob.Before(number), perSecond, BeforeSeconds, 1, pair.Bulk, stop);
        await UntilEndedAsync(stop);
        await MixAsync(number, perSecond, pair.Load, _settings.Seconds, pair.Cv, pair.Bulk, stop);
        await UntilEndedAsync(stop);
    }

    private Task CalibrationStreamAsync(int mark, double perSecond, double seconds, double cv, bool bulk, CancellationToken stop) =>
        MixAsync(mark, perSecond, bulk ? CalibrationLoadBesideBulk : CalibrationLoad, seconds, cv, bulk, stop);

    /// <summary>A stream of express, and beside it a bulk job where one is asked for.</summary>
    private async Task MixAsync(int mark, double perSecond, double load, double seconds, double cv, bool bulk, CancellationToken stop)
    {
        if (bulk)
        {
            // What express leaves, and half of that again, so that there is some to the end.
            var tasks = (int)(1.5 * (1 - load) * perSecond * seconds);
            await SubmitAsync(mark, LatencyClass.Bulk, Math.Clamp(tasks, 1, ChunkPayload.TasksMax), stop);
        }

        var rate = load * perSecond;
        await StreamAsync(mark, rate, (int)(rate * seconds), cv, stop);
    }

    /// <summary>Open loop: jobs of one task come when they come, whatever became of those before.</summary>
    private async Task StreamAsync(int mark, double perSecond, int count, double cv, CancellationToken stop)
    {
        var arrivals = new GammaArrivals(new Kind(), perSecond, cv, count, ++_seed);
        var clock = Stopwatch.StartNew();
        var sent = new List<Task>(count);
        while (arrivals.Next(out var next))
        {
            var wait = new TimeSpan(next.At) - clock.Elapsed;
            if (wait > TimeSpan.Zero)
            {
                await Task.Delay(wait, stop);
            }

            sent.Add(SubmitAsync(mark, LatencyClass.Express, 1, stop));
        }

        await Task.WhenAll(sent);
    }

    private async Task SubmitAsync(int mark, LatencyClass latencyClass, int tasks, CancellationToken stop)
    {
        using var body = new StringContent(
            tasks == 1
                ? _line
                : string.Join('\n', Enumerable.Range(0, tasks).Select(i => _line.Replace("\"t\"", $"\"t{i}\"", StringComparison.Ordinal))),
            Encoding.UTF8,
            "application/x-ndjson"
        );
        using var answer = await _http.PostAsync(
            $"v1/jobs?model={Model}&class={latencyClass.Name()}&reuse=false&metadata[mark]={mark.ToString(CultureInfo.InvariantCulture)}",
            body,
            stop
        );
        answer.EnsureSuccessStatusCode();
    }

    private async Task UntilEndedAsync(CancellationToken stop)
    {
        await using var command = _rig.Storage.CreateCommand("SELECT count(*) FROM jobs WHERE finished_at IS NULL");
        while ((long)(await command.ExecuteScalarAsync(stop))! > 0)
        {
            await Task.Delay(100, stop);
        }
    }

    /// <summary>The best rate of any size of batch that express may have, by the sizes that ran.</summary>
    private async Task<double> CapacityAsync(DateTimeOffset since, CancellationToken stop)
    {
        await using var command = _rig.Storage.CreateCommand(
            """
            SELECT max(rate) FROM (
              SELECT rows / percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - started_at)) AS rate
              FROM batches WHERE started_at >= $1 GROUP BY rows HAVING count(*) >= 3) AS sizes
            """
        );
        command.Parameters.Add(new NpgsqlParameter { Value = since });
        return (double)(await command.ExecuteScalarAsync(stop))!;
    }

    // What was seen

    private async Task<Observed> ReadAsync(string journals, DateTimeOffset since, CancellationToken stop)
    {
        var (options, arrived, decided, known) = ReadJournal(Directory.GetFiles(journals, JournalFile.Pattern).Single());
        return new Observed
        {
            Policy = options,
            Model = _model,
            Jobs = await ReadJobsAsync(arrived, since, stop),
            Batches = await ReadBatchesAsync(decided, known, since, stop),
        };
    }

    /// <summary>When the scheduler knew of each job and of each dispatch's end, and when it decided each dispatch.</summary>
    private static (
        PolicyOptions Options,
        Dictionary<JobId, long> Arrived,
        Dictionary<DispatchId, long> Decided,
        Dictionary<DispatchId, long> Known
    ) ReadJournal(string path)
    {
        var (arrived, decided, known) = (
            new Dictionary<JobId, long>(),
            new Dictionary<DispatchId, long>(),
            new Dictionary<DispatchId, long>()
        );
        using var reader = JournalReader.Open(path);
        var replay = new JournalReplay(reader.Head);
        foreach (var line in reader.Lines())
        {
            foreach (var send in replay.Take(line).OfType<SendDispatch>())
            {
                decided.TryAdd(send.Dispatch.Id, line.Ticks);
            }

            if (line is JournalFact { Fact: ChunkArrived chunk })
            {
                arrived.TryAdd(chunk.Chunk.Job, line.Ticks);
            }
            else if (line is JournalFact { Fact: DispatchEnded ended })
            {
                known.TryAdd(ended.Report.Id, line.Ticks);
            }
        }

        if (replay.Difference is { } difference)
        {
            Figures.Say($"the journal replays differently: {difference}");
        }

        return (reader.Head.Options, arrived, decided, known);
    }

    private async Task<List<SeenJob>> ReadJobsAsync(Dictionary<JobId, long> arrived, DateTimeOffset since, CancellationToken stop)
    {
        await using var command = _rig.Storage.CreateCommand(
            """
            SELECT j.id, (j.metadata ->> 'mark')::int, j.class, j.tasks, (j.units / j.tasks)::int, j.queued_at, max(r.finished_at),
                   bool_and(r.status = 'succeeded')
            FROM jobs j JOIN results r ON r.job = j.id WHERE j.created_at >= $1 GROUP BY j.id ORDER BY j.queued_at
            """
        );
        command.Parameters.Add(new NpgsqlParameter { Value = since });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var jobs = new List<SeenJob>();
        while (await reader.ReadAsync(stop))
        {
            jobs.Add(
                new SeenJob(
                    reader.GetInt32(1),
                    LatencyClasses.TryParse(reader.GetString(2), out var latencyClass) ? latencyClass : LatencyClass.Bulk,
                    reader.GetInt32(3),
                    reader.GetInt32(4),
                    Ticks(reader, 5),
                    arrived.GetValueOrDefault(new JobId(reader.GetGuid(0))),
                    Ticks(reader, 6),
                    reader.GetBoolean(7)
                )
            );
        }

        return jobs;
    }

    private async Task<List<SeenBatch>> ReadBatchesAsync(
        Dictionary<DispatchId, long> decided,
        Dictionary<DispatchId, long> known,
        DateTimeOffset since,
        CancellationToken stop
    )
    {
        // A batch is read with one of its results: all of them have reached the worker, and ended, together.
        await using var command = _rig.Storage.CreateCommand(
            """
            SELECT b.dispatch, b.lane, b.rows, b.padded_units, b.device_ns, b.started_at, b.finished_at, r.finished_at,
                   b.started_at - r.staged_us * interval '1 microsecond'
            FROM batches b JOIN (SELECT DISTINCT ON (batch) batch, finished_at, staged_us FROM results) AS r ON r.batch = b.id
            WHERE b.started_at >= $1 ORDER BY b.started_at
            """
        );
        command.Parameters.Add(new NpgsqlParameter { Value = since });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var batches = new List<SeenBatch>();
        while (await reader.ReadAsync(stop))
        {
            var dispatch = new DispatchId(reader.GetGuid(0));
            batches.Add(
                new SeenBatch(
                    dispatch,
                    reader.GetString(1) == Lane.Express.Name() ? Lane.Express : Lane.Bulk,
                    reader.GetInt32(2),
                    reader.GetInt64(3),
                    reader.GetInt64(4),
                    decided.GetValueOrDefault(dispatch),
                    Ticks(reader, 8),
                    Ticks(reader, 5),
                    Ticks(reader, 6),
                    Ticks(reader, 7),
                    known.GetValueOrDefault(dispatch)
                )
            );
        }

        return batches;
    }

    private static long Ticks(NpgsqlDataReader reader, int column) => reader.GetFieldValue<DateTimeOffset>(column).UtcTicks;

    /// <summary>An encoder that takes one thread some 35 ms a task, so that the rest of the system is small beside it.</summary>
    private static string WriteModel(string folder)
    {
        Directory.CreateDirectory(folder);
        var bytes = EncoderModel
            .Create(layers: 18, hidden: 256, heads: 4, feedForward: 1024, vocabulary: 256, maxPositions: 128, seed: 7)
            .ToBytes();
        File.WriteAllBytes(Path.Combine(folder, "model.onnx"), bytes);
        File.WriteAllText(
            Path.Combine(folder, "model.json"),
            $$"""
            {
              "name": "{{Model}}", "version": "1.0.0", "file": "model.onnx",
              "sha256": "{{Convert.ToHexStringLower(SHA256.HashData(bytes))}}",
              "kind": "text",
              "tokenizer": { "type": "bytes", "max_length": 128 },
              "inputs": { "input_ids": { "batch_axis": 0 }, "attention_mask": { "batch_axis": 0 } },
              "outputs": { "last_hidden_state": { "batch_axis": 0 } },
              "result": { "type": "embedding", "from": "last_hidden_state", "pooling": "mean", "normalize": true },
              "limits": { "batch_rows_max": 64, "padded_units_max": 8192 }
            }
            """
        );
        return folder;
    }
}
