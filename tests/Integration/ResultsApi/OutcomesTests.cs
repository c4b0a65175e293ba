using System.Net;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Integration.Migrations;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi;

/// <summary>
/// Four groups of January: <c>cheap-1</c> took three requests and was accepted, <c>cheap-2</c> three and was not, <c>dear</c> one, <c>both</c>
/// one of either and nobody has said.
/// </summary>
public sealed class OutcomesTests(ResultsApiFixture fixture) : IClassFixture<ResultsApiFixture>, IAsyncLifetime
{
    private const string January = "/v1/outcomes?from=2026-01-01&to=2026-01-31";

    private ApiCaller _api = null!;
    private string _name = "";

    public async ValueTask InitializeAsync()
    {
        _api = await fixture.Host.AddTenantAsync();
        _name = (await _api.Database.ScalarAsync<string>("SELECT name FROM tenants WHERE id = $1", _api.Tenant.Value))!;
        var work = new BookedWork(_api.Database, seed: 6);
        var worker = await work.AddWorkerAsync("gpu", Cost.PicoPerUsd);
        foreach (var (group, model, tasks, day) in Groups)
        {
            var job = await work.AddJobAsync(_name, LatencyClass.Express, model, tasks);
            await _api.Database.ExecuteAsync(
                "UPDATE jobs SET group_name = $2, queued_at = $3, per_million_units_pico = 20000000000 WHERE id = $1",
                job.Id.Value,
                group,
                new DateTimeOffset(2026, 1, day, 12, 0, 0, TimeSpan.Zero)
            );
            if (group == "dear")
            {
                await _api.Database.ExecuteAsync(
                    """UPDATE jobs SET route = '{"name": "good-enough", "version": 2, "variants": []}' WHERE id = $1""",
                    job.Id.Value
                );
            }

            await work.EndAsync(worker, job, [.. Enumerable.Range(0, tasks)], new DateTimeOffset(2026, 1, day, 12, 0, 5, TimeSpan.Zero));
        }

        foreach (var (group, accepted, value) in new[] { ("cheap-1", true, 2m), ("cheap-2", false, 0m), ("dear", true, 3m) })
        {
            await Pipeline.Migrations.Groups.ReportAsync(
                _api.Database.DataSource,
                _api.Tenant,
                group,
                accepted,
                value,
                DateTimeOffset.UtcNow
            );
        }

        await RolledUp.Async(_api.Database);
    }

    private static readonly (string Group, string Model, int Tasks, int Day)[] Groups =
    [
        ("cheap-1", "cheap@1", 3, 3),
        ("cheap-2", "cheap@1", 3, 3),
        ("dear", "dear@1", 1, 4),
        ("both", "cheap@1", 1, 31),
        ("both", "dear@1", 1, 31),
    ];

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task A_row_a_model_tells_requests_acceptance_and_the_cost_of_an_accepted_outcome()
    {
        var (_, list) = await _api.GetAsync($"{January}&by=model");

        var rows = list.GetProperty("data").EnumerateArray().ToDictionary(row => row.GetProperty("model").GetString()!);
        Assert.Equal(["cheap@1", "cheap@1 + dear@1", "dear@1"], rows.Keys);
        var cheap = rows["cheap@1"];
        Assert.Equal((2, 2, 1), (Whole(cheap, "groups"), Whole(cheap, "reported"), Whole(cheap, "accepted")));
        Assert.Equal((0.5m, 3m, 2m), (Number(cheap, "acceptance_rate"), Number(cheap, "requests_per_group"), Number(cheap, "value")));
        var cost = await CostAsync("cheap-1", "cheap-2");
        Assert.Equal(
            (cost, Math.Round(cost / 2), cost),
            (Number(cheap, "cost_pico_usd"), Number(cheap, "cost_per_group_pico_usd"), Number(cheap, "cost_per_accepted_pico_usd"))
        );
        var both = rows["cheap@1 + dear@1"];
        Assert.Equal(
            (1, 0, JsonValueKind.Null),
            (Whole(both, "groups"), Whole(both, "reported"), both.GetProperty("cost_per_accepted_pico_usd").ValueKind)
        );
    }

    [Fact]
    public async Task A_row_a_route_tells_groups_that_went_along_it_from_those_that_named_a_model()
    {
        var (_, list) = await _api.GetAsync($"{January}&by=route,model");

        var rows = list.GetProperty("data").EnumerateArray().ToDictionary(row => row.GetProperty("model").GetString()!);
        Assert.Equal(("good-enough@2", 1L), (rows["dear@1"].GetProperty("route").GetString(), Whole(rows["dear@1"], "groups")));
        Assert.Equal("none", rows["cheap@1"].GetProperty("route").GetString());
    }

    [Fact]
    public async Task Rows_of_any_keys_sum_to_the_total_and_the_groups_to_their_rows()
    {
        var (_, whole) = await _api.GetAsync(January);
        var total = Assert.Single(whole.GetProperty("data").EnumerateArray());
        Assert.Equal((4, "total"), (Whole(total, "groups"), total.GetProperty("id").GetString()));

        var (_, list) = await _api.GetAsync($"{January}&by=day,class,model");
        var rows = list.GetProperty("data").EnumerateArray().ToList();
        Assert.Equal("2026-01-31|express|cheap@1 + dear@1", rows[^1].GetProperty("id").GetString());
        decimal ofGroups = 0;
        foreach (var group in Groups.Select(g => g.Group).Distinct())
        {
            ofGroups += Number((await _api.GetAsync($"/v1/groups/{group}")).Body, "cost_pico_usd");
        }

        Assert.Equal(Number(total, "cost_pico_usd"), rows.Sum(row => Number(row, "cost_pico_usd")));
        Assert.Equal(Number(total, "cost_pico_usd"), ofGroups);
    }

    [Fact]
    public async Task A_group_is_shown_with_its_latency_and_outcome()
    {
        var (status, group) = await _api.GetAsync("/v1/groups/cheap-1");

        Assert.Equal(HttpStatusCode.OK, status);
        Assert.Equal((3, 3, 0, 3), (Whole(group, "requests"), Whole(group, "succeeded"), Whole(group, "pending"), Whole(group, "turns")));
        Assert.Equal(5_000, Number(group, "latency_ms"));
        Assert.Equal(await CostAsync("cheap-1"), Number(group, "cost_pico_usd"));
        Assert.True(Number(group, "price_pico_usd") > 0);
        Assert.True(group.GetProperty("outcome").GetProperty("accepted").GetBoolean());
        Assert.Equal("cheap@1", group.GetProperty("models")[0].GetString());
        Assert.Equal(JsonValueKind.Null, (await _api.GetAsync("/v1/groups/both")).Body.GetProperty("outcome").ValueKind);

        var (_, jobs) = await _api.GetAsync("/v1/jobs?group=both");
        Assert.Equal(["both", "both"], jobs.GetProperty("data").EnumerateArray().Select(job => job.GetProperty("group").GetString()));
    }

    [Fact]
    public async Task Groups_outside_the_range_and_of_others_are_not_in_it()
    {
        var (_, early) = await _api.GetAsync("/v1/outcomes?from=2026-01-03&to=2026-01-04");
        Assert.Equal(3, Whole(early.GetProperty("data")[0], "groups"));

        var stranger = await fixture.Host.AddTenantAsync();
        Assert.Equal(HttpStatusCode.NotFound, (await stranger.GetAsync("/v1/groups/dear")).Status);
        Assert.Equal(0, Whole((await stranger.GetAsync(January)).Body.GetProperty("data")[0], "groups"));
    }

    [Fact]
    public async Task Csv_has_a_line_of_names_and_leaves_empty_what_is_not_known()
    {
        var csv = await _api.Http.GetStringAsync($"{January}&by=model&format=csv");

        var lines = csv.Split("\r\n", StringSplitOptions.RemoveEmptyEntries);
        Assert.StartsWith("model,groups,reported,accepted,acceptance_rate,requests,", lines[0], StringComparison.Ordinal);
        Assert.StartsWith("cheap@1,2,2,1,0.5,6,3,6,", lines[1], StringComparison.Ordinal);
        Assert.StartsWith("cheap@1 + dear@1,1,0,0,,2,2,2,", lines[2], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("by=tenant", "by")]
    [InlineData("group_by=model", "group_by")]
    [InlineData("from=2026-02-01&to=2026-01-01", "from")]
    public async Task A_mistake_is_told_by_the_parameters_name(string query, string field)
    {
        var (status, body) = await _api.GetAsync($"/v1/outcomes?{query}");

        Assert.Equal(HttpStatusCode.BadRequest, status);
        Assert.Contains($"Parameter \"{field}\": expected", body.GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Calibration_is_told_to_operators_by_class_and_model()
    {
        await _api.Database.ExecuteAsync(
            "INSERT INTO calibration_days VALUES ('2025-05-01', 'bulk', 'm@1', 10, 9, -0.5, 1.5, 0, 0, 0), ('2025-05-02', 'bulk', 'm@1', 10, 10, 0.1, 0.5, 8, 0.4, 0.8)"
        );
        Assert.Equal(HttpStatusCode.Forbidden, (await _api.GetAsync("/v1/calibration")).Status);
        var key = await ApiKeyIssuer.IssueAsync(_api.Database.DataSource, _api.Tenant, "operator", isOperator: true);
        var operators = _api with { Http = _api.Host.Client(key) };

        var (_, list) = await operators.GetAsync("/v1/calibration?from=2025-05-01&to=2025-05-31");

        var row = Assert.Single(list.GetProperty("data").EnumerateArray());
        Assert.Equal(("bulk|m@1", 20, 0.95m), (row.GetProperty("id").GetString(), Whole(row, "jobs"), Number(row, "coverage")));
        Assert.Equal((0.1m, -0.02m), (Number(row, "completion_mape"), Number(row, "completion_bias")));
        Assert.Equal((8, 0.1m, 0.05m), (Whole(row, "cost_jobs"), Number(row, "cost_mape"), Number(row, "cost_bias")));
        var csv = await operators.Http.GetStringAsync("/v1/calibration?from=2025-05-01&to=2025-05-01&format=csv&by=day");
        Assert.Equal(
            "day,jobs,coverage,completion_mape,completion_bias,cost_jobs,cost_mape,cost_bias\r\n2025-05-01,10,0.9,0.15,-0.05,0,,\r\n",
            csv
        );
    }

    [Fact]
    public async Task A_job_shows_its_estimate_against_what_it_took()
    {
        var job = await SeededJob.CreateAsync(_api.Database, _api.Tenant);
        await _api.Database.ExecuteAsync(
            "UPDATE jobs SET queued_at = now() - interval '100 s', predicted_at = now(), predicted_early_at = now(), predicted_late_at = now() + interval '1 h', predicted_cost_pico = 1112000 WHERE id = $1",
            job.Id.Value
        );
        await job.EndAllAsync(_api.Database);

        var (_, body) = await _api.GetAsync($"/v1/jobs/{job.Id}?costs=true");

        var estimate = body.GetProperty("costs").GetProperty("estimate");
        Assert.True(estimate.GetProperty("in_band").GetBoolean());
        Assert.Equal(
            (1_112_000, 5_560_000, -0.8m),
            (Number(estimate, "cost_pico_usd"), Number(estimate, "actual_cost_pico_usd"), Number(estimate, "cost_error"))
        );
        Assert.InRange(Number(estimate, "completion_error"), -0.9m, 0);
    }

    private Task<decimal> CostAsync(params string[] groups) =>
        _api.Database.ScalarAsync<decimal>(
            "SELECT sum(r.cost_pico) FROM results r JOIN jobs j ON j.id = r.job WHERE j.tenant = $1 AND j.group_name = ANY ($2)",
            _api.Tenant.Value,
            groups
        );

    private static long Whole(JsonElement row, string name) => row.GetProperty(name).GetInt64();

    private static decimal Number(JsonElement row, string name) => row.GetProperty(name).GetDecimal();
}
