using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>What the door finds equal, what it says of it, and what operators set about caches. Tasks of <c>words</c> have a unit a byte.</summary>
public sealed class ReuseTests(IngestDoor door) : IClassFixture<IngestDoor>
{
    private const string OfTenant = "job IN (SELECT id FROM jobs WHERE tenant = $1)";

    [Fact]
    public async Task A_task_whose_input_came_before_is_a_copy_of_the_first_in_whatever_chunk()
    {
        await using var host = await door.NewTenantAsync();
        var texts = Enumerable
            .Range(0, 600)
            .Select(i =>
                i is 599 or 3 ? "\\u0061bc"
                : i == 1 ? "abc"
                : $"text {i}"
            )
            .ToArray();

        await SubmitAsync(host, texts);

        Assert.Equal(["3 of 1", "599 of 1"], await CopiesAsync(host));
        Assert.Equal(
            await host.Database.ScalarAsync<long>("SELECT units FROM jobs WHERE tenant = $1", host.Tenant.Value),
            await host.Database.ScalarAsync<long>($"SELECT sum(units)::bigint FROM chunks WHERE {OfTenant}", host.Tenant.Value) + 6
        );
    }

    [Fact]
    public async Task A_copy_is_charged_and_not_scheduled()
    {
        await using var host = await door.NewTenantAsync();

        await SubmitAsync(host, ["0123456789", "0123456789", "0123456789"]);

        Assert.Equal(
            30 * 20_000L,
            await host.Database.ScalarAsync<long>("SELECT estimate_pico FROM jobs WHERE tenant = $1", host.Tenant.Value)
        );
        Assert.Equal(
            "10 10 3",
            await host.Database.ScalarAsync<string>(
                $"SELECT concat_ws(' ', units, units_max, remaining) FROM chunks WHERE {OfTenant}",
                host.Tenant.Value
            )
        );
        Assert.Equal(10, (await host.Scheduler.NextChunkAsync()).Units);
    }

    [Fact]
    public async Task Tensors_are_equal_however_they_were_written()
    {
        await using var host = await door.NewTenantAsync();
        var base64 = Convert.ToBase64String([.. new[] { 1f, 2f, 3f, 4f }.SelectMany(BitConverter.GetBytes)]);
        string[] inputs =
        [
            "[[1,2],[3,4]]",
            """{"shape":[2,2],"data":[1,2.0,3e0,4]}""",
            $$$"""{"cells":{"shape":[2,2],"data_base64":"{{{base64}}}"}}""",
            "[[1,2],[3,5]]",
            """{"shape":[2,1],"data":[1,2]}""",
        ];

        await SubmitAsync(host, inputs, "model=grid", quoted: false);

        Assert.Equal(["1 of 0", "2 of 0"], await CopiesAsync(host));
    }

    [Theory]
    [InlineData("&reuse=false", "750000", 0)]
    [InlineData("&reuse=true", "750000", 3)]
    [InlineData("", "1", 2)]
    [InlineData("", "0", 0)]
    public async Task Nothing_is_compared_where_it_is_not_wanted_and_no_more_than_is_remembered(string query, string remembered, int copies)
    {
        await using var host = await IngestHost.StartAsync(("Ingest:RepeatedInputsMax", remembered));

        await SubmitAsync(host, ["one", "two", "one", "two", "one"], $"model=words{query}");

        Assert.Equal(copies, (await CopiesAsync(host)).Count);
    }

    [Fact]
    public async Task A_word_that_is_neither_true_nor_false_is_refused()
    {
        await using var host = await door.NewTenantAsync();

        using var response = await host.PostAsync("model=words&reuse=maybe", """{"custom_id":"a","input":"b"}""");
        var mistake = (await response.JsonAsync()).FirstMistake();

        Assert.Equal(("reuse", "true or false", "\"maybe\""), (mistake.Field, mistake.Expected, mistake.Given));
    }

    [Fact]
    public async Task Equal_inputs_of_an_inference_are_copies_too()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:RefuseLateExpress", "false"));

        await InferAsync(host, """{"model":"words","inputs":["a","b","a"]}""");
        await InferAsync(host, """{"model":"words","inputs":["a","a"],"reuse":false}""");

        Assert.Equal(["2 of 0"], await CopiesAsync(host));
    }

    [Fact]
    public async Task Jobs_of_a_tenant_with_a_cache_use_it_unless_they_say_no()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:RefuseLateExpress", "false"));
        using var client = await OperatorAsync(host);
        using (var set = await PutAsync(client, Cache(host), """{"ttl":"36h","bytes_max":2000000}"""))
        {
            Assert.Equal(
                """{"tenant":"test","ttl_seconds":129600,"bytes_max":2000000,"entries_max":1000000}""",
                await set.Content.ReadAsStringAsync()
            );
        }

        await host.SubmitAsync(1);
        await host.SubmitAsync(1, "model=words&reuse=false");
        await host.Scheduler.NextChunkAsync();
        await host.Scheduler.NextChunkAsync();
        await InferAsync(host, """{"model":"words","inputs":["a"]}""");

        // Whether the tenant has a cache the worker reads with the row.
        Assert.Null((await host.Scheduler.NextChunkAsync()).Payload);
        Assert.Equal(
            "t f t",
            await host.Database.ScalarAsync<string>("SELECT string_agg(left(uses_cache::text, 1), ' ' ORDER BY id) FROM jobs")
        );

        using (var removed = await client.DeleteAsync(new Uri(Cache(host), UriKind.Relative)))
        {
            Assert.Equal(HttpStatusCode.NoContent, removed.StatusCode);
        }

        await host.SubmitAsync(1);
        Assert.Equal(2, await host.Database.ScalarAsync<long>("SELECT count(*) FROM jobs WHERE uses_cache"));
    }

    [Theory]
    [InlineData("""{"ttl":"0s"}""", "ttl", "\"0s\"")]
    [InlineData("""{"ttl":"31d"}""", "ttl", "\"31d\"")]
    [InlineData("""{"ttl":3600}""", "ttl", "3600")]
    [InlineData("""{}""", "ttl", "nothing")]
    [InlineData("""{"ttl":"1h","bytes_max":0}""", "bytes_max", "0")]
    [InlineData("""{"ttl":"1h","bytes_max":1e15}""", "bytes_max", "1e15")]
    [InlineData("""{"ttl":"1h","bytes_max":"1 GB"}""", "bytes_max", "\"1 GB\"")]
    [InlineData("""{"ttl":"1h","entries_max":10000001}""", "entries_max", "10000001")]
    [InlineData("""{"ttl":"1h","entries_max":-5}""", "entries_max", "-5")]
    [InlineData("""{"ttl":"1h","enabled":true}""", "enabled", "another member")]
    public async Task Bounds_that_make_no_sense_are_told(string body, string field, string given)
    {
        await using var host = await door.NewTenantAsync();
        using var client = await OperatorAsync(host);

        using var response = await PutAsync(client, Cache(host), body);
        var mistake = (await response.JsonAsync()).FirstMistake();

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Equal((field, given), (mistake.Field, mistake.Given));
        Assert.Equal(0, await host.Database.ScalarAsync<long>("SELECT count(*) FROM tenant_caches WHERE tenant = $1", host.Tenant.Value));
    }

    [Fact]
    public async Task Only_operators_set_caches_and_only_of_tenants_there_are()
    {
        await using var host = await door.NewTenantAsync();
        using var client = await OperatorAsync(host);

        using var tenants = await PutAsync(host.Client, Cache(host), """{"ttl":"1h"}""");
        using var unknown = await PutAsync(client, "/v1/tenants/nobody/cache", """{"ttl":"1h"}""");
        using var removed = await client.DeleteAsync(new Uri("/v1/tenants/nobody/cache", UriKind.Relative));

        Assert.Equal(HttpStatusCode.Forbidden, tenants.StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, unknown.StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, removed.StatusCode);
    }

    [Fact]
    public async Task The_sweep_removes_what_is_past_its_time_and_the_oldest_of_what_is_too_much()
    {
        await using var db = await TestPostgres.CreateDatabaseAsync();
        await Tenants.EnsureAsync(db.DataSource, "test");
        await TenantCaches.SetAsync(db.DataSource, "test", TimeSpan.FromHours(1), 10_000_000, 100);
        await db.ExecuteAsync(
            """
            INSERT INTO cached_results (tenant, key, model, output, content_type, units, cost_pico, bytes, made_at, expires_at)
            SELECT t.id, sha256(i::text::bytea), 'words@1', '{}', 'application/json', 1, i, 1000,
                   now() - i * interval '1 second', now() + CASE WHEN i <= 5 THEN -interval '1 second' ELSE interval '1 hour' END
            FROM tenants t, generate_series(1, 98) AS i;
            UPDATE tenant_caches SET entries = 98, bytes = 98000
            """
        );

        // Five are past their time; of the others the oldest go, until it is nine tenths of what may be there.
        Assert.Equal("90 6 95; 90 90000", await SweptAsync(db));

        await db.ExecuteAsync("UPDATE tenant_caches SET bytes_max = 50000");
        Assert.Equal("45 6 50; 45 45000", await SweptAsync(db));
    }

    /// <summary>Sweeps until nothing is left to do: entries, the youngest and the oldest, and what the cache says of itself.</summary>
    private static async Task<string> SweptAsync(TestDatabase db)
    {
        while (await ResultCache.SweepAsync(db.DataSource, rowsMax: 7, TestContext.Current.CancellationToken) is var removed and > 0)
        {
            Assert.InRange(removed, 1, 14);
        }

        return (
            await db.ScalarAsync<string>(
                """
                SELECT concat_ws(' ', count(*), min(cost_pico), max(cost_pico)) || (SELECT '; ' || entries || ' ' || bytes FROM tenant_caches)
                FROM cached_results
                """
            )
        )!;
    }

    private static async Task SubmitAsync(IngestHost host, IReadOnlyList<string> inputs, string query = "model=words", bool quoted = true)
    {
        var quote = quoted ? "\"" : "";
        var body = string.Concat(inputs.Select((input, i) => $$"""{"custom_id":"t-{{i}}","input":{{quote}}{{input}}{{quote}}}""" + "\n"));
        using var response = await host.PostAsync(query, body);
        Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync());
    }

    private static async Task InferAsync(IngestHost host, string body)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/infer")
        {
            Content = new StringContent(body, Encoding.UTF8, "application/json"),
        };
        request.Headers.Add("Prefer", "respond-async");
        using var response = await host.Client.SendAsync(request);
        Assert.Equal(HttpStatusCode.Accepted, response.StatusCode);
    }

    /// <summary>What the chunks say of copies, <c>3 of 1</c>, by the tasks' numbers in their job.</summary>
    private static async Task<List<string>> CopiesAsync(IngestHost host)
    {
        await using var command = host.Database.DataSource.CreateCommand(
            $"SELECT first_seq, payload FROM chunks WHERE {OfTenant} ORDER BY job, no"
        );
        command.Parameters.Add(new() { Value = host.Tenant.Value });
        await using var reader = await command.ExecuteReaderAsync();
        var copies = new List<string>();
        while (await reader.ReadAsync())
        {
            using var chunk = ChunkPayload.Read(reader.GetFieldValue<byte[]>(1));
            for (var i = 0; i < chunk.Count; i++)
            {
                if (chunk.CopyOf(i) is { } original)
                {
                    copies.Add($"{reader.GetInt32(0) + i} of {original}");
                }
            }
        }

        return copies;
    }

    private static string Cache(IngestHost host) => $"/v1/tenants/{host.TenantName}/cache";

    private static async Task<HttpClient> OperatorAsync(IngestHost host)
    {
        var key = await ApiKeyIssuer.IssueAsync(host.Database.DataSource, host.Tenant, "operator", isOperator: true);
        var client = new HttpClient { BaseAddress = host.Address };
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        return client;
    }

    private static Task<HttpResponseMessage> PutAsync(HttpClient client, string path, string body) =>
        client.PutAsync(new Uri(path, UriKind.Relative), new StringContent(body, Encoding.UTF8, "application/json"));
}
