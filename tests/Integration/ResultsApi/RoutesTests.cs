using System.Net;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi;

public sealed class RoutesTests(ResultsApiFixture fixture) : IClassFixture<ResultsApiFixture>
{
    [Fact]
    public async Task Routes_are_told_by_name_in_their_newest_version_with_what_was_measured()
    {
        var (api, database) = (await fixture.Host.AddTenantAsync(), fixture.Host.Database.DataSource);
        var stop = TestContext.Current.CancellationToken;
        foreach (var name in new[] { "c", "a", "b" })
        {
            await ModelRoutes.PutAsync(database, name, Variants(0.8), stop);
        }

        await ModelRoutes.PutAsync(database, "b", Variants(0.9), stop);
        var quality = new RouteQuality(DateTimeOffset.UnixEpoch, 10, [new ChoiceQuality("small@1", 0.9, 12.5, 1)]);
        Assert.True(await ModelRoutes.SetQualityAsync(database, "b", 2, quality, stop));

        var (_, page) = await api.GetAsync("/v1/routes?limit=1&after=a");
        var (found, route) = await api.GetAsync("/v1/routes/b");
        var (missing, problem) = await api.GetAsync("/v1/routes/d");

        Assert.True(page.GetProperty("has_more").GetBoolean());
        Assert.Equal(route.GetRawText(), Assert.Single(page.GetProperty("data").EnumerateArray()).GetRawText());
        Assert.Equal((HttpStatusCode.OK, 2), (found, route.GetProperty("version").GetInt32()));
        Assert.Equal(0.9, route.GetProperty("variants")[0].GetProperty("accept").GetProperty("probability_min").GetDouble());
        Assert.False(route.GetProperty("variants")[1].TryGetProperty("accept", out _));
        Assert.Equal(12.5, route.GetProperty("quality").GetProperty("choices")[0].GetProperty("cost_per_task_pico_usd").GetDouble());
        Assert.Equal((HttpStatusCode.NotFound, "model_route_not_found"), (missing, problem.GetProperty("code").GetString()));
    }

    private static RouteVariant[] Variants(double probabilityMin) =>
        [new("small", new Acceptance { ProbabilityMin = probabilityMin }), new("large")];
}
