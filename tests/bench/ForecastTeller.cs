using MassTransit;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Bench;

/// <summary>Tells a forecast each second, as the active scheduler does, where none runs.</summary>
internal sealed class ForecastTeller : IAsyncDisposable
{
    private readonly IHost _host;
    private readonly CancellationTokenSource _end = new();
    private readonly Task _telling;

    private ForecastTeller(IHost host, IReadOnlyList<PoolForecast> pools) =>
        (_host, _telling) = (host, TellAsync(host.Services.GetRequiredService<IBus>(), pools, _end.Token));

    public static async Task<ForecastTeller> StartAsync(string broker, IReadOnlyList<PoolForecast> pools, CancellationToken stop)
    {
        var builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddLogging(static log => log.ClearProviders());
        builder.Services.AddPipelineBus(new PipelineOptions { Broker = broker, Database = "unused" });
        var host = builder.Build();
        await host.StartAsync(stop);
        return new ForecastTeller(host, pools);
    }

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        await _telling;
        await _host.StopAsync();
        _host.Dispose();
        _end.Dispose();
    }

    private static async Task TellAsync(IBus bus, IReadOnlyList<PoolForecast> pools, CancellationToken end)
    {
        using var every = new PeriodicTimer(TimeSpan.FromSeconds(1));
        try
        {
            do
            {
                await bus.Publish(new Forecast { At = DateTimeOffset.UtcNow, Pools = pools }, end);
            } while (await every.WaitForNextTickAsync(end));
        }
        catch (OperationCanceledException)
        {
            // It is over.
        }
    }
}
