using MassTransit;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Ingest;

/// <summary>
/// Turns writes away while the broker is: nobody would hear of them for as long. Work that was committed before is announced when it
/// comes back.
/// </summary>
internal sealed class BrokerGate(IBusControl bus)
{
    /// <summary>The answer while the broker is away, else null.</summary>
    /// <remarks>
    /// While the broker is away the bus as a whole is only degraded: its own endpoint, which nothing is sent to, was never started and
    /// counts as healthy.
    /// </remarks>
    public ProblemResult? Refusal() =>
        bus.CheckHealth().Endpoints.Values.Any(endpoint => endpoint.Status == BusHealthStatus.Unhealthy)
            ? Problems.Result(
                FailureKind.Unavailable,
                $"RabbitMQ at {bus.Address.Host} is not reachable now. Nothing was stored; send the request again."
            )
            : null;
}
