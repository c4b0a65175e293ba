using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>What a job would take and cost, before it is sent.</summary>
public sealed class EstimatesTests(IngestDoor door) : IClassFixture<IngestDoor>, IAsyncLifetime
{
    private IngestHost? _host;

    private IngestHost Host => _host!;

    public async ValueTask InitializeAsync() => _host = await door.NewTenantAsync();

    public ValueTask DisposeAsync() => _host?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task A_shape_is_estimated_in_every_class_from_the_fastest_to_the_cheapest()
    {
        Host.Forecast(0, 20_000, 40_000);
        var estimate = await EstimateAsync("""{"model":"words","shape":{"tasks":1000,"units":20000}}""");

        Assert.Equal(("estimate", "words@1"), (Text(estimate, "object"), Text(estimate, "model")));
        Assert.Equal((1000, 20_000), (estimate.GetProperty("tasks").GetInt64(), estimate.GetProperty("units").GetInt64()));
        var classes = estimate.GetProperty("classes").EnumerateArray().ToList();
        Assert.Equal(["express", "standard", "bulk"], classes.Select(c => Text(c, "class")));
        Assert.Equal(["express_refused", "accepted", "accepted"], classes.Select(c => Text(c, "admission")));
        Assert.Equal([1_600_000_000, 800_000_000, 400_000_000], classes.Select(c => c.GetProperty("price_pico_usd").GetInt64()));

        // Two workers, 1 ms a unit: half a millisecond each, so 10 s of work, behind 0, 10 and 20 s.
        Assert.All(
            classes.Zip([10, 20, 30]),
            pair => Assert.InRange(pair.First.GetProperty("seconds").GetDouble(), pair.Second - 5, pair.Second + 0.5)
        );
        Assert.All(
            classes,
            c =>
            {
                Assert.True(Time(c, "starts_at") <= Time(c, "completed_at") && Time(c, "completed_at") < Time(c, "late_at"));
                // 20 s of device time at 3.60 $ an hour.
                Assert.InRange(c.GetProperty("cost_pico_usd").GetInt64(), 19_900_000_000, 20_200_000_000);
                Assert.True(c.GetProperty("cost_high_pico_usd").GetInt64() > c.GetProperty("cost_pico_usd").GetInt64());
            }
        );
        Assert.Equal(0, await Host.CountRowsAsync());
    }

    [Fact]
    public async Task Late_express_is_accepted_where_it_is_let_in_all_the_same()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:RefuseLateExpress", "false"));
        host.Forecast(0, 20_000, 40_000);
        using var content = new StringContent(
            """{"model":"words","shape":{"tasks":1000,"units":20000}}""",
            Encoding.UTF8,
            "application/json"
        );

        using var response = await host.Client.PostAsync("v1/estimates", content);

        var classes = (await response.JsonAsync()).GetProperty("classes").EnumerateArray();
        Assert.Equal(["accepted", "accepted", "accepted"], classes.Select(c => Text(c, "admission")));
    }

    [Fact]
    public async Task Units_may_be_told_a_task()
    {
        Host.Forecast();
        var estimate = await EstimateAsync("""{"model":"words","shape":{"tasks":1000,"units_per_task":2.5}}""");
        Assert.Equal(2500, estimate.GetProperty("units").GetInt64());
    }

    [Fact]
    public async Task The_jobs_own_body_is_counted_and_stored_nowhere()
    {
        Host.Forecast();
        var lines = string.Concat(Enumerable.Range(0, 500).Select(i => $$"""{"custom_id":"{{i}}","input":"some text"}""" + "\n"));
        var whole = await EstimateAsync(lines, "application/x-ndjson", "?model=words&class=bulk&deadline=2h");
        Assert.Equal(500, whole.GetProperty("tasks").GetInt64());
        Assert.False(whole.TryGetProperty("sampled_tasks", out _));

        var inline = await EstimateAsync(
            """{"model":"words","tasks":[{"custom_id":"a","input":"some text"},{"custom_id":"b","input":"some text"}]}"""
        );
        Assert.Equal(2, inline.GetProperty("tasks").GetInt64());
        Assert.Equal(whole.GetProperty("units").GetInt64(), 250 * inline.GetProperty("units").GetInt64());
        Assert.Equal(0, await Host.CountRowsAsync());
    }

    [Fact]
    public async Task A_sample_stands_for_the_whole()
    {
        Host.Forecast();
        const string Lines = """{"custom_id":"a","input":"one"}""" + "\n" + """{"custom_id":"b","input":"one two"}""" + "\n";
        var sample = await EstimateAsync(Lines, "application/x-ndjson", "?model=words");
        var scaled = await EstimateAsync(Lines, "application/x-ndjson", "?model=words&tasks=1000");

        Assert.Equal((1000, 2), (scaled.GetProperty("tasks").GetInt64(), scaled.GetProperty("sampled_tasks").GetInt64()));
        Assert.Equal(500 * sample.GetProperty("units").GetInt64(), scaled.GetProperty("units").GetInt64());
    }

    [Fact]
    public async Task Inputs_that_came_before_take_no_device_time_and_are_charged()
    {
        Host.Forecast();
        const string Type = "application/x-ndjson";
        var lines = string.Concat(
            Enumerable.Range(0, 400).Select(i => $$"""{"custom_id":"{{i}}","input":"text {{i % 100 + 100}}"}""" + "\n")
        );
        var once = await EstimateAsync(lines, Type, "?model=words");
        var always = await EstimateAsync(lines, Type, "?model=words&reuse=false");
        var scaled = await EstimateAsync(lines, Type, "?model=words&tasks=4000");

        Assert.Equal((300, 0), (Repeated(once), Repeated(always)));
        Assert.Equal((3000, 4000), (Repeated(scaled), scaled.GetProperty("tasks").GetInt64()));
        Assert.Equal(Bulk(always, "cost_pico_usd") / 4, Bulk(once, "cost_pico_usd"));
        Assert.Equal(Bulk(always, "price_pico_usd"), Bulk(once, "price_pico_usd"));

        static long Repeated(JsonElement estimate) => estimate.GetProperty("repeated_tasks").GetInt64();
        static long Bulk(JsonElement estimate, string amount) => estimate.GetProperty("classes")[2].GetProperty(amount).GetInt64();
    }

    [Fact]
    public async Task A_model_no_live_worker_has_is_told_without_times()
    {
        Host.Forecast();
        var estimate = await EstimateAsync("""{"model":"grid","shape":{"tasks":1,"units":1}}""");
        Assert.All(
            estimate.GetProperty("classes").EnumerateArray(),
            c => Assert.Equal(JsonValueKind.Null, c.GetProperty("completed_at").ValueKind)
        );
    }

    [Fact]
    public async Task Without_a_forecast_nothing_is_made_up()
    {
        await OwnDoorAsync();
        using var response = await PostAsync("""{"model":"words","shape":{"tasks":1,"units":1}}""");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);
        Assert.NotEmpty(response.Headers.GetValues("Retry-After"));
    }

    [Theory]
    [InlineData("{\"model\":\"words\",\"shape\":{\"tasks\":0,\"units\":1}}", "shape.tasks", "a whole number, more than 0", "0")]
    [InlineData("{\"model\":\"words\",\"shape\":{\"tasks\":1.5,\"units\":1}}", "shape.tasks", "a whole number", "1.5")]
    [InlineData("{\"model\":\"words\",\"shape\":{\"tasks\":1,\"units\":-5}}", "shape.units", "a whole number, more than 0", "-5")]
    [InlineData("{\"model\":\"words\",\"shape\":{\"tasks\":1}}", "shape", "units or units_per_task", "neither")]
    [InlineData(
        "{\"model\":\"words\",\"shape\":{\"tasks\":1,\"units\":1,\"units_per_task\":1}}",
        "shape",
        "units or units_per_task",
        "both"
    )]
    [InlineData("{\"model\":\"words\",\"shape\":{\"tasks\":1,\"units\":1,\"rows\":1}}", "shape.rows", "{\"tasks\": N", "an unknown name")]
    [InlineData("{\"model\":\"words\",\"shape\":7}", "shape", "{\"tasks\": N", "number")]
    [InlineData(
        "{\"model\":\"words\",\"shape\":{\"tasks\":1,\"units\":1},\"deadline\":\"-1h\"}",
        "deadline",
        "a moment (RFC 3339)",
        "\"-1h\""
    )]
    public async Task A_bad_shape_is_told_what_was_expected(string body, string field, string expected, string given)
    {
        Host.Forecast();
        using var response = await PostAsync(body);
        var (_, givenField, givenExpected, givenGiven, _) = (await response.JsonAsync()).FirstMistake();

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Equal(field, givenField);
        Assert.StartsWith(expected, givenExpected, StringComparison.Ordinal);
        Assert.Equal(given, givenGiven);
    }

    [Fact]
    public async Task An_empty_file_a_bad_line_and_a_sample_larger_than_the_whole_are_refused()
    {
        Host.Forecast();
        using var empty = await PostAsync("", "application/x-ndjson", "?model=words");
        Assert.Equal("an empty body", (await empty.JsonAsync()).FirstMistake().Given);

        using var bad = await PostAsync(
            "{\"custom_id\":\"a\",\"input\":\"x\"}\n{\"custom_id\":\"b\"}\n",
            "application/x-ndjson",
            "?model=words"
        );
        Assert.Equal((2L, "input"), ((await bad.JsonAsync()).FirstMistake() is var (line, field, _, _, _) ? (line, field) : default));

        using var small = await PostAsync(
            "{\"custom_id\":\"a\",\"input\":\"x\"}\n{\"custom_id\":\"b\",\"input\":\"x\"}\n",
            "application/x-ndjson",
            "?model=words&tasks=1"
        );
        Assert.StartsWith("a whole number from 2", (await small.JsonAsync()).FirstMistake().Expected, StringComparison.Ordinal);
    }

    /// <summary>For a test that looks at what all tenants share.</summary>
    private async Task OwnDoorAsync()
    {
        await Host.DisposeAsync();
        _host = await door.StartAsync();
    }

    private async Task<JsonElement> EstimateAsync(string body, string type = "application/json", string query = "")
    {
        using var response = await PostAsync(body, type, query);
        Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync());
        return await response.JsonAsync();
    }

    private async Task<HttpResponseMessage> PostAsync(string body, string type = "application/json", string query = "")
    {
        using var content = new StringContent(body, Encoding.UTF8);
        content.Headers.ContentType = new MediaTypeHeaderValue(type);
        return await Host.Client.PostAsync(new Uri($"v1/estimates{query}", UriKind.Relative), content);
    }

    private static string Text(JsonElement json, string name) => json.GetProperty(name).GetString()!;

    private static DateTimeOffset Time(JsonElement json, string name) => json.GetProperty(name).GetDateTimeOffset();
}
