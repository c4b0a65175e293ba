using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.IO.Compression;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Logging.Abstractions;
using Pipeline.Bench.Peers;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;
using Pipeline.GpuWorker.Models.Registration;
using Pipeline.GpuWorker.OnnxRuntime;
using Pipeline.Standalone.Host;
using Pipeline.StarterModels.Onnx;
using Pipeline.Tests.Support;

namespace Pipeline.Bench;

internal sealed record LimitSettings
{
    public int Tasks { get; init; } = 500;

    /// <summary>How often the bare loop and the pipeline take turns.</summary>
    public int Rounds { get; init; } = 5;

    /// <summary>Threads of one operator, for the pipeline's worker and for the bare loop alike.</summary>
    public int Threads { get; init; } = Environment.ProcessorCount;
}

/// <summary>
/// <c>limit</c>: where the device dominates, how much of it does the pipeline leave to the model? An encoder of MiniLM's shape with random
/// weights, texts of mixed lengths; against the bare loop over the same tasks: sorted by length, best batch size, same threads, no spinning.
/// </summary>
internal static class LimitBench
{
    private const string Model = "minilm-shape";
    private const int LengthMax = 256;
    private static readonly long[] BatchUnits = [512, 1024, 2048, 4096, 8192];

    public static Command Create()
    {
        var tasks = new Option<int>("--tasks")
        {
            Description = "Tasks of a round's job",
            DefaultValueFactory = _ => new LimitSettings().Tasks,
        };
        var rounds = new Option<int>("--rounds")
        {
            Description = "How often the bare loop and the pipeline take turns",
            DefaultValueFactory = _ => new LimitSettings().Rounds,
        };
        var threads = new Option<int>("--threads")
        {
            Description = "Threads of one operator",
            DefaultValueFactory = _ => new LimitSettings().Threads,
        };
        var command = new Command("limit", "A model where the device dominates, against the bare loop.") { tasks, rounds, threads };
        command.SetAction(
            (parsed, stop) =>
                RunAsync(
                    new LimitSettings
                    {
                        Tasks = parsed.GetValue(tasks),
                        Rounds = parsed.GetValue(rounds),
                        Threads = parsed.GetValue(threads),
                    },
                    stop
                )
        );
        return command;
    }

    public static async Task<int> RunAsync(LimitSettings settings, CancellationToken stop)
    {
        await using var rig = await ProcessRig.StartAsync(stop);
        var folder = WriteModel(Path.Combine(rig.Folder, "minilm"));
        Figures.Say("registering the encoder (its profile is measured)");
        var registered = await ModelSetup.AddAsync(
            rig.Storage,
            folder,
            rig.Options.ModelsFolder,
            new InstallOptions { Session = new SessionOptions { IntraOpThreads = settings.Threads } },
            makeCurrent: false,
            NullLogger.Instance,
            stop
        );
        Figures.Say(
            $"profile, µs a padded unit: {string.Join(", ", registered.Profile.Points.Select(p => $"{p.Rows}x{p.PaddedUnits / p.Rows}: {p.DeviceNs / 1e3 / p.PaddedUnits:0}"))}"
        );
        var (texts, lengths) = Texts(settings.Tasks);

        using var bare = PeerRuns.LoadModel(rig.Options.ModelsFolder, Model, settings.Threads);
        var units = BestBatch(bare, texts);
        await rig.StartServicesAsync(
            new Dictionary<string, string> { ["WORKER__INTRAOPTHREADS"] = settings.Threads.ToString(CultureInfo.InvariantCulture) },
            stop
        );
        await RunJobAsync(rig, texts[..Math.Min(32, texts.Length)], stop); // warm
        // This machine's speed drifts, so the two take turns, and each pair is compared by itself.
        var rounds = new List<(double Bare, double Pipeline)>();
        var accounts = await LedgerAsync(rig, stop);
        for (var round = 0; round < settings.Rounds; round++)
        {
            rounds.Add((BareLoop(bare, texts, units), await RunJobAsync(rig, texts, stop)));
            var now = await LedgerAsync(rig, stop);
            var spent = string.Join(
                ", ",
                now.Select(account => $"{account.Key} {account.Value - accounts.GetValueOrDefault(account.Key):0.0} s")
            );
            Figures.Say($"round {round + 1}: bare {rounds[^1].Bare:0.0} s, pipeline {rounds[^1].Pipeline:0.0} s (both: {spent})");
            accounts = now;
        }

        Figures.Report(
            new
            {
                benchmark = "limit",
                tasks_per_s = Math.Round(texts.Length / Median(rounds.Select(r => r.Pipeline)), 2),
                bare_tasks_per_s = Math.Round(texts.Length / Median(rounds.Select(r => r.Bare)), 2),
                ratio = Math.Round(Median(rounds.Select(r => r.Bare / r.Pipeline)), 3),
                ratios = rounds.Select(r => Math.Round(r.Bare / r.Pipeline, 3)),
                settings = new
                {
                    tasks_a_round = texts.Length,
                    mean_tokens = Math.Round(texts.Average(Words), 1),
                    lengths,
                    threads = settings.Threads,
                    spinning = false,
                    bare_padded_units_per_batch = units,
                    pipeline_padded_units_per_batch = await PaddedUnitsAsync(rig, stop),
                    cores = Environment.ProcessorCount,
                    durability = await Figures.DurabilityAsync(rig, stop),
                },
            }
        );
        return 0;
    }

    /// <summary>Seconds of the worker's device by account.</summary>
    private static async Task<Dictionary<string, double>> LedgerAsync(ProcessRig rig, CancellationToken stop)
    {
        await using var command = rig.Storage.CreateCommand(
            "SELECT account, sum(ns)::float8 / 1e9 FROM ledger GROUP BY account ORDER BY account"
        );
        await using var reader = await command.ExecuteReaderAsync(stop);
        var seconds = new Dictionary<string, double>();
        while (await reader.ReadAsync(stop))
        {
            seconds[reader.GetString(0)] = reader.GetDouble(1);
        }

        return seconds;
    }

    private static async Task<double> PaddedUnitsAsync(ProcessRig rig, CancellationToken stop)
    {
        await using var command = rig.Storage.CreateCommand("SELECT round(avg(padded_units))::float8 FROM batches");
        return (double)(await command.ExecuteScalarAsync(stop))!;
    }

    private static long BestBatch(IModel model, string[] texts)
    {
        // A sample finds the best size; every round is then run at it.
        var sample = texts[..Math.Min(texts.Length, 120)];
        BareLoop(model, sample, BatchUnits[0]); // warm
        var runs = BatchUnits.Select(units => (Units: units, Seconds: BareLoop(model, sample, units))).ToArray();
        Figures.Say(
            $"bare loop, seconds by padded units a batch: {string.Join(", ", runs.Select(run => $"{run.Units}: {run.Seconds:0.00}"))}"
        );
        return runs.MinBy(run => run.Seconds).Units;
    }

    private static double BareLoop(IModel model, string[] texts, long paddedUnits)
    {
        var tasks = texts.Select(text => model.Prepare(Encoding.UTF8.GetBytes(text))).OrderBy(task => task.Units).ToArray();
        var clock = Stopwatch.StartNew();
        for (var at = 0; at < tasks.Length; )
        {
            var rows = 1;
            while (at + rows < tasks.Length && (long)tasks[at + rows].Units * (rows + 1) <= paddedUnits)
            {
                rows++;
            }

            Run(model, tasks.AsSpan(at, rows));
            at += rows;
        }

        return clock.Elapsed.TotalSeconds;
    }

    private static void Run(IModel model, ReadOnlySpan<PreparedTask> tasks)
    {
        using var ran = model.Run(model.Pack(tasks), CancellationToken.None);
        for (var row = 0; row < tasks.Length; row++)
        {
            _ = ran.Result(row);
        }
    }

    private static async Task<double> RunJobAsync(ProcessRig rig, string[] texts, CancellationToken stop)
    {
        var lines = texts.Select((text, i) => JsonSerializer.Serialize(new { custom_id = $"t{i}", input = text }));
        using var body = new StringContent(string.Join('\n', lines), Encoding.UTF8);
        body.Headers.ContentType = new MediaTypeHeaderValue("application/x-ndjson");
        var started = DateTimeOffset.UtcNow;
        var job = await rig.Client.SubmitAsync(body, [new("model", Model), new("class", "bulk"), new("reuse", "false")], null, stop);
        while (!job.State.IsEnd())
        {
            await Task.Delay(200, stop);
            job = await rig.Client.GetJobAsync(job.Id, stop);
        }

        return job.Counts.Succeeded == texts.Length
            ? (job.FinishedAt!.Value - started).TotalSeconds
            : throw new InvalidOperationException($"{job.Counts.Succeeded} of {texts.Length} succeeded.");
    }

    /// <summary>
    /// Texts whose token counts follow the published lengths of arXiv papers (divided by 16, so that they fit the encoder), or, where that
    /// data is absent, a log-normal with median 90 and σ 0.6; a word is a token.
    /// </summary>
    private static (string[] Texts, string Source) Texts(int count)
    {
        const string Shared = "../shared/data/traces/arxiv_summarization_lengths_0-14k.csv.gz";
        var random = new Random(17);
        int[] lengths;
        var found = File.Exists(Shared);
        if (found)
        {
            using var reader = new StreamReader(new GZipStream(File.OpenRead(Shared), CompressionMode.Decompress));
            reader.ReadLine();
            var all = new List<int>();
            while (reader.ReadLine() is { } line)
            {
                all.Add(int.Parse(line.Split(',')[1], CultureInfo.InvariantCulture) / 16);
            }

            lengths = [.. Enumerable.Range(0, count).Select(_ => all[random.Next(all.Count)])];
        }
        else
        {
            lengths = [.. Enumerable.Range(0, count).Select(_ => (int)(90 * Math.Exp(0.6 * Normal(random))))];
        }

        var texts = lengths.Select(length =>
            string.Join(' ', Enumerable.Range(0, Math.Clamp(length, 4, LengthMax - 2)).Select(_ => Word(random.Next(VocabularyWords))))
        );
        return ([.. texts], found ? "arXiv paper lengths / 16" : "log-normal, median 90, sigma 0.6");
    }

    private static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        return sorted.Length % 2 == 1 ? sorted[sorted.Length / 2] : (sorted[(sorted.Length / 2) - 1] + sorted[sorted.Length / 2]) / 2;
    }

    private static double Normal(Random random) =>
        Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());

    private const int SpecialTokens = 5;
    private const int VocabularyWords = 30_522 - SpecialTokens;

    private static int Words(string text) => text.Count(c => c == ' ') + 3;

    /// <summary>The n-th word of the made-up vocabulary: letters only, so that one word is one token.</summary>
    private static string Word(int n)
    {
        Span<char> letters = stackalloc char[4];
        for (var i = 0; i < letters.Length; i++, n /= 26)
        {
            letters[i] = (char)('a' + (n % 26));
        }

        return new string(letters);
    }

    private static string WriteModel(string folder)
    {
        Directory.CreateDirectory(folder);
        var bytes = EncoderModel.CreateMiniLmShape(seed: 42).ToBytes();
        File.WriteAllBytes(Path.Combine(folder, "model.onnx"), bytes);
        string[] vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", .. Enumerable.Range(0, VocabularyWords).Select(Word)];
        File.WriteAllLines(Path.Combine(folder, "vocab.txt"), vocabulary);
        File.WriteAllText(
            Path.Combine(folder, "model.json"),
            $$"""
            {
              "name": "{{Model}}", "version": "1.0.0", "file": "model.onnx", "sha256": "{{Convert.ToHexStringLower(
                SHA256.HashData(bytes)
            )}}",
              "kind": "text",
              "tokenizer": { "type": "wordpiece", "max_length": {{LengthMax}}, "vocab": "vocab.txt" },
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
