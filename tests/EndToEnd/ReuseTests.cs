using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Models;
using Xunit;

namespace Pipeline.Tests.EndToEnd;

/// <summary>Equal inputs run once: right for each task, whoever is killed, and answered from the cache in the next job.</summary>
[Collection(RunningSystem.Collection)]
public sealed class ReuseTests(RunningSystem system)
{
    private const int Tasks = 3000;
    private const int Distinct = 1200;
    private static readonly Uri Cache = new("v1/tenants/rig/cache", UriKind.Relative);

    [Fact]
    public async Task A_job_whose_texts_repeat_runs_each_once_also_when_its_worker_is_killed_and_fills_the_cache()
    {
        using var client = await OperatorAsync();
        using var direct = system.Direct(SlowEncoder.Name);
        await SetAsync(client, """{"ttl":"1h"}""");
        try
        {
            var texts = Texts();
            var job = await system.Client.SendAsync(SlowEncoder.Name, texts, reuse: true);
            await system.Client.UntilInTheMiddleAsync(job);
            system.Worker.Kill();
            await system.StartWorkerAsync();
            await system.Client.AssertCompletedRightAsync(job, direct, system.Database);

            // What was on the device when it died ran again; no copy did that found its original.
            var (ran, reused) = await CountAsync(job, "job");
            Assert.Equal(Tasks, ran + reused);
            Assert.InRange(ran, Distinct, Tasks * 2 / 3);

            // From all over the job: what is cached follows the commit, so the killed worker's last commit may lack there.
            var again = await system.Client.SendAsync(SlowEncoder.Name, [.. texts.Distinct().Where((_, i) => i % 3 == 0)], reuse: true);
            await system.Client.UntilEndAsync(again);
            await system.Client.AssertOutputsAsync(again, direct);

            var (missed, cached) = await CountAsync(again, "cache");
            Assert.Equal(again.Texts.Count, missed + cached);
            Assert.InRange(cached, 1, again.Texts.Count);
            var known = again.Texts[await FirstCachedAsync(again)];

            using var answer = await client.PostAsync(
                new Uri("v1/infer", UriKind.Relative),
                Json(
                    JsonSerializer.Serialize(
                        new
                        {
                            model = SlowEncoder.Name,
                            @class = "standard",
                            inputs = new[] { known, "!", "!" },
                        }
                    )
                )
            );
            var results = JsonElement.Parse(await answer.Content.ReadAsStringAsync()).GetProperty("results").EnumerateArray();
            Assert.Equal(
                ["cache 0", " 1", "job 0"],
                results.Select(r => $"{(r.TryGetProperty("reused", out var from) ? from.GetString() : "")} {r.GetProperty("turns")}")
            );
        }
        catch
        {
            system.TellLogs();
            throw;
        }
        finally
        {
            using var removed = await client.DeleteAsync(Cache);
            Assert.Equal(HttpStatusCode.NoContent, removed.StatusCode);
        }
    }

    /// <summary>So many distinct texts, and again such as came before, in an order that is the same in every run.</summary>
    private static string[] Texts()
    {
        var sentences = RunningSystem.Texts(Distinct);
        var (random, texts) = (new Random(5), new List<string>());
        for (var distinct = 0; texts.Count < Tasks; )
        {
            var isNew = random.Next(Tasks - texts.Count) < Distinct - distinct;
            texts.Add(isNew || texts.Count == 0 ? $"{distinct} {sentences[distinct++]}" : texts[random.Next(texts.Count)]);
        }

        return [.. texts];
    }

    private async Task<(int Ran, int Reused)> CountAsync(SentJob job, string source)
    {
        await using var command = system.Database.CreateCommand(
            "SELECT count(batch)::int, count(*) FILTER (WHERE reused = $2)::int FROM results WHERE job = $1"
        );
        command.Parameters.Add(new() { Value = Guid.Parse(job.Id) });
        command.Parameters.Add(new() { Value = source });
        await using var reader = await command.ExecuteReaderAsync();
        await reader.ReadAsync();
        return (reader.GetInt32(0), reader.GetInt32(1));
    }

    private async Task<int> FirstCachedAsync(SentJob job)
    {
        await using var command = system.Database.CreateCommand("SELECT min(seq)::int FROM results WHERE job = $1 AND reused = 'cache'");
        command.Parameters.Add(new() { Value = Guid.Parse(job.Id) });
        return Assert.IsType<int>(await command.ExecuteScalarAsync());
    }

    private async Task<HttpClient> OperatorAsync()
    {
        var key = await system.OperatorKeyAsync();
        var client = new HttpClient { BaseAddress = system.Ingest.Address };
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        return client;
    }

    private static async Task SetAsync(HttpClient client, string body)
    {
        using var response = await client.PutAsync(Cache, Json(body));
        Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync());
    }

    private static StringContent Json(string body) => new(body, Encoding.UTF8, "application/json");
}
