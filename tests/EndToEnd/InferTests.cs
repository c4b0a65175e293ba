using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Tests.Support.Models;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.EndToEnd;

/// <summary>Answers while the caller waits: over real servers, with the right output and cost, and never lost with a connection.</summary>
[Collection(RunningSystem.Collection)]
public sealed class InferTests(RunningSystem system) : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private readonly HttpClient _http = new() { Timeout = TimeSpan.FromMinutes(1) };

    public void Dispose() => _http.Dispose();

    [Fact]
    public async Task An_answer_has_the_right_output_and_what_it_cost()
    {
        using var direct = system.Direct(RunningSystem.SmallModel);
        var texts = RunningSystem.Texts(5);

        using var response = await InferAsync(new { model = RunningSystem.SmallModel, inputs = texts });
        var answer = await JsonAsync(response);

        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("express", answer.GetProperty("class").GetString());
        var results = answer.GetProperty("results").EnumerateArray().ToArray();
        Assert.Equal(texts.Length, results.Length);
        for (var seq = 0; seq < texts.Length; seq++)
        {
            Assert.Equal(seq, results[seq].GetProperty("seq").GetInt32());
            Assert.Equal("succeeded", results[seq].GetProperty("status").GetString());
            direct.AssertSame(texts[seq], results[seq].GetProperty("output"));
        }

        var job = await system.Client.GetJobAsync(answer.GetProperty("id").GetString()!, TestContext.Current.CancellationToken);
        Assert.Equal((JobState.Completed, texts.Length), (job.State, job.Counts.Succeeded));
        Assert.True(job.CostPicoUsd > 0, "It cost nothing.");
        Assert.Equal(job.CostPicoUsd, answer.GetProperty("cost_pico_usd").GetDecimal());
        Assert.Equal(job.CostPicoUsd, results.Sum(r => r.GetProperty("cost_pico_usd").GetDecimal()));
        await LedgerCheck.AssertClosesAsync(system.Database);
    }

    [Fact]
    public async Task A_result_is_told_in_the_words_of_the_jobs_results()
    {
        using var response = await InferAsync(
            new
            {
                model = RunningSystem.SmallModel,
                input = "Guten Morgen",
                custom_id = "a-1",
            }
        );
        var answer = await JsonAsync(response);
        var stored = new List<string>();
        await foreach (
            var line in system.Client.ResultsAsync(
                answer.GetProperty("id").GetString()!,
                "order=task",
                TestContext.Current.CancellationToken
            )
        )
        {
            stored.Add(line);
        }

        Assert.Equal(Assert.Single(stored), Assert.Single(answer.GetProperty("results").EnumerateArray()).GetRawText());
    }

    [Fact]
    public async Task Who_does_not_want_to_wait_gets_202_and_finds_the_job()
    {
        using var response = await InferAsync(new { model = RunningSystem.SmallModel, input = "later" }, ("Prefer", "respond-async"));
        var job = await JsonAsync(response);

        Assert.Equal(HttpStatusCode.Accepted, response.StatusCode);
        Assert.Equal("respond-async", response.Headers.GetValues("Preference-Applied").Single());
        Assert.Equal($"/v1/infer/{job.GetProperty("id").GetString()}", response.Headers.Location?.ToString());
        await UntilCompletedAsync(job.GetProperty("id").GetString()!);
    }

    [Fact]
    public async Task A_wait_that_is_over_ends_in_202_and_the_work_goes_on()
    {
        using var response = await InferAsync(
            new
            {
                model = SlowEncoder.Name,
                @class = "standard",
                inputs = RunningSystem.Texts(64),
            },
            ("Prefer", "wait=0")
        );
        var job = await JsonAsync(response);

        Assert.Equal(HttpStatusCode.Accepted, response.StatusCode);
        Assert.Equal("wait=0", response.Headers.GetValues("Preference-Applied").Single());
        await UntilCompletedAsync(job.GetProperty("id").GetString()!);
    }

    [Fact]
    public async Task The_same_request_with_its_key_finds_the_same_answer()
    {
        var body = new { model = RunningSystem.SmallModel, input = "once" };
        var key = Guid.NewGuid().ToString();
        using var first = await InferAsync(body, ("Idempotency-Key", key));
        using var again = await InferAsync(body, ("Idempotency-Key", key));
        using var other = await InferAsync(new { model = RunningSystem.SmallModel, input = "twice" }, ("Idempotency-Key", key));

        Assert.Equal("true", again.Headers.GetValues("Idempotency-Replayed").Single());
        var (one, two) = (await JsonAsync(first), await JsonAsync(again));
        Assert.Equal(one.GetProperty("id").GetString(), two.GetProperty("id").GetString());
        Assert.Equal(one.GetProperty("results").GetRawText(), two.GetProperty("results").GetRawText());
        Assert.Equal(HttpStatusCode.UnprocessableEntity, other.StatusCode);
    }

    [Fact]
    public async Task A_client_that_leaves_cancels_nothing()
    {
        var body = new
        {
            model = SlowEncoder.Name,
            @class = "standard",
            inputs = RunningSystem.Texts(64),
        };
        var key = Guid.NewGuid().ToString();
        var job = await LeaveAsync(body, key);

        await UntilCompletedAsync(job);
        using var again = await InferAsync(body, ("Idempotency-Key", key));
        Assert.Equal(job, (await JsonAsync(again)).GetProperty("id").GetString());
    }

    [Fact]
    public async Task A_client_that_asked_for_it_cancels_by_leaving()
    {
        var job = await LeaveAsync(
            new
            {
                model = SlowEncoder.Name,
                @class = "standard",
                inputs = RunningSystem.Texts(64),
                cancel_on_disconnect = true,
            },
            Guid.NewGuid().ToString(),
            // Bulk work keeps the device, so that it is still waiting.
            busy: true
        );

        Assert.Equal(JobState.Cancelled, (await UntilEndAsync(job)).State);
    }

    [Fact]
    public async Task An_ingest_that_is_killed_loses_the_connection_and_not_the_work()
    {
        var key = Guid.NewGuid().ToString();
        var body = new
        {
            model = SlowEncoder.Name,
            @class = "standard",
            inputs = RunningSystem.Texts(64),
        };
        var waiting = InferAsync(body, ("Idempotency-Key", key));
        var job = await UntilStoredAsync(key);

        system.Ingest.Kill();
        await Assert.ThrowsAnyAsync<HttpRequestException>(() => waiting);
        await system.StartIngestAsync();

        await UntilCompletedAsync(job);
        using var again = await InferAsync(body, ("Idempotency-Key", key));
        Assert.Equal(job, (await JsonAsync(again)).GetProperty("id").GetString());
    }

    private async Task<string> LeaveAsync(object body, string key, bool busy = false)
    {
        if (busy)
        {
            await system.Client.UntilInTheMiddleAsync(await system.Client.SendAsync(SlowEncoder.Name, RunningSystem.Texts(3000)));
        }

        using var leave = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        var waiting = InferAsync(body, leave.Token, ("Idempotency-Key", key));
        var job = await UntilStoredAsync(key);
        await leave.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
        return job;
    }

    /// <summary>Waits until the request with this key is accepted, and gives its job.</summary>
    private async Task<string> UntilStoredAsync(string key)
    {
        for (var clock = Stopwatch.StartNew(); clock.Elapsed < Patience; )
        {
            await using var command = system.Database.CreateCommand(
                "SELECT job FROM idempotency_keys WHERE key = $1 AND finished_at IS NOT NULL"
            );
            command.Parameters.Add(new() { Value = key });
            if (await command.ExecuteScalarAsync(TestContext.Current.CancellationToken) is Guid job)
            {
                return job.ToString();
            }

            await Task.Delay(TimeSpan.FromMilliseconds(5), TestContext.Current.CancellationToken);
        }

        throw new TimeoutException("The request was not accepted.");
    }

    private async Task UntilCompletedAsync(string job) => Assert.Equal(JobState.Completed, (await UntilEndAsync(job)).State);

    private Task<Pipeline.Standalone.Client.ApiJob> UntilEndAsync(string job) =>
        system.Client.UntilEndAsync(new SentJob(job, RunningSystem.SmallModel, []));

    private Task<HttpResponseMessage> InferAsync(object body, params (string Name, string Value)[] headers) =>
        InferAsync(body, TestContext.Current.CancellationToken, headers);

    /// <summary>Sends as clients are told to: again where express cannot be promised yet, since the scheduler has just begun.</summary>
    private async Task<HttpResponseMessage> InferAsync(object body, CancellationToken stop, params (string Name, string Value)[] headers)
    {
        for (var clock = Stopwatch.StartNew(); ; )
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(system.Ingest.Address, "v1/infer"))
            {
                Content = new StringContent(JsonSerializer.Serialize(body), Encoding.UTF8, "application/json"),
            };
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", system.Rig.ApiKey);
            foreach (var (name, value) in headers)
            {
                request.Headers.TryAddWithoutValidation(name, value);
            }

            var response = await _http.SendAsync(request, stop);
            if (response.StatusCode != HttpStatusCode.TooManyRequests || clock.Elapsed > Patience)
            {
                return response;
            }

            response.Dispose();
            await Task.Delay(TimeSpan.FromMilliseconds(200), stop);
        }
    }

    private static async Task<JsonElement> JsonAsync(HttpResponseMessage response) =>
        JsonElement.Parse(await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
}
