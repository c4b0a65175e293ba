using System.Net;
using Microsoft.Extensions.DependencyInjection;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Accounts;
using Pipeline.ResultsApi.Jobs;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi.Dashboard;

public sealed class TradeOffPageTests : IAsyncLifetime
{
    private DashboardHost _host = null!;
    private DashboardBrowser _viewer = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await DashboardHost.StartAsync();
        _viewer = await _host.SignInAsync(OperatorRole.Viewer);
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task Without_a_forecast_it_says_what_is_missing() =>
        Assert.Contains("Is a scheduler running", (await _viewer.GetAsync("/dashboard/trade-off")).Body, StringComparison.Ordinal);

    [Fact]
    public async Task It_shows_the_policys_bounds_where_the_pool_stands_and_what_would_be_if()
    {
        Hear();
        await RanBatches.AddAsync(_host.Database, "bulk", rows: 40, deviceMs: 8);

        var page = WebUtility.HtmlDecode((await _viewer.GetAsync("/dashboard/trade-off")).Body);

        // A batch takes 4 ms and 0.1 ms a task of one unit: 210 tasks in 25 ms, 160 in 20.
        Assert.Contains("40 tasks a batch in 8 ms", page, StringComparison.Ordinal);
        Assert.Contains("25 ms: 210 tasks", page, StringComparison.Ordinal);
        Assert.Contains("20 ms: 160 tasks", page, StringComparison.Ordinal);
        // The question begins with the policy's own cap, and with the price that is paid.
        Assert.Contains(
            "name=\"batch_ms\" type=\"number\" step=\"any\" min=\"0.01\" data-slider=\"0.1 10000\" value=\"25\"",
            page,
            StringComparison.Ordinal
        );
        Assert.Contains("value=\"3.6\"", page, StringComparison.Ordinal);

        var asked = WebUtility.HtmlDecode(
            (await _viewer.GetAsync("/dashboard/trade-off?pool=default&model=words%401&batch_ms=8&workers=2&price=3.6&arrivals=20000")).Body
        );
        // 40 tasks in 8 ms are 5,000/s a worker.
        Assert.Contains("takes 8 ms", asked, StringComparison.Ordinal);
        Assert.Contains("the backlog grows. 4 workers would keep up.", asked, StringComparison.Ordinal);
    }

    private void Hear() =>
        _host
            .Services.GetRequiredService<Forecasts>()
            .Observe(
                new Forecast
                {
                    At = DateTimeOffset.UtcNow,
                    Pools =
                    [
                        new PoolForecast("default", new ModelRef("words", "1"), 1, [0, 0, 0], 4e6, 1e5, 1024)
                        {
                            RowsPerBatch = 1024,
                            PricePerHourPico = 3_600_000_000_000,
                            BulkBatchTimeMax = TimeSpan.FromMilliseconds(25),
                            ExpressBatchTimeMax = TimeSpan.FromMilliseconds(20),
                        },
                    ],
                }
            );
}
