using MassTransit;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Ingest;

/// <summary>
/// Turns writes away while the broker is: nobody would hear of them for as long. Work that was committed before is announced when it
/// comes back.
/// </summary>
internal sealed class BrokerGate(IBusControl bus, Forecasts forecasts)
{
    /// <summary>The answer while the broker is away, else null.</summary>
    /// <remarks>
    /// The bus calls itself only degraded when its connection is lost, as it does when one of many endpoints is slow. The door's own
    /// endpoint tells: it is stopped with the connection, at once, and healthy again when it is back.
    /// </remarks>
    public ProblemResult? Refusal()
    {
        var health = bus.CheckHealth();
        return health.Status == BusHealthStatus.Unhealthy || health.Endpoints.Any(IsOwnAndAway)
            ? Problems.Result(
                FailureKind.Unavailable,
                $"RabbitMQ at {bus.Address.Authority} is not reachable now. Nothing was stored; send the request again."
            )
            : null;
    }

    private bool IsOwnAndAway(KeyValuePair<string, EndpointHealthResult> endpoint) =>
        endpoint.Value.Status != BusHealthStatus.Healthy && endpoint.Key.Contains(forecasts.Queue, StringComparison.Ordinal);
}
