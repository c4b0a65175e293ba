using System.CommandLine;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Logging;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Standalone.Client;

namespace Pipeline.Standalone.Host;

/// <summary>
/// <c>demo</c>: the main job from nothing. Starts a host in a folder of its own, sends sentences in many languages to the starter
/// model, shows progress, results, what a task cost, and where to look next; then stops and leaves nothing behind.
/// </summary>
internal static class DemoCommand
{
    private const string Model = "language-id-small";
    private const int SamplesShown = 8;
    private const int ExpressMax = 100;
    private const int ExpressIdle = 9;

    public static Command Create()
    {
        var tasks = new Option<int>("--tasks") { Description = "How many tasks the job has", DefaultValueFactory = _ => 200_000 };
        tasks.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is < 1 or > 5_000_000)
            {
                result.AddError("--tasks expects 1 to 5,000,000.");
            }
        });
        var keep = new Option<string?>("--data")
        {
            Description = "Run in this folder and keep it, instead of one that is removed at the end",
        };
        var command = new Command("demo", "Start the system, run a bulk job of real texts, show results and cost, stop.") { tasks, keep };
        command.SetAction(async (parsed, stop) => await RunAsync(parsed.GetValue(tasks), parsed.GetValue(keep), stop));
        return command;
    }

    private static async Task<int> RunAsync(int tasks, string? keep, CancellationToken stop)
    {
        var folder = keep is null ? TemporaryFolder.Create("pipeline-demo-") : Path.GetFullPath(keep);
        Console.WriteLine("Starting: a private PostgreSQL, the schema, the starter models, ingest, scheduler, worker, results…");
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var up = new TaskCompletionSource<HostRecord>(TaskCreationOptions.RunContinuationsAsynchronously);
        var host = HostRun.RunAsync(
            new HostSettings
            {
                DataFolder = folder,
                Port = 0,
                Broker = PipelineOptions.InMemoryBroker,
                LogLevel = LogLevel.Warning,
            },
            up.SetResult,
            ending.Token
        );
        try
        {
            if (await Task.WhenAny(up.Task, host) == host)
            {
                return await host;
            }

            return await RunJobAsync(await up.Task, tasks, stop);
        }
        finally
        {
            await ending.CancelAsync();
            await ((Task)host).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (keep is null)
            {
                Directory.Delete(folder, recursive: true);
            }
        }
    }

    private static async Task<int> RunJobAsync(HostRecord record, int tasks, CancellationToken stop)
    {
        using var client = new PipelineClient(record.Ingest, record.Results, record.ApiKey);
        var sentences = await ReadSentencesAsync(stop);
        Console.WriteLine(
            $"Up at {record.Ingest}. Sending one bulk job: {tasks:N0} sentences in {sentences.Select(s => s.Language).Distinct().Count()} languages to {Model}."
        );
        var idle = await AskIdleAsync(client, sentences, stop);
        using var body = new ByteArrayContent(Body(sentences, tasks));
        body.Headers.ContentType = new MediaTypeHeaderValue("application/x-ndjson");
        // There are fewer sentences than tasks, and each task is to run.
        var job = await client.SubmitAsync(body, [new("model", Model), new("class", "bulk"), new("reuse", "false")], null, stop);
        var express = AskBesideAsync(client, job.Id, sentences, stop);
        job = await new JobWatch(client, TimeProvider.System).UntilEndAsync(job.Id, json: false, stop);
        var answers = await express;
        Console.WriteLine();
        Console.WriteLine(WatchCommand.Summary(job));
        await ShowResultsAsync(client, job, sentences, stop);
        ShowExpress(idle, answers, job);
        Console.WriteLine(
            $"""

            What it cost: {Cost.Format((Int128)job.CostPicoUsd)} of device time for {job.Tasks:N0} tasks, {Cost.Format(
                (Int128)(job.CostPicoUsd / job.Tasks)
            )} each.

            Where to look next:
              ./pipeline up                                         keep it running, with your data in a folder
              ./pipeline submit FILE -m {Model} --watch   send your own texts (one per line, CSV or NDJSON)
              ./pipeline models add FOLDER                          run your own ONNX model (models init writes its manifest)
              ./pipeline test                                       run the tests
            """
        );
        return job.State == JobState.Completed && job.Counts.Succeeded == job.Tasks ? ExitCode.Ok : ExitCode.NotAllSucceeded;
    }

    /// <summary>Before the bulk job: express requests to an idle device.</summary>
    private static async Task<List<Answer>> AskIdleAsync(PipelineClient client, List<Sentence> sentences, CancellationToken stop)
    {
        await AnswerAsync(client, sentences[0], stop); // The first of everything is slow, and says nothing about the second.
        var answers = new List<Answer>();
        while (answers.Count < ExpressIdle)
        {
            answers.Add(await AnswerAsync(client, sentences[answers.Count], stop));
        }

        return answers;
    }

    /// <summary>While the bulk job runs: express requests, one after the other, each waited for.</summary>
    private static async Task<List<Answer>> AskBesideAsync(
        PipelineClient client,
        string job,
        List<Sentence> sentences,
        CancellationToken stop
    )
    {
        var answers = new List<Answer>();
        do
        {
            answers.Add(await AnswerAsync(client, sentences[answers.Count % sentences.Count], stop));
        } while (answers.Count < ExpressMax && !(await client.GetJobAsync(job, stop)).State.IsEnd());

        return answers;
    }

    private static async Task<Answer> AnswerAsync(PipelineClient client, Sentence sentence, CancellationToken stop)
    {
        while (true)
        {
            var sent = TimeProvider.System.GetTimestamp();
            try
            {
                var body = await client.InferAsync(Model, sentence.Text, stop);
                return new Answer(sentence, body, TimeProvider.System.GetElapsedTime(sent));
            }
            catch (ApiException e) when (e.RetryAfter is { } pause)
            {
                // Express is refused rather than late, and until the scheduler has seen a worker.
                await Task.Delay(pause, stop);
            }
        }
    }

    private static void ShowExpress(List<Answer> idle, List<Answer> beside, ApiJob job)
    {
        var middle = Median(beside);
        var label = Result(middle).GetProperty("output").GetProperty("labels")[0].GetProperty("label").GetString();
        Console.WriteLine(
            $"""

            While it ran, express asked {beside.Count:N0} times and waited for each answer:
              {label}  {Shorten(middle.Sentence.Text)}

                                      answered in  cost of a task
              express, device idle    {Row(Median(idle).Took, CostOf(Median(idle)))}
              express, beside bulk    {Row(middle.Took, CostOf(middle))}
              bulk                    {Row(job.FinishedAt - job.CreatedAt, (long)job.CostPicoUsd / job.Tasks)}
            """
        );

        static Answer Median(List<Answer> answers) => answers.OrderBy(a => a.Took).ElementAt(answers.Count / 2);
        static JsonElement Result(Answer answer) => answer.Body.GetProperty("results")[0];
        static long CostOf(Answer answer) => Result(answer).GetProperty("cost_pico_usd").GetInt64();
        static string Row(TimeSpan? took, long picoUsd) => $"{$"{took?.TotalMilliseconds:N0} ms", -11}  {Cost.Format(picoUsd)}";
    }

    private static async Task ShowResultsAsync(PipelineClient client, ApiJob job, List<Sentence> sentences, CancellationToken stop)
    {
        var (seen, right, shown) = (0, 0, 0);
        Console.WriteLine();
        await foreach (var line in client.ResultsAsync(job.Id, "order=task", stop))
        {
            using var result = JsonDocument.Parse(line);
            var root = result.RootElement;
            if (root.GetProperty("status").GetString() != TaskOutcome.Succeeded.Name())
            {
                continue;
            }

            var sentence = sentences[(int)(root.GetProperty("seq").GetInt64() % sentences.Count)];
            var best = root.GetProperty("output").GetProperty("labels")[0];
            seen++;
            right += best.GetProperty("label").GetString() == sentence.Language ? 1 : 0;
            if (shown < SamplesShown)
            {
                shown++;
                Console.WriteLine(
                    $"  {best.GetProperty("label").GetString()} {best.GetProperty("score").GetDouble():0.00}  {Shorten(sentence.Text)}"
                );
            }
        }

        Console.WriteLine($"  … {right:N0} of {seen:N0} name the right language ({(seen == 0 ? 0 : (double)right / seen):P1}).");
    }

    private static byte[] Body(List<Sentence> sentences, int tasks)
    {
        using var body = new MemoryStream();
        using var json = new Utf8JsonWriter(body);
        for (var i = 0; i < tasks; i++)
        {
            var sentence = sentences[i % sentences.Count];
            json.WriteStartObject();
            json.WriteString("custom_id", $"{sentence.Language}-{i}");
            json.WriteString("input", sentence.Text);
            json.WriteEndObject();
            json.Flush();
            json.Reset();
            body.WriteByte((byte)'\n');
        }

        return body.ToArray();
    }

    /// <summary>Sentences the model never saw in training, languages taking turns.</summary>
    private static async Task<List<Sentence>> ReadSentencesAsync(CancellationToken stop)
    {
        var byLanguage = new List<Queue<Sentence>>();
        foreach (var file in Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "demo"), "*.txt").Order(StringComparer.Ordinal))
        {
            var language = Path.GetFileNameWithoutExtension(file);
            var lines = await File.ReadAllLinesAsync(file, Encoding.UTF8, stop);
            byLanguage.Add(
                new Queue<Sentence>(lines.Where(line => line.Length > 0 && line[0] != '#').Select(line => new Sentence(language, line)))
            );
        }

        var sentences = new List<Sentence>();
        while (byLanguage.RemoveAll(queue => queue.Count == 0) >= 0 && byLanguage.Count > 0)
        {
            sentences.AddRange(byLanguage.Select(queue => queue.Dequeue()));
        }

        return sentences;
    }

    private static string Shorten(string text) => text.Length <= 70 ? text : $"{text[..69]}…";

    private sealed record Sentence(string Language, string Text);

    private sealed record Answer(Sentence Sentence, JsonElement Body, TimeSpan Took);
}
