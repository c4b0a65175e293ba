using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Pipeline.Hosting;

/// <summary>
/// The HTTP server, opened only after one request has gone through the whole pipeline in memory. Routes and filters of all endpoints are made
/// at the first request, which takes a second of a cold process; who comes while the port is still closed goes to the next process at once.
/// </summary>
internal sealed class RehearsedServer(IServer server) : IServer
{
    public IFeatureCollection Features => server.Features;

    /// <summary>Puts itself in front of the server that is registered.</summary>
    public static void Add(IServiceCollection services)
    {
        if (services.LastOrDefault(s => s.ServiceType == typeof(IServer)) is { ImplementationType: { } type })
        {
            services.Replace(
                ServiceDescriptor.Singleton<IServer>(s => new RehearsedServer((IServer)ActivatorUtilities.CreateInstance(s, type)))
            );
        }
    }

    public async Task StartAsync<TContext>(IHttpApplication<TContext> application, CancellationToken cancellationToken)
        where TContext : notnull
    {
        await RehearseAsync(application);
        await server.StartAsync(application, cancellationToken);
    }

    public Task StopAsync(CancellationToken cancellationToken) => server.StopAsync(cancellationToken);

    public void Dispose() => server.Dispose();

    private static async Task RehearseAsync<TContext>(IHttpApplication<TContext> application)
        where TContext : notnull
    {
        var features = new FeatureCollection();
        features.Set<IHttpRequestFeature>(
            new HttpRequestFeature
            {
                Protocol = HttpProtocol.Http11,
                Method = HttpMethods.Get,
                Scheme = "http",
                Path = ServiceDefaults.LivePath,
                Headers = new HeaderDictionary { ["Host"] = "localhost" },
            }
        );
        features.Set<IHttpResponseFeature>(new HttpResponseFeature());
        features.Set<IHttpResponseBodyFeature>(new StreamResponseBodyFeature(Stream.Null));
        var context = application.CreateContext(features);
        try
        {
            await application.ProcessRequestAsync(context);
            application.DisposeContext(context, null);
        }
        catch (Exception e)
        {
            // The same request fails in the open, too, where those who look at it are told.
            application.DisposeContext(context, e);
        }
    }
}
