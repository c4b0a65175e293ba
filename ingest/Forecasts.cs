using MassTransit;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Scheduler.Policy;

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

    /// <summary>When new work will be done; null without a fresh forecast or a live worker that has the model.</summary>
    public DateTimeOffset? Predict(ModelRef model, LatencyClass latencyClass, long units)
    {
        var now = time.GetUtcNow();
        if (_last is not { } forecast || now - forecast.At > options.ForecastAgeMax)
        {
            return null;
        }

        return Prediction.Completion(forecast, model, latencyClass, units) is not { } at ? null
            : at < now ? now
            : at;
    }
}
