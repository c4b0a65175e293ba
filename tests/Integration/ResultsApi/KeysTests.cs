using System.Net;
using System.Text.Json;
using Pipeline.Migrations;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi;

public sealed class KeysTests(ResultsApiFixture fixture) : IClassFixture<ResultsApiFixture>
{
    [Fact]
    public async Task A_tenant_sees_its_own_keys_and_operators_everybodys_and_nobody_their_text()
    {
        var (api, stranger) = (await fixture.Host.AddTenantAsync(), await fixture.Host.AddTenantAsync());
        var database = api.Database;
        var name = (await database.ScalarAsync<string>("SELECT name FROM tenants WHERE id = $1", api.Tenant.Value))!;
        var path = $"/v1/tenants/{Uri.EscapeDataString(name)}/keys";
        var (old, slow) = (
            await ApiKeyIssuer.IssueAsync(database.DataSource, api.Tenant, "old"),
            await ApiKeyIssuer.IssueAsync(database.DataSource, api.Tenant, "slow")
        );
        await database.ExecuteAsync("UPDATE api_keys SET revoked_at = now() WHERE prefix = $1", old[..12]);
        Assert.True(await ApiKeyLimits.SetAsync(database.DataSource, name, slow[..12], new(5, null, 7)));

        var operators = await ApiKeyIssuer.IssueAsync(database.DataSource, stranger.Tenant, "operator", isOperator: true);
        foreach (var caller in new[] { api, stranger with { Http = fixture.Host.Client(operators) } })
        {
            var (status, list) = await caller.GetAsync(path);

            Assert.Equal(HttpStatusCode.OK, status);
            Assert.Equal(
                [$"{slow[..12]} slow 5  7", "test", $"{old[..12]} old revoked"],
                list.GetProperty("data").EnumerateArray().Select(Told)
            );
            Assert.DoesNotContain(slow[12..], list.GetRawText(), StringComparison.Ordinal);
        }

        Assert.Equal(HttpStatusCode.NotFound, (await stranger.GetAsync(path)).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await stranger.GetAsync("/v1/tenants/nobody/keys")).Status);
    }

    private static string Told(JsonElement key)
    {
        var (prefix, name) = (key.GetProperty("prefix").GetString(), key.GetProperty("name").GetString()!);
        return name switch
        {
            "test" => name,
            "old" => $"{prefix} {name}{(key.GetProperty("revoked_at").ValueKind == JsonValueKind.String ? " revoked" : "")}",
            _ => $"{prefix} {name} {key.GetProperty("rate_per_second")} {key.GetProperty("burst_max")} {key.GetProperty("concurrent_max")}",
        };
    }
}
