using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Pipeline.Hosting;
using Xunit;

namespace Pipeline.Tests.Unit.Hosting;

public sealed class RehearsedServerTests
{
    [Fact]
    public async Task The_port_opens_after_a_request_has_gone_through_the_pipeline()
    {
        var seen = new List<string>();
        using var server = new RehearsedServer(new RecordingServer(seen));

        await server.StartAsync(new Application(seen, fails: false), CancellationToken.None);

        Assert.Equal(["GET /healthz/live", "disposed", "opened"], seen);
    }

    [Fact]
    public async Task A_rehearsal_that_fails_opens_it_all_the_same()
    {
        var seen = new List<string>();
        using var server = new RehearsedServer(new RecordingServer(seen));

        await server.StartAsync(new Application(seen, fails: true), CancellationToken.None);

        Assert.Equal(["GET /healthz/live", "disposed after InvalidOperationException", "opened"], seen);
    }

    private sealed class Application(List<string> seen, bool fails) : IHttpApplication<HttpContext>
    {
        public HttpContext CreateContext(IFeatureCollection contextFeatures) => new DefaultHttpContext(contextFeatures);

        public Task ProcessRequestAsync(HttpContext context)
        {
            seen.Add($"{context.Request.Method} {context.Request.Path}");
            return fails ? throw new InvalidOperationException() : context.Response.WriteAsync("alive");
        }

        public void DisposeContext(HttpContext context, Exception? exception) =>
            seen.Add(exception is null ? "disposed" : $"disposed after {exception.GetType().Name}");
    }

    private sealed class RecordingServer(List<string> seen) : IServer
    {
        public IFeatureCollection Features { get; } = new FeatureCollection();

        public Task StartAsync<TContext>(IHttpApplication<TContext> application, CancellationToken cancellationToken)
            where TContext : notnull
        {
            seen.Add("opened");
            return Task.CompletedTask;
        }

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public void Dispose() { }
    }
}
