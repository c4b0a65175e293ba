using System.Buffers;
using System.IO.Compression;
using System.Net;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Npgsql;
using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi;

public sealed class ResultsTests(ResultsTests.SmallPages fixture) : IClassFixture<ResultsTests.SmallPages>, IAsyncLifetime
{
    private ApiCaller _api = null!;

    public async ValueTask InitializeAsync() => _api = await fixture.Host.AddTenantAsync();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task A_line_tells_how_its_task_ended()
    {
        var job = await CreateAsync(tasks: 2);
        await job.EndAsync(_api.Database, 0);
        await job.EndAsync(_api.Database, [1], TaskOutcome.Failed);

        var text = await ReadAsync(job, "");

        Assert.Equal(
            """
            {"custom_id":"task \"0\" é","seq":0,"status":"succeeded","output":{"labels":[{"label":"en","score":0.98}]},
            "model":"language-id@1.0.0","turns":1,"cost_pico_usd":556000,
            "latency_ms":{"queued":12.1,"staged":0.8,"device":0.405,"total":15}}
            """.ReplaceLineEndings(""),
            text.Split('\n')[0]
        );
        Assert.Equal(
            """
            {"custom_id":"task \"1\" é","seq":1,"status":"failed","error":{"code":"model_failed","message":"The \"model\" failed\non this input."},
            "model":"language-id@1.0.0","turns":1,"cost_pico_usd":0,
            "latency_ms":{"queued":12.1,"staged":0.8,"device":0.405,"total":15}}
            """.ReplaceLineEndings(""),
            text.Split('\n')[1]
        );
        Assert.EndsWith("\n", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Stored_tensors_are_shown_as_JSON()
    {
        var job = await CreateAsync(tasks: 3);
        await job.EndAsync(_api.Database, [0], TaskOutcome.Succeeded, Pack("embedding", [3], 0.5f, -1f, 2f), PackedTensors.ContentType);
        await job.EndAsync(_api.Database, [1], TaskOutcome.Succeeded, Pack("y", [1, 2], 1f, 2f), PackedTensors.ContentType);
        await job.EndAsync(_api.Database, [2], TaskOutcome.Succeeded, [1, 2, 3], PackedTensors.ContentType);

        var outputs = Lines(await ReadAsync(job, "")).ConvertAll(line => line.GetProperty("output").GetRawText());

        Assert.Equal("""{"embedding":[0.5,-1,2]}""", outputs[0]);
        Assert.Equal("""{"y":{"type":"float32","shape":[1,2],"data":[1,2]}}""", outputs[1]);
        Assert.Equal("""{"content_type":"application/vnd.pipeline.tensors","base64":"AQID"}""", outputs[2]);
    }

    [Fact]
    public async Task An_output_with_line_breaks_still_is_one_line()
    {
        var job = await CreateAsync(tasks: 1);
        await job.EndAsync(_api.Database, [0], TaskOutcome.Succeeded, Encoding.UTF8.GetBytes("{\r\n  \"a\": \"b\\n\"\n}"));

        var line = Assert.Single(Lines(await ReadAsync(job, "")));

        Assert.Equal("b\n", line.GetProperty("output").GetProperty("a").GetString());
    }

    [Fact]
    public async Task In_task_order_a_running_job_is_shown_up_to_its_first_task_that_has_not_ended()
    {
        var job = await CreateAsync(tasks: 12, chunkTasks: 4);
        await job.EndAsync(_api.Database, 0, 1, 3, 4, 5, 6, 7, 11);

        Assert.Equal([0, 1], Seqs(await ReadAsync(job, "")));

        await job.EndAsync(_api.Database, 2);
        Assert.Equal([2, 3, 4, 5, 6, 7], Seqs(await ReadAsync(job, "?cursor=1")));

        await job.EndAsync(_api.Database, 8, 9, 10);
        Assert.Equal([8, 9, 10, 11], Seqs(await ReadAsync(job, "?cursor=7")));
        Assert.Empty(await ReadAsync(job, "?cursor=11"));
    }

    [Fact]
    public async Task A_job_that_has_not_begun_has_no_results()
    {
        var job = await CreateAsync(tasks: 4);

        Assert.Empty(await ReadAsync(job, ""));
        Assert.Empty(await ReadAsync(job, "?order=completed"));
    }

    [Theory]
    [InlineData("task")]
    [InlineData("completed")]
    public async Task Cut_anywhere_and_resumed_by_the_last_whole_line_every_task_comes_once(string order)
    {
        var random = new Random(20260102);
        var job = await CreateAsync(tasks: 40, chunkTasks: 7);
        var left = Enumerable.Range(0, 40).ToArray();
        random.Shuffle(left);
        foreach (var part in left.Chunk(9))
        {
            await job.EndAsync(_api.Database, part);
        }

        var whole = await ReadAsync(job, $"?order={order}");
        Assert.Equal(Enumerable.Range(0, 40), Seqs(whole).Order());
        for (var i = 0; i < 60; i++)
        {
            var kept = whole[..random.Next(whole.Length + 1)];
            kept = kept[..(kept.LastIndexOf('\n') + 1)];

            Assert.Equal(whole, kept + await ReadAsync(job, $"?order={order}{CursorAfter(kept, order)}"));
        }
    }

    [Theory]
    [InlineData("task")]
    [InlineData("completed")]
    public async Task Pages_of_any_limit_join_to_the_whole(string order)
    {
        var job = await CreateAsync(tasks: 23, chunkTasks: 5);
        await job.EndAsync(_api.Database, [.. Enumerable.Range(0, 23).Where(seq => seq % 3 == 0)]);
        await job.EndAsync(_api.Database, [.. Enumerable.Range(0, 23).Where(seq => seq % 3 != 0)]);
        var whole = await ReadAsync(job, $"?order={order}");

        foreach (var limit in new[] { 1, 2, 3, 4, 7, 22, 23, 24 })
        {
            var joined = new StringBuilder();
            string page;
            do
            {
                page = await ReadAsync(job, $"?order={order}&limit={limit}{CursorAfter(joined.ToString(), order)}");
                Assert.InRange(Lines(page).Count, 0, limit);
                joined.Append(page);
            } while (page.Length > 0);

            Assert.Equal(whole, joined.ToString());
        }
    }

    [Fact]
    public async Task As_completed_results_come_in_the_order_of_their_transactions()
    {
        var job = await CreateAsync(tasks: 12, chunkTasks: 4);
        await job.EndAsync(_api.Database, 9, 5);
        await job.EndAsync(_api.Database, 0, 1, 2, 3);
        await job.EndAsync(_api.Database, 11, 4, 6, 7, 8, 10);

        Assert.Equal([5, 9, 0, 1, 2, 3, 4, 6, 7, 8, 10, 11], Seqs(await ReadAsync(job, "?order=completed")));
    }

    [Fact]
    public async Task As_completed_a_transaction_that_is_still_open_is_not_passed()
    {
        var job = await CreateAsync(tasks: 13, chunkTasks: 4);
        await job.EndAsync(_api.Database, 12); // the first end also starts the job, and holds its row for that
        await using var connection = await _api.Database.DataSource.OpenConnectionAsync();
        await using var open = await connection.BeginTransactionAsync();
        await job.EndAsync(connection, open, [0, 1, 2]);
        await job.EndAsync(_api.Database, 4, 5, 6);

        // The later transaction has committed, but a cursor behind it would skip the earlier one.
        Assert.DoesNotContain(Seqs(await ReadAsync(job, "?order=completed")), seq => seq != 12);

        await open.CommitAsync();
        var first = await ReadAsync(job, "?order=completed&follow=true&limit=5");
        Assert.Equal([12, 0, 1, 2, 4], Seqs(first));

        await job.EndAsync(_api.Database, 3, 7, 8, 9, 10, 11);
        Assert.Equal([5, 6, 3, 7, 8, 9, 10, 11], Seqs(await ReadAsync(job, $"?order=completed{CursorAfter(first, "completed")}")));
    }

    [Fact]
    public async Task While_writers_overlap_a_reader_that_resumes_all_the_time_misses_and_repeats_nothing()
    {
        var job = await CreateAsync(tasks: 252, chunkTasks: 12);
        await job.EndAsync(_api.Database, [.. Enumerable.Range(240, 12)]);
        var writers = Enumerable.Range(0, 4).Select(writer => WriteAsync(job, writer, of: 4)).ToArray();

        var seen = new StringBuilder();
        while (Lines(seen.ToString()).Count < 252)
        {
            seen.Append(await ReadAsync(job, $"?order=completed&follow=true&limit=17{CursorAfter(seen.ToString(), "completed")}"));
        }

        await Task.WhenAll(writers);
        Assert.Equal(Enumerable.Range(0, 252), Seqs(seen.ToString()).Order());
        Assert.Empty(await ReadAsync(job, $"?order=completed{CursorAfter(seen.ToString(), "completed")}"));
    }

    [Theory]
    [InlineData("task")]
    [InlineData("completed")]
    public async Task Followed_results_come_as_tasks_end_and_end_with_the_job(string order)
    {
        var job = await CreateAsync(tasks: 6, chunkTasks: 3);
        using var response = await _api.Http.GetAsync(
            $"/v1/jobs/{job.Id}/results?follow=true&order={order}",
            HttpCompletionOption.ResponseHeadersRead
        );
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        Assert.Equal("queued", response.Headers.GetValues("Pipeline-Job-State").Single());

        for (var seq = 0; seq < 6; seq++)
        {
            await job.EndAsync(_api.Database, seq);
            Assert.Equal(seq, JsonElement.Parse((await reader.ReadLineAsync())!).GetProperty("seq").GetInt32());
        }

        Assert.Null(await reader.ReadLineAsync());
    }

    [Theory]
    [InlineData("task")]
    [InlineData("completed")]
    public async Task One_may_ask_for_certain_outcomes_only(string order)
    {
        var job = await CreateAsync(tasks: 20, chunkTasks: 6);
        await job.EndAsync(_api.Database, [.. Enumerable.Range(0, 20).Where(seq => seq % 6 != 2)]);
        await job.EndAsync(_api.Database, [2, 8], TaskOutcome.Failed);
        await job.EndAsync(_api.Database, [14], TaskOutcome.Expired);

        Assert.Equal([2, 8], Seqs(await ReadAsync(job, $"?order={order}&status=failed")));
        Assert.Equal([2, 8, 14], Seqs(await ReadAsync(job, $"?order={order}&status=failed,expired")));
        Assert.Equal(17, Seqs(await ReadAsync(job, $"?order={order}&status=succeeded")).Count());
        Assert.Empty(await ReadAsync(job, $"?order={order}&status=cancelled"));
    }

    [Fact]
    public async Task A_client_that_takes_gzip_gets_it_also_where_there_is_nothing_more()
    {
        var job = await CreateAsync(tasks: 30);
        await job.EndAllAsync(_api.Database);

        Assert.Equal(await ReadAsync(job, ""), await ReadPackedAsync(""));
        Assert.Equal("", await ReadPackedAsync("?cursor=29"));
        Assert.Equal("", await ReadPackedAsync("?cursor=29&follow=true"));

        async Task<string> ReadPackedAsync(string query)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, $"/v1/jobs/{job.Id}/results{query}");
            request.Headers.TryAddWithoutValidation("Accept-Encoding", "br, gzip;q=0.5");
            using var response = await _api.Http.SendAsync(request);
            Assert.Equal(["gzip"], response.Content.Headers.ContentEncoding);
            await using var unpacked = new GZipStream(await response.Content.ReadAsStreamAsync(), CompressionMode.Decompress);
            using var reader = new StreamReader(unpacked);
            return await reader.ReadToEndAsync();
        }
    }

    [Fact]
    public async Task A_client_that_refuses_gzip_does_not_get_it()
    {
        var job = await CreateAsync(tasks: 3);
        await job.EndAllAsync(_api.Database);
        using var request = new HttpRequestMessage(HttpMethod.Get, $"/v1/jobs/{job.Id}/results");
        request.Headers.TryAddWithoutValidation("Accept-Encoding", "gzip;q=0");
        using var response = await _api.Http.SendAsync(request);

        Assert.Empty(response.Content.Headers.ContentEncoding);
        Assert.Equal("application/x-ndjson", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal("completed", response.Headers.GetValues("Pipeline-Job-State").Single());
        Assert.Equal([0, 1, 2], Seqs(await response.Content.ReadAsStringAsync()));
    }

    [Fact]
    public async Task Readers_that_stand_still_hold_no_connection_to_the_database()
    {
        var job = await CreateAsync(tasks: 60, chunkTasks: 60);
        await job.EndAsync(
            _api.Database,
            [.. Enumerable.Range(0, 60)],
            TaskOutcome.Succeeded,
            Encoding.UTF8.GetBytes($"\"{new string('x', 3000)}\"")
        );
        var readers = new List<HttpResponseMessage>();
        for (var i = 0; i < 30; i++)
        {
            // The pool has ten; a reply of some 200 kB does not fit into the socket buffers of a reader that does not read.
            readers.Add(await _api.Http.GetAsync($"/v1/jobs/{job.Id}/results", HttpCompletionOption.ResponseHeadersRead));
        }

        Assert.Equal(60, Lines(await ReadAsync(job, "")).Count);
        foreach (var reader in readers)
        {
            Assert.Equal(60, Lines(await reader.Content.ReadAsStringAsync()).Count);
            reader.Dispose();
        }
    }

    [Theory]
    [InlineData("order=random", "order")]
    [InlineData("cursor=-1", "cursor")]
    [InlineData("cursor=1.2.3", "cursor")]
    [InlineData("order=completed&cursor=5", "cursor")]
    [InlineData("limit=0", "limit")]
    [InlineData("status=done", "status")]
    [InlineData("follow=yes", "follow")]
    [InlineData("sort=asc", "sort")]
    public async Task A_query_that_is_not_understood_is_refused_by_name(string query, string parameter)
    {
        var job = await CreateAsync(tasks: 1);

        var (status, body) = await _api.GetAsync($"/v1/jobs/{job.Id}/results?{query}");

        Assert.Equal(HttpStatusCode.BadRequest, status);
        Assert.Equal(parameter, body.GetProperty("error").GetProperty("param").GetString());
    }

    private Task<SeededJob> CreateAsync(int tasks, int chunkTasks = 4) =>
        SeededJob.CreateAsync(_api.Database, _api.Tenant, new SeededJob { Tasks = tasks, ChunkTasks = chunkTasks });

    private async Task<string> ReadAsync(SeededJob job, string query)
    {
        using var response = await _api.Http.GetAsync($"/v1/jobs/{job.Id}/results{query}");
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        return await response.Content.ReadAsStringAsync();
    }

    /// <summary>Ends every chunk of one remainder in two transactions, of which the one with the lower number commits last.</summary>
    private async Task WriteAsync(SeededJob job, int remainder, int of)
    {
        var random = new Random(remainder);
        foreach (var chunk in Enumerable.Range(0, 20).Where(chunk => chunk % of == remainder))
        {
            var seqs = Enumerable.Range(chunk * job.ChunkTasks, job.ChunkTasks).ToArray();
            random.Shuffle(seqs);
            await using var first = await _api.Database.DataSource.OpenConnectionAsync();
            await using var early = await first.BeginTransactionAsync();
            await using (var number = new NpgsqlCommand("SELECT pg_current_xact_id()", first, early))
            {
                await number.ExecuteScalarAsync();
            }

            await job.EndAsync(_api.Database, seqs[..5]);
            await job.EndAsync(first, early, seqs[5..]);
            await early.CommitAsync();
        }
    }

    private static string CursorAfter(string lines, string order)
    {
        var read = Lines(lines);
        return read.Count == 0 ? ""
            : order == "task" ? $"&cursor={read[^1].GetProperty("seq").GetInt32()}"
            : $"&cursor={read[^1].GetProperty("cursor").GetString()}";
    }

    private static List<JsonElement> Lines(string text) =>
        [.. text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonElement.Parse(line))];

    private static IEnumerable<int> Seqs(string text) => Lines(text).Select(line => line.GetProperty("seq").GetInt32());

    private static byte[] Pack(string name, long[] shape, params float[] values)
    {
        var pack = new ArrayBufferWriter<byte>();
        PackedTensors.WriteCount(pack, 1);
        PackedTensors.WriteTensor(pack, name, TensorElementType.Float32, shape, MemoryMarshal.AsBytes<float>(values));
        return pack.WrittenSpan.ToArray();
    }

    /// <summary>Pages of three rows and four kilobytes, so that even small jobs take many.</summary>
    public sealed class SmallPages : ResultsApiFixture
    {
        private protected override (string Option, string Value)[] Options => [("PageRowsMax", "3"), ("PageBytes", "4096")];
    }
}
