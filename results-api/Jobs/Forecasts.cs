using MassTransit;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Jobs;

/// <summary>Hears the scheduler's forecasts, one a second, and keeps the latest.</summary>
internal sealed class Forecasts(ResultsApiOptions options, TimeProvider time) : IBusPart
{
    /// <summary>Each replaces the one before, so there is no point in a longer queue.</summary>
    private const ushort Prefetch = 4;
    private volatile Heard? _latest;

    /// <summary>The latest forecast, or null when none is fresh.</summary>
    public Forecast? Fresh => _latest is { } latest && time.GetElapsedTime(latest.At) <= options.ForecastAgeMax ? latest.Forecast : null;

    public void Configure(IBusRegistrationContext context, IReceiveConfigurator bus) =>
        bus.ReceiveEndpoint(
            $"results-api.{Guid.CreateVersion7():N}",
            endpoint =>
            {
                endpoint.AsTemporary(Prefetch);
                endpoint.Hear<Forecast>();
                endpoint.Handler<Forecast>(message =>
                {
                    Observe(message.Message);
                    return Task.CompletedTask;
                });
            }
        );

    public void Observe(Forecast forecast) => _latest = new Heard(forecast, time.GetTimestamp());

    private sealed record Heard(Forecast Forecast, long At);
}
