using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>What operators hold: stored with the reason, told to the scheduler, and refused at the door where it asks for express.</summary>
public sealed class HoldsTests(HoldsTests.Door door) : IClassFixture<HoldsTests.Door>, IAsyncLifetime
{
    private IngestHost? _host;

    private IngestHost Host => _host!;

    public async ValueTask InitializeAsync()
    {
        _host = await door.NewTenantAsync();
        await BeOperatorAsync(true);
    }

    public ValueTask DisposeAsync() => _host?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Theory]
    [InlineData("model", "words")]
    [InlineData("tenant", "test")]
    public async Task Express_for_what_is_held_is_refused_with_the_reason_and_other_work_waits(string kind, string name)
    {
        await OwnDoorAsync();
        var (status, body) = await HoldAsync(kind, name, new { reason = "It answers nonsense.", by = "night shift" });
        Assert.Equal((HttpStatusCode.OK, "night shift"), (status, body.GetProperty("by").GetString()));
        Assert.False(body.GetProperty("in_force").GetBoolean(), "No scheduler is there to answer.");

        using var refused = await Host.PostAsync("model=words&class=express", """{"custom_id":"a","input":"text"}""");
        var problem = await refused.JsonAsync();
        Assert.Equal((HttpStatusCode.ServiceUnavailable, "held"), (refused.StatusCode, problem.GetProperty("code").GetString()));
        Assert.Contains("It answers nonsense.", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.True(refused.Headers.Contains("Retry-After"));
        await Host.SubmitAsync(1, "model=words&class=standard");

        using var gone = await Host.Client.DeleteAsync($"/v1/holds/{kind}/{name}");
        Assert.Equal(HttpStatusCode.NoContent, gone.StatusCode);
        await Host.SubmitAsync(1, "model=words&class=express");
    }

    [Fact]
    public async Task Held_again_is_held_once_with_the_last_reason_and_let_go_again_is_no_mistake()
    {
        await OwnDoorAsync();
        await HoldAsync("model", "words", new { reason = "one" });
        await HoldAsync("model", "words", new { reason = "two" });

        Assert.Equal("model words two", await Host.Database.ScalarAsync<string>("SELECT concat_ws(' ', kind, name, reason) FROM holds"));
        for (var time = 0; time < 2; time++)
        {
            using var gone = await Host.Client.DeleteAsync("/v1/holds/model/words");
            Assert.Equal(HttpStatusCode.NoContent, gone.StatusCode);
        }

        Assert.Equal(
            ["nothing", "one", "two", "nothing"],
            (
                await Host.Database.ScalarAsync<string[]>(
                    "SELECT array_agg(coalesce(before ->> 'reason', 'nothing') ORDER BY id) FROM audit WHERE subject = '/v1/holds/model/words'"
                )
            )!
        );
    }

    [Theory]
    [InlineData("model", "nobody", """{"reason": "why"}""", HttpStatusCode.NotFound)]
    [InlineData("tenant", "nobody", """{"reason": "why"}""", HttpStatusCode.NotFound)]
    [InlineData("pool", "nobody", """{"reason": "why"}""", HttpStatusCode.NotFound)]
    [InlineData("worker", "nobody", """{"reason": "why"}""", HttpStatusCode.NotFound)]
    [InlineData("queue", "words", """{"reason": "why"}""", HttpStatusCode.BadRequest)]
    [InlineData("model", "words", """{}""", HttpStatusCode.BadRequest)]
    [InlineData("model", "words", """{"reason": "  "}""", HttpStatusCode.BadRequest)]
    [InlineData("model", "words", """{"reason": "why", "until": "2h"}""", HttpStatusCode.BadRequest)]
    public async Task What_is_unknown_or_has_no_reason_is_not_held(string kind, string name, string body, HttpStatusCode expected)
    {
        Assert.Equal(expected, (await HoldAsync(kind, name, JsonElement.Parse(body))).Status);
        Assert.Equal(0, await Host.Database.ScalarAsync<long>("SELECT count(*) FROM holds"));
    }

    [Fact]
    public async Task Tenants_hold_nothing()
    {
        await BeOperatorAsync(false);
        var (status, body) = await HoldAsync("model", "words", new { reason = "why" });
        Assert.Equal((HttpStatusCode.Forbidden, "operator_only"), (status, body.GetProperty("code").GetString()));
    }

    /// <summary>For a test that looks at what all tenants share.</summary>
    private async Task OwnDoorAsync()
    {
        await Host.DisposeAsync();
        _host = await door.StartAsync();
        await BeOperatorAsync(true);
    }

    private Task<int> BeOperatorAsync(bool isOperator) =>
        Host.Database.ExecuteAsync("UPDATE api_keys SET operator = $1 WHERE tenant = $2", isOperator, Host.Tenant.Value);

    private async Task<(HttpStatusCode Status, JsonElement Body)> HoldAsync(string kind, string name, object hold)
    {
        using var response = await Host.Client.PutAsJsonAsync($"/v1/holds/{kind}/{name}", hold);
        return (response.StatusCode, await response.JsonAsync());
    }

    public sealed class Door : IngestDoor
    {
        private protected override (string Key, string Value)[] Settings =>
            [("Ingest:RefuseLateExpress", "false"), ("Ingest:HoldsWaitMax", "00:00:00.1")];
    }
}
