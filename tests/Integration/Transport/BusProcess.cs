using System.Threading.Channels;
using MassTransit;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging.Abstractions;
using Pipeline.Hosting;

namespace Pipeline.Tests.Integration.Transport;

/// <summary>One bus, as one process of the system has it; what its endpoints receive is read from channels.</summary>
internal sealed class BusProcess : IAsyncDisposable
{
    private readonly ServiceProvider _services;
    private readonly IHostedService[] _hosted;

    private BusProcess(ServiceProvider services)
    {
        _services = services;
        _hosted = [.. services.GetServices<IHostedService>()];
    }

    public IBus Bus => _services.GetRequiredService<IBus>();

    public static async Task<BusProcess> StartAsync(string broker, params IBusPart[] parts)
    {
        var services = new ServiceCollection();
        services.AddLogging();
        services.AddSingleton(typeof(Microsoft.Extensions.Logging.ILogger<>), typeof(NullLogger<>));
        foreach (var part in parts)
        {
            services.AddSingleton(part);
        }

        services.AddPipelineBus(new PipelineOptions { Broker = broker, Database = "unused" });
        var process = new BusProcess(services.BuildServiceProvider());
        foreach (var hosted in process._hosted)
        {
            await hosted.StartAsync(CancellationToken.None);
        }

        return process;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var hosted in _hosted)
        {
            await hosted.StopAsync(CancellationToken.None);
        }

        await _services.DisposeAsync();
    }
}

/// <summary>An endpoint under test: configured by the caller, its messages kept in the order they came.</summary>
internal sealed class Listener(string queue, Action<IReceiveEndpointConfigurator, Listener> configure) : IBusPart
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private readonly Channel<object> _received = Channel.CreateUnbounded<object>();

    public void Configure(IBusRegistrationContext context, IReceiveConfigurator bus) =>
        bus.ReceiveEndpoint(queue, endpoint => configure(endpoint, this));

    /// <summary>Keeps what comes of this kind.</summary>
    public void Take<T>(IReceiveEndpointConfigurator endpoint)
        where T : class => endpoint.Handler<T>(context => _received.Writer.WriteAsync(context.Message).AsTask());

    /// <summary>The next message.</summary>
    /// <exception cref="TimeoutException">None came.</exception>
    public async Task<T> NextAsync<T>() => (T)await _received.Reader.ReadAsync().AsTask().WaitAsync(Patience);

    /// <summary>What has come and was not read.</summary>
    public IReadOnlyList<object> Rest()
    {
        var rest = new List<object>();
        while (_received.Reader.TryRead(out var message))
        {
            rest.Add(message);
        }

        return rest;
    }
}
