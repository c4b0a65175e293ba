using MassTransit;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Ingest;

/// <summary>Listens to the active scheduler and keeps its last forecast, from which completions are predicted at admission.</summary>
internal sealed class Forecasts(IngestOptions options, TimeProvider time) : IBusPart
{
    private volatile Forecast? _last;

    /// <summary>The queue of this instance alone.</summary>
    public string Queue { get; } = $"pipeline.ingest.{Guid.NewGuid():N}";

    public void Configure(IBusRegistrationContext context, IReceiveConfigurator bus) =>
        bus.ReceiveEndpoint(
            Queue,
            endpoint =>
            {
                endpoint.AsTemporary(prefetch: 4);
                endpoint.Hear<Forecast>();
                endpoint.Handler<Forecast>(heard =>
                {
                    Take(heard.Message);
                    return Task.CompletedTask;
                });
            }
        );

    public void Take(Forecast forecast)
    {
        if (!(forecast.At < _last?.At))
        {
            _last = forecast;
        }
    }

    /// <summary>The last forecast, unless it is older than <see cref="IngestOptions.ForecastAgeMax"/>.</summary>
    public Forecast? Fresh => _last is { } forecast && time.GetUtcNow() - forecast.At <= options.ForecastAgeMax ? forecast : null;
}
