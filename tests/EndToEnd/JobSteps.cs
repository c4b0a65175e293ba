using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Standalone.Client;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.EndToEnd;

/// <summary>What tests do with a job from outside: send it, wait for a count of it, and check every promise about it.</summary>
internal static class JobSteps
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(90);

    /// <summary>Sends a job of class bulk.</summary>
    /// <param name="reuse">False: every task runs, however often its text comes.</param>
    /// <param name="parameter">What <paramref name="model"/> names: <c>model</c> or <c>route</c>.</param>
    public static async Task<SentJob> SendAsync(
        this PipelineClient client,
        string model,
        IReadOnlyList<string> texts,
        bool reuse = false,
        string parameter = "model"
    )
    {
        var body = new StringBuilder();
        for (var seq = 0; seq < texts.Count; seq++)
        {
            body.Append(JsonSerializer.Serialize(new { custom_id = SentJob.CustomId(seq), input = texts[seq] })).Append('\n');
        }

        using var content = new StringContent(body.ToString(), Encoding.UTF8);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/x-ndjson");
        var job = await client.SubmitAsync(
            content,
            [new(parameter, model), new("class", "bulk"), new("reuse", reuse ? "true" : "false")],
            null,
            TestContext.Current.CancellationToken
        );
        Assert.Equal(texts.Count, job.Tasks);
        return new SentJob(job.Id, model, texts);
    }

    /// <summary>Reads the job until it is as wanted; a server that is away meanwhile (503) does not end the wait.</summary>
    /// <exception cref="TimeoutException">It did not become so in time; the message shows the job.</exception>
    public static async Task<ApiJob> UntilAsync(this PipelineClient client, SentJob sent, Func<ApiJob, bool> wanted)
    {
        using var late = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        late.CancelAfter(Patience);
        ApiJob? last = null;
        try
        {
            while (true)
            {
                try
                {
                    last = await client.GetJobAsync(sent.Id, late.Token);
                    if (wanted(last))
                    {
                        return last;
                    }
                }
                catch (ApiException e) when (e.Status == HttpStatusCode.ServiceUnavailable)
                {
                    // It says itself that the same call may succeed later.
                }

                await Task.Delay(LookEvery, late.Token);
            }
        }
        catch (OperationCanceledException) when (!TestContext.Current.CancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException($"After {Patience.TotalSeconds} s the job is still {last}.");
        }
    }

    public static Task<ApiJob> UntilInTheMiddleAsync(this PipelineClient client, SentJob sent) =>
        client.UntilAsync(
            sent,
            job =>
            {
                Assert.False(job.State.IsEnd(), "The job was over before the test could do something in its middle.");
                return SentJob.IsInTheMiddle(job);
            }
        );

    public static Task<ApiJob> UntilEndAsync(this PipelineClient client, SentJob sent) => client.UntilAsync(sent, job => job.State.IsEnd());

    /// <summary>
    /// The job completed: every task succeeded, has one line, in order from 0, with its own id and the right output; what the job cost is
    /// the sum of its results; and the books of every worker close.
    /// </summary>
    public static async Task AssertCompletedRightAsync(
        this PipelineClient client,
        SentJob sent,
        DirectModel direct,
        NpgsqlDataSource database
    )
    {
        var job = await client.UntilEndAsync(sent);
        Assert.Equal(JobState.Completed, job.State);
        Assert.Equal((sent.Texts.Count, 0L), (job.Counts.Succeeded, job.Tasks - job.Counts.Succeeded));
        await client.AssertOutputsAsync(sent, direct);
        await AssertCostAsync(job, database);
        await LedgerCheck.AssertClosesAsync(database);
    }

    /// <summary>Every line of the results, in task order, against what the model says when it is asked directly.</summary>
    public static async Task AssertOutputsAsync(this PipelineClient client, SentJob sent, DirectModel direct)
    {
        var seq = 0;
        await foreach (var text in client.ResultsAsync(sent.Id, "order=task", TestContext.Current.CancellationToken))
        {
            using var line = JsonDocument.Parse(text);
            var root = line.RootElement;
            Assert.Equal(seq, root.GetProperty("seq").GetInt32());
            Assert.Equal(SentJob.CustomId(seq), root.GetProperty("custom_id").GetString());
            Assert.Equal("succeeded", root.GetProperty("status").GetString());
            direct.AssertSame(sent.Texts[seq], root.GetProperty("output"));
            seq++;
        }

        Assert.Equal(sent.Texts.Count, seq);
    }

    /// <summary>Counted in the tables: one row a task, and a job costs what its results cost.</summary>
    public static async Task AssertCostAsync(ApiJob job, NpgsqlDataSource database)
    {
        await using var command = database.CreateCommand(
            """
            SELECT count(*), count(DISTINCT seq), min(seq), max(seq), sum(cost_pico),
                   (SELECT cost_pico FROM jobs WHERE id = $1), (SELECT sum(cost_pico) FROM chunks WHERE job = $1)
            FROM results WHERE job = $1
            """
        );
        command.Parameters.Add(new() { Value = Guid.Parse(job.Id) });
        await using var reader = await command.ExecuteReaderAsync();
        await reader.ReadAsync();
        Assert.Equal(job.Tasks, reader.GetInt64(0));
        Assert.Equal(job.Tasks, reader.GetInt64(1));
        Assert.Equal((0, (int)job.Tasks - 1), (reader.GetInt32(2), reader.GetInt32(3)));
        Assert.Equal(job.CostPicoUsd, reader.GetDecimal(4));
        Assert.Equal(job.CostPicoUsd, reader.GetDecimal(5));
        Assert.Equal(job.CostPicoUsd, reader.GetDecimal(6));
        Assert.True(job.CostPicoUsd > 0, "The job cost nothing.");
    }
}
