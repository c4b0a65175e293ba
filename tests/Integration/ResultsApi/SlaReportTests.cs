using System.Net;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Sla;
using Pipeline.ResultsApi.Sla.Objectives;
using Pipeline.Tests.Integration.Migrations;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi;

/// <summary>Reports over HTTP, held against the raw rows they are about.</summary>
public sealed class SlaReportTests(ResultsApiFixture fixture) : IClassFixture<ResultsApiFixture>, IAsyncLifetime
{
    private const string January = "from=2026-01-01&to=2026-01-31";

    private ApiCaller _api = null!;
    private string _name = "";

    public async ValueTask InitializeAsync()
    {
        _api = await fixture.Host.AddTenantAsync();
        _name = (await _api.Database.ScalarAsync<string>("SELECT name FROM tenants WHERE id = $1", _api.Tenant.Value))!;
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task Percentiles_shares_and_cost_are_those_of_the_raw_rows()
    {
        await SeedAsync();

        var (status, report) = await _api.GetAsync($"/v1/reports/sla?{January}&by=class");

        Assert.Equal(HttpStatusCode.OK, status);
        Assert.Equal((744, true), (report.GetProperty("hours").GetDouble(), report.GetProperty("complete").GetBoolean()));
        var rows = report.GetProperty("rows").EnumerateArray().ToDictionary(r => r.GetProperty("class").GetString()!);
        Assert.Equal(["express", "bulk"], rows.Keys);
        foreach (var (latencyClass, row) in rows)
        {
            foreach (
                var (field, column) in new[] { ("end_to_end_ms", "total_us"), ("queue_wait_ms", "queued_us"), ("device_ms", "device_us") }
            )
            {
                var exact = await _api.Database.ScalarAsync<double[]>(
                    $"""
                    SELECT percentile_disc(ARRAY[0.5, 0.9, 0.95, 0.99, 0.999]) WITHIN GROUP (ORDER BY r.{column} / 1000.0::float8)
                    FROM results r JOIN jobs j ON j.id = r.job WHERE j.tenant = $1 AND j.class = $2 AND r.status = 'succeeded'
                    """,
                    _api.Tenant.Value,
                    latencyClass
                );
                string[] names = ["p50", "p90", "p95", "p99", "p99_9"];
                Assert.All(
                    names.Zip(exact!),
                    p => Assert.InRange(row.GetProperty(field).GetProperty(p.First).GetDouble(), p.Second * 0.99, p.Second * 1.01)
                );
            }

            var raw = await _api.Database.ScalarAsync<decimal[]>(
                """
                SELECT ARRAY[count(*) FILTER (WHERE r.status = 'succeeded'), count(*) FILTER (WHERE r.status = 'failed'), sum(r.cost_pico),
                             round(count(*) FILTER (WHERE r.status = 'succeeded' AND r.total_us <= $3)::numeric / count(*), 6)]
                FROM results r JOIN jobs j ON j.id = r.job WHERE j.tenant = $1 AND j.class = $2
                """,
                _api.Tenant.Value,
                latencyClass,
                latencyClass == "express" ? 500_000L : 3_600_000_000L
            );
            string[] counts = ["succeeded", "failed", "cost_pico_usd", "tasks_within"];
            Assert.Equal(raw!, counts.Select(count => row.GetProperty(count).GetDecimal()));
        }

        // Three of the express tasks, each 220 ms later than the one before, are within 500 ms.
        var objective = report.GetProperty("objectives").EnumerateArray().Single(o => o.GetProperty("name").GetString() == "median 500 ms");
        Assert.Equal(
            (3, 5, true),
            (objective.GetProperty("good").GetInt32(), objective.GetProperty("total").GetInt32(), objective.GetProperty("met").GetBoolean())
        );
        Assert.Equal(0.2, objective.GetProperty("budget_left").GetDouble());
        Assert.Equal(4, report.GetProperty("stages").EnumerateArray().Count(s => s.GetProperty("class").GetString() == "bulk"));
    }

    [Fact]
    public async Task The_same_rows_give_the_same_bytes_and_others_another_hash()
    {
        await SeedAsync();
        var path = $"/v1/reports/sla?{January}&by=week,model&tz=America/New_York";

        var (first, second) = (await _api.Http.GetStringAsync(path), await _api.Http.GetStringAsync(path));
        Assert.Equal(first, second);

        await _api.Database.ExecuteAsync("UPDATE sla_breaches SET total_us = total_us + 1 WHERE tenant = $1", _api.Tenant.Value);
        var (_, third) = await _api.GetAsync(path);
        Assert.NotEqual(JsonElement.Parse(first).GetProperty("source_sha256").GetString(), third.GetProperty("source_sha256").GetString());
    }

    [Fact]
    public async Task Days_go_by_the_zones_clocks_and_sum_to_the_window()
    {
        await SeedAsync();

        var (_, report) = await _api.GetAsync("/v1/reports/sla?from=2026-01-02&to=2026-01-05&tz=Asia/Tokyo&by=day");

        var days = report.GetProperty("periods").EnumerateArray().ToList();
        Assert.Equal(
            ["2026-01-03 express", "2026-01-03 bulk", "2026-01-04 bulk"],
            days.Select(d => $"{d.GetProperty("period")} {d.GetProperty("class")}")
        );
        Assert.Equal(
            report.GetProperty("rows").EnumerateArray().Sum(r => r.GetProperty("succeeded").GetInt64()),
            days.Sum(d => d.GetProperty("end_to_end_ms").GetProperty("count").GetInt64())
        );
    }

    [Fact]
    public async Task A_window_in_which_nothing_happened_has_no_figures_and_meets_nothing()
    {
        var (status, report) = await _api.GetAsync("/v1/reports/sla?from=2025-03-01&to=2025-03-31&tz=Europe/Berlin");

        Assert.Equal(HttpStatusCode.OK, status);
        Assert.Equal(743, report.GetProperty("hours").GetDouble());
        Assert.Empty(report.GetProperty("rows").EnumerateArray());
        Assert.All(
            report.GetProperty("objectives").EnumerateArray(),
            o => Assert.Equal(JsonValueKind.Null, o.GetProperty("met").ValueKind)
        );
        Assert.Contains(
            "No task or job ended",
            await _api.Http.GetStringAsync("/v1/reports/sla?from=2025-03-01&to=2025-03-31&format=html"),
            StringComparison.Ordinal
        );
    }

    [Theory]
    [InlineData("from=2030-01-01", "from")]
    [InlineData("from=2026-02-01&to=2026-01-01", "from")]
    [InlineData("tz=Mars/Olympus", "tz")]
    [InlineData("format=pdf", "format")]
    [InlineData("section=everything", "section")]
    [InlineData("tenant=another", "tenant")]
    public async Task A_mistake_is_told_by_the_parameters_name(string query, string field)
    {
        var (status, body) = await _api.GetAsync($"/v1/reports/sla?{query}");

        Assert.Equal(HttpStatusCode.BadRequest, status);
        Assert.Contains($"Parameter \"{field}\": expected", body.GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_page_stands_by_itself_and_csv_has_a_line_a_row()
    {
        await SeedAsync();
        using var request = new HttpRequestMessage(HttpMethod.Get, $"/v1/reports/sla?{January}");
        request.Headers.Add("Accept", "text/html");

        using var response = await _api.Http.SendAsync(request);
        var page = await response.Content.ReadAsStringAsync();
        var csv = await _api.Http.GetStringAsync($"/v1/reports/sla?{January}&by=model,class&format=csv");
        var breaches = await _api.Http.GetStringAsync($"/v1/reports/sla?{January}&format=csv&section=breaches");

        Assert.Equal("text/html", response.Content.Headers.ContentType?.MediaType);
        Assert.Contains("<svg", page, StringComparison.Ordinal);
        Assert.Contains("@media print", page, StringComparison.Ordinal);
        Assert.Contains("&lt;b@2&gt;", page, StringComparison.Ordinal);
        Assert.DoesNotContain("<script", page, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("<b@2>", page, StringComparison.Ordinal);
        Assert.DoesNotContain("src=", page, StringComparison.Ordinal);
        var lines = csv.Split("\r\n", StringSplitOptions.RemoveEmptyEntries);
        Assert.StartsWith("class,tenant,model,succeeded,failed,client_faults,", lines[0], StringComparison.Ordinal);
        Assert.Contains(",end_to_end_ms_p99_9,", lines[0], StringComparison.Ordinal);
        Assert.Equal(3, lines.Length);
        Assert.StartsWith("express,,<b@2>,5,0,", lines[1], StringComparison.Ordinal);
        Assert.Contains(",completed,waiting,500,", breaches, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Excluded_time_counts_for_nothing_and_is_named_with_its_reason()
    {
        await SeedAsync();
        var operators = await OperatorAsync();
        var (status, exclusion) = await operators.SendAsync(
            HttpMethod.Post,
            "/v1/sla_exclusions",
            """{"from": "2026-01-03T11:00:00Z", "to": "2026-01-03T13:30:00Z", "reason": "Maintenance & <more>"}"""
        );
        Assert.Equal(HttpStatusCode.OK, status);

        var (_, report) = await _api.GetAsync($"/v1/reports/sla?{January}&by=class");
        Assert.Equal(744 - 2.5, report.GetProperty("hours").GetDouble());
        Assert.Equal("bulk", Assert.Single(report.GetProperty("rows").EnumerateArray()).GetProperty("class").GetString());
        Assert.Equal("Maintenance & <more>", report.GetProperty("exclusions")[0].GetProperty("reason").GetString());
        Assert.Equal(0, report.GetProperty("breaches").GetProperty("total").GetInt32());

        await operators.SendAsync(HttpMethod.Post, $"/v1/sla_exclusions/{exclusion.GetProperty("id")}/withdraw");
        var (_, after) = await _api.GetAsync($"/v1/reports/sla?{January}&by=class");
        Assert.Equal(744, after.GetProperty("hours").GetDouble());
        Assert.Equal(HttpStatusCode.Forbidden, (await _api.SendAsync(HttpMethod.Post, "/v1/sla_exclusions", "{}")).Status);
        var (bad, problem) = await operators.SendAsync(
            HttpMethod.Post,
            "/v1/sla_exclusions",
            """{"from": "2026-01-03T11:00:01Z", "to": "2026-01-03T10:00:00Z"}"""
        );
        Assert.Equal(HttpStatusCode.BadRequest, bad);
        Assert.Equal(
            ["from", "to", "reason"],
            problem.GetProperty("errors").EnumerateArray().Select(e => e.GetProperty("field").GetString())
        );
    }

    [Fact]
    public async Task Availability_callbacks_disconnects_and_outcomes_are_counted_beside_the_tasks()
    {
        await SeedAsync();
        await _api.Database.ExecuteAsync(
            """
            INSERT INTO sla_doors (at, tenant, class, model, instance, accepted, limited, client_faults, failed, disconnects)
            SELECT '2026-01-03 12:00Z', $1, 'express', '', gen_random_uuid(), 499, 7, 5, 1, '{1,0,2,0,3}' FROM generate_series(1, 2)
            """,
            _api.Tenant.Value
        );
        await _api.Database.ExecuteAsync(
            "INSERT INTO sla_callbacks (at, tenant, delivered, punctual, failed) VALUES ('2026-01-03 12:00Z', $1, 9, 8, 1)",
            _api.Tenant.Value
        );
        await _api.Database.ExecuteAsync(
            """
            INSERT INTO groups (tenant, name, first_at, last_at, requests, accepted, value, reported_at, models, classes)
            SELECT $1, 'g' || n, '2026-01-03 12:00Z', timestamptz '2026-01-03 12:00Z' + n * interval '0.3 s', 1, n < 3, n, now(), '{}', '{}'
            FROM generate_series(1, 4) n
            """,
            _api.Tenant.Value
        );

        var (_, report) = await _api.GetAsync($"/v1/reports/sla?{January}&by=class");

        var door = Assert.Single(report.GetProperty("acceptance").EnumerateArray());
        Assert.Equal(
            (998, 14, 10, 2, 0.998),
            (
                Int(door, "accepted"),
                Int(door, "limited"),
                Int(door, "client_faults"),
                Int(door, "failed"),
                door.GetProperty("availability").GetDouble()
            )
        );
        Assert.Equal([2, 0, 4, 0, 6], report.GetProperty("bands").EnumerateArray().Take(5).Select(b => Int(b, "disconnects")));
        Assert.Equal(0.8, report.GetProperty("callbacks").GetProperty("punctuality").GetDouble());
        Assert.Equal(
            ["500 1 1 1", "800 1 1 2", "1000 1 0 3", " 1 0 4"],
            report
                .GetProperty("outcomes")
                .EnumerateArray()
                .Select(o => $"{o.GetProperty("up_to_ms")} {o.GetProperty("groups")} {o.GetProperty("accepted")} {o.GetProperty("value")}")
        );
        var availability = report.GetProperty("objectives").EnumerateArray().Single(o => o.GetProperty("slo").GetString() == "acceptance");
        Assert.False(availability.GetProperty("met").GetBoolean());
        Assert.Equal(-1, availability.GetProperty("budget_left").GetDouble(), 6);
    }

    [Fact]
    public async Task Availability_is_stated_by_model_and_what_named_none_stands_apart()
    {
        await SeedAsync();
        await _api.Database.ExecuteAsync(
            """
            INSERT INTO sla_doors (at, tenant, class, model, instance, accepted, limited, client_faults, failed, disconnects)
            SELECT '2026-01-03 12:00Z', $1, class, model, gen_random_uuid(), accepted, 7, 5, failed, '{0,0,0,0,0}'
            FROM (VALUES ('express', '<b@2>', 3, 1), ('express', '<b@2>', 4, 0), ('express', '', 0, 8), ('bulk', 'unused@1', 0, 2))
              AS d (class, model, accepted, failed)
            """,
            _api.Tenant.Value
        );

        var (_, report) = await _api.GetAsync($"/v1/reports/sla?{January}&by=class,model");
        var csv = await _api.Http.GetStringAsync($"/v1/reports/sla?{January}&format=csv&section=acceptance_by_model");
        var page = await _api.Http.GetStringAsync($"/v1/reports/sla?{January}&format=html");

        var row = report.GetProperty("rows").EnumerateArray().Single(r => r.GetProperty("class").GetString() == "express");
        Assert.Equal(("<b@2>", 0.875), (row.GetProperty("model").GetString(), row.GetProperty("availability").GetDouble()));
        Assert.Equal(
            ["express  0 8 0", "express <b@2> 7 1 0.875", "bulk unused@1 0 2 0"],
            report
                .GetProperty("acceptance_by_model")
                .EnumerateArray()
                .Select(a =>
                    $"{a.GetProperty("class")} {a.GetProperty("model")} {a.GetProperty("accepted")} {a.GetProperty("failed")} {a.GetProperty("availability")}"
                )
        );
        Assert.Equal(
            [
                "class,model,accepted,limited,client_faults,failed,disconnects,availability",
                "express,,0,7,5,8,0,0",
                "express,<b@2>,7,14,10,1,0,0.875",
                "bulk,unused@1,0,7,5,2,0,0",
            ],
            csv.Split("\r\n", StringSplitOptions.RemoveEmptyEntries)
        );
        Assert.Contains("<td>none known</td><td>express</td>", page, StringComparison.Ordinal);
        Assert.Contains("<td>&lt;b@2&gt;</td><td>express</td>", page, StringComparison.Ordinal);
        await _api.Database.ExecuteAsync("UPDATE sla_doors SET model = 'other@1' WHERE tenant = $1 AND model = ''", _api.Tenant.Value);
        var (_, moved) = await _api.GetAsync($"/v1/reports/sla?{January}&by=class,model");
        Assert.Equal("sla.v3", moved.GetProperty("method").GetString());
        Assert.NotEqual(report.GetProperty("source_sha256").GetString(), moved.GetProperty("source_sha256").GetString());
    }

    [Fact]
    public async Task A_kept_report_stays_as_it_was_and_webhooks_are_told()
    {
        await SeedAsync();
        var live = await _api.Http.GetStringAsync($"/v1/reports/sla?{January}");

        var (_, kept) = await _api.SendAsync(HttpMethod.Post, $"/v1/reports?{January}");
        await _api.Database.ExecuteAsync("DELETE FROM sla_days WHERE tenant = $1", _api.Tenant.Value);
        var id = kept.GetProperty("id").GetString();
        var (_, found) = await _api.GetAsync($"/v1/reports/{id}");

        Assert.Equal(live, found.GetProperty("report").GetRawText());
        Assert.Contains("<svg", await _api.Http.GetStringAsync($"/v1/reports/{id}?format=html"), StringComparison.Ordinal);
        var (_, list) = await _api.GetAsync("/v1/reports?limit=1");
        Assert.Equal(
            (id, JsonValueKind.Null),
            (list.GetProperty("data")[0].GetProperty("id").GetString(), list.GetProperty("data")[0].GetProperty("report").ValueKind)
        );
        Assert.Equal(
            id,
            await _api.Database.ScalarAsync<string>(
                "SELECT data->>'report' FROM events WHERE type = 'report.ready' AND tenant = $1",
                _api.Tenant.Value
            )
        );
        var stranger = await fixture.Host.AddTenantAsync();
        Assert.Equal(HttpStatusCode.NotFound, (await stranger.GetAsync($"/v1/reports/{id}")).Status);
    }

    [Fact]
    public async Task An_operator_sees_all_tenants_or_one_of_them()
    {
        await SeedAsync();
        var operators = await OperatorAsync();

        var (_, all) = await operators.GetAsync($"/v1/reports/sla?{January}&by=tenant,class");
        var (_, one) = await operators.GetAsync($"/v1/reports/sla?{January}&tenant={Uri.EscapeDataString(_name)}");

        Assert.Contains(all.GetProperty("rows").EnumerateArray(), r => r.GetProperty("tenant").GetString() == _name);
        Assert.Equal(_name, one.GetProperty("tenant").GetString());
        Assert.Equal(HttpStatusCode.BadRequest, (await operators.GetAsync("/v1/reports/sla?tenant=nobody")).Status);
    }

    [Fact]
    public async Task A_month_that_ended_is_reported_once_however_often_it_is_tried()
    {
        await SeedAsync();
        var options = new SlaOptions { TimeZone = "Europe/Berlin" };
        var (database, objectives) = (_api.Database.DataSource, fixture.Host.Services.GetRequiredService<ObjectiveSet>());
        SlaReports At(DateTimeOffset now) =>
            new(database, new ReportReader(database, options), objectives, options, new StandingClock(now));
        var ended = new DateTimeOffset(2026, 1, 31, 23, 0, 0, TimeSpan.Zero);
        using var tooSoon = At(ended.AddSeconds(30));
        using var one = At(ended.AddMinutes(2));
        using var other = At(ended.AddDays(20));

        Assert.Equal(0, await CountAsync());
        await tooSoon.MakeOfPeriodThatEndedAsync(CalendarUnit.Month, CancellationToken.None);
        await Task.WhenAll(
            one.MakeOfPeriodThatEndedAsync(CalendarUnit.Month, CancellationToken.None),
            other.MakeOfPeriodThatEndedAsync(CalendarUnit.Month, CancellationToken.None)
        );

        Assert.Equal(0, await one.MakeOfPeriodThatEndedAsync(CalendarUnit.Month, CancellationToken.None));
        Assert.Equal(1, await CountAsync());
        Assert.Equal(
            1,
            await _api.Database.ScalarAsync<long>(
                "SELECT count(*) FROM events WHERE type = 'report.ready' AND tenant = $1",
                _api.Tenant.Value
            )
        );
        var (_, list) = await _api.GetAsync("/v1/reports");
        Assert.Equal(ended, Assert.Single(list.GetProperty("data").EnumerateArray()).GetProperty("to").GetDateTimeOffset());
    }

    private Task<long> CountAsync() =>
        _api.Database.ScalarAsync<long>("SELECT count(*) FROM reports WHERE tenant = $1 AND occasion = 'month'", _api.Tenant.Value);

    private static int Int(JsonElement of, string name) => of.GetProperty(name).GetInt32();

    private async Task<ApiCaller> OperatorAsync()
    {
        var tenant = await Tenants.EnsureAsync(_api.Database.DataSource, $"operator {Guid.NewGuid()}");
        var key = await ApiKeyIssuer.IssueAsync(_api.Database.DataSource, tenant, "test", isOperator: true);
        return new ApiCaller(fixture.Host, tenant, fixture.Host.Client(key));
    }

    /// <summary>Five express tasks on the third at noon, of a job that took 1.1 s; 20 bulk ones on the third and fourth.</summary>
    private async Task SeedAsync()
    {
        var work = new BookedWork(_api.Database, seed: 9);
        var worker = await work.AddWorkerAsync("gpu", Cost.PicoPerUsd);
        var express = await work.AddJobAsync(_name, LatencyClass.Express, "<b@2>", 5);
        var bulk = await work.AddJobAsync(_name, LatencyClass.Bulk, "org/a@1", 20);
        await _api.Database.ExecuteAsync(
            "UPDATE jobs SET queued_at = '2026-01-03 11:59:58.9Z', created_at = '2026-01-03 11:59:58.9Z', deadline = '2026-01-04' WHERE id = $1",
            express.Id.Value
        );
        await _api.Database.ExecuteAsync(
            "UPDATE jobs SET queued_at = '2026-01-03 14:30Z', created_at = '2026-01-03 14:30Z' WHERE id = $1",
            bulk.Id.Value
        );
        await work.EndAsync(worker, express, [0, 1, 2, 3, 4], At(3, 12));
        await work.EndAsync(worker, bulk, [.. Enumerable.Range(0, 15)], At(3, 14.75));
        await work.EndAsync(worker, bulk, [.. Enumerable.Range(15, 5)], At(3, 15.25), TaskOutcome.Failed);
        await RolledUp.Async(_api.Database);
    }

    private sealed class StandingClock(DateTimeOffset now) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => now;
    }

    private static DateTimeOffset At(int day, double hour) => new DateTimeOffset(2026, 1, day, 0, 0, 0, TimeSpan.Zero).AddHours(hour);
}
