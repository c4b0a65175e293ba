using MassTransit;
using Microsoft.Extensions.DependencyInjection;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.ResultsApi.Jobs;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi;

/// <summary>What the scheduler publishes reaches the reads, over either transport.</summary>
public sealed class ForecastTests
{
    [Fact]
    public Task A_forecast_is_heard_over_the_bus_in_memory() => HearsAsync(PipelineOptions.InMemoryBroker);

    [Fact]
    public async Task A_forecast_is_heard_over_RabbitMQ_on_a_queue_that_goes_with_its_reader()
    {
        await using var vhost = await TestRabbitMq.CreateVhostAsync();

        await HearsAsync(vhost.Uri);
    }

    private static async Task HearsAsync(string broker)
    {
        await using var database = await TestPostgres.CreateDatabaseAsync();
        await using var app = await ResultsApiHost.StartAppAsync(database.ConnectionString, broker);
        var forecasts = app.Services.GetRequiredService<Forecasts>();
        var bus = app.Services.GetRequiredService<IBus>();
        var heard = new Heard();
        bus.ConnectConsumeMessageObserver(heard);
        Assert.Null(forecasts.Fresh);

        var sent = new Forecast
        {
            At = DateTimeOffset.UtcNow,
            Pools = [new PoolForecast("default", new ModelRef("language-id", "1.0.0"), 2, [0, 1, 2], 1e6, 200, 65_536)],
        };
        await bus.Publish(sent);
        await heard.Done.WaitAsync(TimeSpan.FromSeconds(30));

        Assert.Equivalent(sent, forecasts.Fresh, strict: true);
        await app.StopAsync();
    }

    private sealed class Heard : IConsumeMessageObserver<Forecast>
    {
        private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Done => _done.Task;

        public Task PreConsume(ConsumeContext<Forecast> context) => Task.CompletedTask;

        public Task PostConsume(ConsumeContext<Forecast> context)
        {
            _done.TrySetResult();
            return Task.CompletedTask;
        }

        public Task ConsumeFault(ConsumeContext<Forecast> context, Exception exception)
        {
            _done.TrySetException(exception);
            return Task.CompletedTask;
        }
    }
}
