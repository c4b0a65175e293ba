using System.Net;
using System.Net.Http.Json;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>What operators change with their keys stands in the audit with how it was.</summary>
public sealed class OperatorAuditTests(IngestDoor door) : IClassFixture<IngestDoor>, IAsyncLifetime
{
    private IngestHost? _host;

    private IngestHost Host => _host!;

    public async ValueTask InitializeAsync()
    {
        _host = await door.NewTenantAsync();
        await Host.Database.ExecuteAsync("UPDATE api_keys SET operator = true WHERE tenant = $1", Host.Tenant.Value);
    }

    public ValueTask DisposeAsync() => _host?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task A_budget() =>
        await AssertAsync(
            $"/v1/tenants/{Host.TenantName}/budget",
            "limit_pico_usd",
            new { limit_usd = 1 },
            new { limit_usd = 2 },
            "1000000000000"
        );

    [Fact]
    public async Task A_cache_and_that_it_was_turned_off()
    {
        var path = $"/v1/tenants/{Host.TenantName}/cache";
        await AssertAsync(path, "ttl_seconds", new { ttl = "1h" }, new { ttl = "2h" }, "3600");
        await SendAsync(HttpMethod.Delete, path, null);
        Assert.Equal(["nothing", "3600", "7200"], await BeforesAsync(path, "ttl_seconds"));
    }

    [Fact]
    public async Task A_keys_limits() =>
        await AssertAsync(
            $"/v1/tenants/{Host.TenantName}/keys/{Host.Key[..12]}/limits",
            "rate_per_second",
            new { rate_per_second = 500 },
            new { rate_per_second = 600 },
            "500"
        );

    [Fact]
    public async Task A_route_and_what_was_measured_of_it()
    {
        var path = $"/v1/routes/r-{Guid.NewGuid():N}";
        await AssertAsync(path, "version", Variants(8), Variants(9), "1");
        await AssertAsync($"{path}/quality", "tasks", Quality(100), Quality(200), "100");

        static object Variants(int unitsMax) =>
            new { variants = new object[] { new { model = "words", accept = new { units_max = unitsMax } }, new { model = "words@2" } } };

        static object Quality(int tasks) =>
            new
            {
                version = 2,
                measured_at = "2026-01-01T00:00:00Z",
                tasks,
                choices = new[]
                {
                    new
                    {
                        choice = "words",
                        accuracy = 0.9,
                        cost_per_task_pico_usd = 1,
                    },
                },
            };
    }

    [Fact]
    public async Task What_was_refused_has_none()
    {
        var path = $"/v1/tenants/nobody-{Guid.NewGuid():N}/budget";
        using var refused = await Host.Client.PutAsJsonAsync(path, new { limit_usd = 1 });

        Assert.False(refused.IsSuccessStatusCode);
        Assert.Equal(["nothing"], await BeforesAsync(path, "limit_pico_usd"));
    }

    /// <summary>Sets it to one and to the other: there was nothing before the first (of limits: none), and the first before the other.</summary>
    [Fact]
    public async Task What_was_refused_for_a_character_that_no_text_may_have()
    {
        using var response = await Host.Client.PutAsJsonAsync("/v1/prices", new { @class = "bulk", model = "\0" });

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.True(
            await Host.Database.ScalarAsync<bool>(
                "SELECT bool_or(NOT done AND detail LIKE '%\uFFFD%') FROM audit WHERE subject = '/v1/prices'"
            )
        );
    }

    private async Task AssertAsync(string path, string field, object first, object then, string before)
    {
        await SendAsync(HttpMethod.Put, path, first);
        await SendAsync(HttpMethod.Put, path, then);
        Assert.Equal(["nothing", before], await BeforesAsync(path, field));
    }

    private async Task SendAsync(HttpMethod method, string path, object? body)
    {
        using var request = new HttpRequestMessage(method, path) { Content = body is null ? null : JsonContent.Create(body) };
        using var response = await Host.Client.SendAsync(request);
        Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync());
    }

    private async Task<string[]> BeforesAsync(string path, string field) =>
        (
            await Host.Database.ScalarAsync<string[]>(
                "SELECT array_agg(coalesce(before ->> $2, 'nothing') ORDER BY id) FROM audit WHERE subject_kind = 'api' AND subject = $1",
                path,
                field
            )
        )!;
}
