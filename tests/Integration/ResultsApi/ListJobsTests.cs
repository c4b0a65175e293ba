using System.Net;
using System.Text.Json;
using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi;

public sealed class ListJobsTests(ResultsApiFixture fixture) : IClassFixture<ResultsApiFixture>, IAsyncLifetime
{
    private static readonly DateTimeOffset Start = new(2026, 1, 2, 3, 0, 0, TimeSpan.Zero);
    private ApiCaller _api = null!;

    public async ValueTask InitializeAsync() => _api = await fixture.Host.AddTenantAsync();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task Pages_show_every_job_once_newest_first()
    {
        var ids = new List<string>();
        for (var i = 0; i < 5; i++)
        {
            ids.Add((await CreateAsync(new SeededJob { CreatedAt = Start.AddMinutes(i) })).Id.ToString());
        }

        var seen = new List<string>();
        var after = "";
        for (var more = true; more; )
        {
            var (_, page) = await _api.GetAsync($"/v1/jobs?limit=2{after}");
            var data = Ids(page);
            seen.AddRange(data);
            more = page.GetProperty("has_more").GetBoolean();
            Assert.Equal("list", page.GetProperty("object").GetString());
            Assert.Equal((data[0], data[^1]), (page.GetProperty("first_id").GetString(), page.GetProperty("last_id").GetString()));
            after = $"&after={page.GetProperty("last_id").GetString()}";
        }

        Assert.Equal(Enumerable.Reverse(ids), seen);
    }

    [Fact]
    public async Task An_empty_list_has_no_ids()
    {
        var (_, page) = await _api.GetAsync("/v1/jobs");

        Assert.Equal("""{"object":"list","data":[],"has_more":false,"first_id":null,"last_id":null}""", page.GetRawText());
    }

    [Fact]
    public async Task Filters_narrow_the_list_together()
    {
        var express = await CreateAsync(new SeededJob { Class = LatencyClass.Express, CreatedAt = Start });
        var other = await CreateAsync(new SeededJob { Model = "embedder", CreatedAt = Start.AddHours(1) });
        var tagged = await CreateAsync(new SeededJob { Metadata = """{"team":"search","env":"test"}""", CreatedAt = Start.AddHours(2) });
        await tagged.EndAllAsync(_api.Database);

        await AssertList("class=express", express);
        await AssertList("class=express,bulk", tagged, other, express);
        await AssertList("model=embedder", other);
        await AssertList("model=embedder@1.0.0", other);
        await AssertList("model=embedder@2.0.0");
        await AssertList("state=completed", tagged);
        await AssertList("state=queued,running", other, express);
        await AssertList("metadata[team]=search", tagged);
        await AssertList("metadata[team]=search&metadata[env]=live");
        await AssertList("created_after=2026-01-02T03:30:00Z&created_before=2026-01-02T04:30:00Z", other);
        await AssertList("created_after=2026-01-02T04:30:00%2B01:00&state=queued", other);
    }

    [Fact]
    public async Task Only_the_callers_jobs_are_listed()
    {
        var other = await _api.Host.AddTenantAsync();
        await CreateAsync(new SeededJob());
        var theirs = await SeededJob.CreateAsync(_api.Database, other.Tenant);

        Assert.Equal([theirs.Id.ToString()], Ids((await other.GetAsync("/v1/jobs")).Body));
    }

    [Fact]
    public async Task Open_and_finished_jobs_have_their_counts_side_by_side()
    {
        var finished = await CreateAsync(new SeededJob { Tasks = 3, CreatedAt = Start });
        await finished.EndAllAsync(_api.Database);
        var open = await CreateAsync(new SeededJob { Tasks = 6, CreatedAt = Start.AddHours(1) });
        await open.EndAsync(_api.Database, 0, 4);

        var (_, page) = await _api.GetAsync("/v1/jobs");

        Assert.Equal(
            [2, 3],
            page.GetProperty("data").EnumerateArray().Select(job => job.GetProperty("counts").GetProperty("succeeded").GetInt32())
        );
    }

    [Fact]
    public async Task Every_mistake_of_a_query_is_told_at_once()
    {
        var (status, body) = await _api.GetAsync("/v1/jobs?limit=101&state=done&after=x&created_after=yesterday&clas=bulk&class=a&class=b");

        Assert.Equal(HttpStatusCode.BadRequest, status);
        Assert.Equal(
            ["after", "clas", "class", "created_after", "limit", "state"],
            body.GetProperty("errors").EnumerateArray().Select(e => e.GetProperty("field").GetString()!).Distinct().Order()
        );
        Assert.Contains("1 to 100", body.GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.Equal("invalid_request", body.GetProperty("error").GetProperty("code").GetString());
    }

    private Task<SeededJob> CreateAsync(SeededJob like) => SeededJob.CreateAsync(_api.Database, _api.Tenant, like);

    private async Task AssertList(string query, params SeededJob[] expected)
    {
        var (status, page) = await _api.GetAsync($"/v1/jobs?{query}");

        Assert.Equal(HttpStatusCode.OK, status);
        Assert.Equal(expected.Select(job => job.Id.ToString()), Ids(page));
    }

    private static string[] Ids(JsonElement page) =>
        [.. page.GetProperty("data").EnumerateArray().Select(job => job.GetProperty("id").GetString()!)];
}
