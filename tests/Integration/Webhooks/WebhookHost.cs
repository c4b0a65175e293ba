using System.Net;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Pipeline.Contracts;
using Pipeline.Tests.Integration.ResultsApi;
using Pipeline.Tests.Support;
using Xunit;

namespace Pipeline.Tests.Integration.Webhooks;

/// <summary>results-api with a sender that is in a hurry, shared by the tests of a class; each of them is another tenant.</summary>
public sealed class WebhookFixture : ResultsApiFixture
{
    internal static readonly (string Option, string Value)[] Hurry =
    [
        ("Webhooks:AllowHttp", "true"),
        ("Webhooks:AllowAddresses:0", "127.0.0.1"),
        ("Webhooks:LookEvery", "00:00:00.02"),
        ("Webhooks:RequestTimeMax", "00:00:01"),
        ("Webhooks:ClaimTime", "00:00:02"),
        ("Webhooks:RetryDelayMin", "00:00:00.05"),
        ("Webhooks:RetryDelayFactor", "1"),
        ("Webhooks:RetryJitter", "0"),
        ("Webhooks:AttemptsMax", "4"),
        ("Webhooks:FailingPauseMax", "00:00:00.1"),
        ("Webhooks:SweepEvery", "00:00:00.05"),
        ("Webhooks:ProgressEvery", "00:00:00.1"),
        ("Webhooks:ReplayRowsMax", "3"),
        ("Webhooks:EndpointsMax", "5"),
        ("Webhooks:StopWaitMax", "00:00:01"),
    ];

    private protected override (string Option, string Value)[] Options => Hurry;
}

/// <summary>What tests do with webhooks.</summary>
internal static class WebhookSteps
{
    /// <summary>Adds an endpoint and returns it with its secret.</summary>
    public static async Task<(string Id, string Secret)> AddAsync(this ApiCaller api, string url, params string[] types)
    {
        var body = JsonSerializer.Serialize(new { url, event_types = types.Length == 0 ? null : types });
        var (status, endpoint) = await api.SendAsync(HttpMethod.Post, "/v1/webhook_endpoints", body);
        Assert.True(status == HttpStatusCode.OK, endpoint.ToString());
        return (endpoint.GetProperty("id").GetString()!, endpoint.GetProperty("secret").GetString()!);
    }

    /// <summary>A job that ends, and so is told.</summary>
    public static async Task<SeededJob> EndJobAsync(this ApiCaller api, string? webhook = null, LatencyClass of = LatencyClass.Bulk)
    {
        var job = await SeededJob.CreateAsync(api.Database, api.Tenant, new SeededJob { Tasks = 2, Class = of });
        if (webhook is not null)
        {
            await api.Database.ExecuteAsync("UPDATE jobs SET webhook = $2 WHERE id = $1", job.Id.Value, webhook);
        }

        await job.EndAllAsync(api.Database);
        return job;
    }

    /// <summary>Waits until a delivery that holds is there.</summary>
    public static async Task<JsonElement> UntilDeliveryAsync(this ApiCaller api, string query, Func<JsonElement, bool> holds)
    {
        for (var end = DateTime.UtcNow.AddSeconds(30); ; await Task.Delay(20))
        {
            var (_, list) = await api.GetAsync($"/v1/webhook_deliveries?{query}");
            var found = list.GetProperty("data").EnumerateArray().Where(holds).ToArray();
            if (found.Length > 0)
            {
                return found[0];
            }

            Assert.True(DateTime.UtcNow < end, list.ToString());
        }
    }

    public static async Task<JsonElement> UntilStateAsync(this ApiCaller api, JobId job, string state) =>
        await api.UntilDeliveryAsync($"job={job}", delivery => Text(delivery, "state") == state);

    /// <summary>Waits until an endpoint is in a state.</summary>
    public static async Task<JsonElement> UntilEndpointAsync(this ApiCaller api, string id, string state)
    {
        for (var end = DateTime.UtcNow.AddSeconds(30); ; await Task.Delay(20))
        {
            var (_, endpoint) = await api.GetAsync($"/v1/webhook_endpoints/{id}");
            if (Text(endpoint, "state") == state)
            {
                return endpoint;
            }

            Assert.True(DateTime.UtcNow < end, endpoint.ToString());
        }
    }

    public static async Task<JsonElement> DetailAsync(this ApiCaller api, JsonElement delivery) =>
        (await api.GetAsync($"/v1/webhook_deliveries/{Text(delivery, "id")}")).Body;

    public static string? Text(JsonElement json, string name) => json.GetProperty(name).GetString();
}
