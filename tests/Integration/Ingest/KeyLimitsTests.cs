using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Pipeline.Migrations;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>What one key may ask of the express path, where it has limits of its own: set by operators, and told with every reply.</summary>
public sealed class KeyLimitsTests(IngestDoor door) : IClassFixture<IngestDoor>, IAsyncLifetime
{
    private const string One = """{"model":"words","input":"some text"}""";
    private IngestHost? _host;
    private string _slow = "";

    private IngestHost Host => _host!;

    /// <summary>The host's own key is an operator's from here on; the other is a tenant's.</summary>
    public async ValueTask InitializeAsync()
    {
        _host = await door.NewTenantAsync();
        Host.Forecast();
        await Host.Database.ExecuteAsync("UPDATE api_keys SET operator = true WHERE tenant = $1", Host.Tenant.Value);
        _slow = await ApiKeyIssuer.IssueAsync(Host.Database.DataSource, Host.Tenant, "slow");
    }

    public ValueTask DisposeAsync() => _host?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task A_key_with_a_lower_rate_is_refused_and_told_its_own_while_another_of_its_tenant_is_not()
    {
        Assert.Equal("\"rate\";q=1000;w=1, \"concurrent\";q=1000;qu=\"concurrent-requests\"", (await AskAsync(_slow, "{}")).Policy);

        // Of the 1,999 that the option still left, the key has its own burst from now on.
        var (status, kept) = await SetAsync(
            new
            {
                rate_per_second = 1,
                burst_max = 2,
                concurrent_max = 7,
            }
        );
        Assert.Equal((HttpStatusCode.OK, 1, 2, 7), (status, Limit("rate_per_second"), Limit("burst_max"), Limit("concurrent_max")));
        var slow = new[] { await AskAsync(_slow, "{}"), await AskAsync(_slow, "{}"), await AskAsync(_slow, "{}") };
        var other = new[] { await AskAsync(Host.Key, "{}"), await AskAsync(Host.Key, "{}"), await AskAsync(Host.Key, "{}") };

        Assert.Equal([400, 400, 429], slow.Select(a => (int)a.Status));
        Assert.All(slow, a => Assert.Equal("\"rate\";q=1;w=1, \"concurrent\";q=7;qu=\"concurrent-requests\"", a.Policy));
        Assert.Equal("\"rate\";r=1;t=1", slow[0].Left);
        Assert.Contains("1 requests a second", slow[2].Body.GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.Equal([400, 400, 400], other.Select(a => (int)a.Status));
        Assert.All(other, a => Assert.StartsWith("\"rate\";q=1000;", a.Policy, StringComparison.Ordinal));

        // What is not named is as the options say again.
        Assert.Equal(HttpStatusCode.OK, (await SetAsync(new { })).Status);
        Assert.Equal("\"rate\";q=1000;w=1, \"concurrent\";q=1000;qu=\"concurrent-requests\"", (await AskAsync(_slow, "{}")).Policy);

        int? Limit(string name) => kept.GetProperty(name).GetInt32();
    }

    [Fact]
    public async Task A_key_of_one_at_the_same_time_waits_for_its_answer_while_another_of_its_tenant_asks()
    {
        await SetAsync(new { concurrent_max = 1 });
        using var gone = new CancellationTokenSource();
        var waiting = SendAsync(_slow, One, gone.Token);
        await Host.Scheduler.NextChunkAsync();

        var (second, other) = (await AskAsync(_slow, "{}"), await AskAsync(Host.Key, "{}"));

        Assert.Equal((HttpStatusCode.TooManyRequests, HttpStatusCode.BadRequest), (second.Status, other.Status));
        Assert.Contains("1 requests of this key", second.Body.GetProperty("detail").GetString(), StringComparison.Ordinal);
        await gone.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
    }

    [Fact]
    public async Task Limits_that_another_instance_has_set_hold_a_moment_later()
    {
        await AskAsync(_slow, "{}");

        Assert.True(await ApiKeyLimits.SetAsync(Host.Database.DataSource, Host.TenantName, _slow[..12], new(5, null, null)));

        await Waits.UntilAsync(
            async () => (await AskAsync(_slow, "{}")).Policy.StartsWith("\"rate\";q=5;", StringComparison.Ordinal),
            "The key's own rate is told."
        );
    }

    [Theory]
    [InlineData("""{"rate_per_second": 0}""", "rate_per_second", "a whole number, 1 to 1000000", "0")]
    [InlineData("""{"burst_max": 1000001}""", "burst_max", "a whole number, 1 to 1000000", "1000001")]
    [InlineData("""{"concurrent_max": "many"}""", "concurrent_max", "a whole number, 1 to 1000000", "\"many\"")]
    [InlineData("""{"rate": 5}""", "rate", "one of rate_per_second, burst_max, concurrent_max", "another member")]
    public async Task What_is_no_limit_is_refused_with_what_was_expected(string body, string field, string expected, string given)
    {
        var (status, problem) = await SetAsync(JsonElement.Parse(body));

        var mistake = problem.FirstMistake();
        Assert.Equal((HttpStatusCode.BadRequest, field, expected, given), (status, mistake.Field, mistake.Expected, mistake.Given));
        Assert.Equal(0, await LimitedAsync());
    }

    [Fact]
    public async Task Only_a_valid_key_of_the_tenant_has_limits_and_only_operators_set_them()
    {
        var limits = new { rate_per_second = 5 };
        Assert.Equal(HttpStatusCode.NotFound, (await SetAsync(limits, key: "pk_nobodysxx")).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await SetAsync(limits, tenant: "nobody")).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await SetAsync(limits, by: _slow)).Status);
        await Host.Database.ExecuteAsync("UPDATE api_keys SET revoked_at = now() WHERE prefix = $1", _slow[..12]);
        Assert.Equal(HttpStatusCode.NotFound, (await SetAsync(limits)).Status);
        Assert.Equal(0, await LimitedAsync());
    }

    [Fact]
    public async Task What_an_operators_key_does_is_in_the_audit_with_what_came_of_it()
    {
        await SetAsync(new { rate_per_second = 5 });
        await SetAsync(new { rate_per_second = 5 }, key: "pk_nobodysxx");
        await SetAsync(new { rate_per_second = 5 }, by: _slow);

        var limits = $"/v1/tenants/{Host.TenantName}/keys";
        var who = $"key test ({Host.Key[..12]}…)";
        Assert.Equal($"{who} api.set_key_limits t 5", await AuditedAsync($"{limits}/{_slow[..12]}/limits"));
        Assert.Equal($"{who} api.set_key_limits f The tenant", await AuditedAsync($"{limits}/pk_nobodysxx/limits"));
        Assert.Equal(
            1,
            await Host.Database.ScalarAsync<long>("SELECT count(*) FROM audit WHERE subject LIKE $1", $"{limits}/{_slow[..12]}/%")
        );

        Task<string?> AuditedAsync(string subject) =>
            Host.Database.ScalarAsync<string>(
                """
                SELECT concat_ws(' ', operator_name, action, done, coalesce(after ->> 'rate_per_second', left(detail, 10)))
                FROM audit WHERE subject_kind = 'api' AND subject = $1
                """,
                subject
            );
    }

    [Fact]
    public async Task What_an_operators_key_does_in_a_tenants_name_is_in_the_audit_and_its_answer_is_not()
    {
        var other = await Tenants.EnsureAsync(Host.Database.DataSource, $"other-{Guid.NewGuid():N}");
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/jobs?model=words")
        {
            Content = new StringContent("""{"custom_id":"a","input":"b"}""", Encoding.UTF8, "application/x-ndjson"),
        };
        request.Headers.Add("Act-For-Tenant", other.ToString());
        request.Headers.Add("Audit-Reason", "as they asked");
        using var response = await Host.Client.SendAsync(request);

        Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync());
        Assert.Equal(
            "api.submit_job /v1/jobs t as they asked, nothing",
            await Host.Database.ScalarAsync<string>(
                "SELECT concat_ws(' ', action, subject, done, reason || ',', coalesce(after::text, 'nothing')) FROM audit WHERE tenant = $1",
                other.Value
            )
        );
    }

    private Task<long> LimitedAsync() =>
        Host.Database.ScalarAsync<long>("SELECT count(rate_per_second) FROM api_keys WHERE tenant = $1", Host.Tenant.Value);

    private async Task<(HttpStatusCode Status, JsonElement Body)> SetAsync(
        object limits,
        string? tenant = null,
        string? key = null,
        string? by = null
    )
    {
        using var request = new HttpRequestMessage(
            HttpMethod.Put,
            $"/v1/tenants/{tenant ?? Host.TenantName}/keys/{key ?? _slow[..12]}/limits"
        )
        {
            Content = JsonContent.Create(limits),
        };
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", by ?? Host.Key);
        using var response = await Host.Client.SendAsync(request);
        return (response.StatusCode, await response.JsonAsync());
    }

    private async Task<(HttpStatusCode Status, string Policy, string Left, JsonElement Body)> AskAsync(string key, string body)
    {
        using var response = await SendAsync(key, body, CancellationToken.None);
        return (
            response.StatusCode,
            string.Join(", ", response.Headers.GetValues("RateLimit-Policy")),
            response.Headers.GetValues("RateLimit").Single(),
            await response.JsonAsync()
        );
    }

    private async Task<HttpResponseMessage> SendAsync(string key, string body, CancellationToken stop)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/infer")
        {
            Content = new StringContent(body, Encoding.UTF8, "application/json"),
        };
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", key);
        return await Host.Client.SendAsync(request, stop);
    }
}
