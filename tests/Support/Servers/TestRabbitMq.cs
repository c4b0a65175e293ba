using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using Xunit;

namespace Pipeline.Tests.Support.Servers;

/// <summary>
/// One RabbitMQ for the test process, started when the first test asks (some 5 s), and a fresh virtual host for whoever wants one. The
/// environment variable <see cref="Variable"/> names a broker to use instead.
/// </summary>
public static class TestRabbitMq
{
    /// <summary><c>amqp://user:password@host:port</c> of a broker whose management API answers.</summary>
    public const string Variable = "PIPELINE_TEST_RABBITMQ";

    /// <summary>That broker's management API; by default <c>http://host:15672</c>.</summary>
    public const string ManagementVariable = "PIPELINE_TEST_RABBITMQ_MANAGEMENT";

    private static readonly Lazy<Task<RabbitMqServer>> Server = new(StartAsync);

    /// <summary>A virtual host of the caller's own, empty. Skips the test where there is no RabbitMQ.</summary>
    public static async Task<TestVhost> CreateVhostAsync()
    {
        try
        {
            return await (await Server.Value).CreateVhostAsync();
        }
        catch (ServerMissingException e)
        {
            Assert.Skip(e.Message);
            throw;
        }
    }

    /// <summary>A broker of the caller's own, to stop and start as it likes (<see cref="RabbitMqServer.CanStop"/>); or the one that was given.</summary>
    /// <exception cref="ServerMissingException">The machine has neither RabbitMQ nor a Docker engine.</exception>
    public static Task<RabbitMqServer> StartOwnAsync() => StartAsync();

    private static Task<RabbitMqServer> StartAsync()
    {
        if (Environment.GetEnvironmentVariable(Variable) is not { Length: > 0 } given)
        {
            return RabbitMqServer.StartAsync();
        }

        var amqp = new Uri(given);
        var management = Environment.GetEnvironmentVariable(ManagementVariable) ?? $"http://{amqp.Host}:15672";
        return Task.FromResult(RabbitMqServer.At(amqp, new Uri(management)));
    }
}

/// <summary>A virtual host of one test or test class, deleted when disposed.</summary>
public sealed class TestVhost : IAsyncDisposable
{
    private readonly HttpClient _management;

    internal TestVhost(HttpClient management, string name, string uri) => (_management, Name, Uri) = (management, name, uri);

    public string Name { get; }

    /// <summary><c>amqp://user:password@host:port/vhost</c>.</summary>
    public string Uri { get; }

    /// <summary>Asks the management API below <c>/api/</c>; a path may hold <c>{vhost}</c>. Its message counts lag by seconds.</summary>
    public Task<T?> GetAsync<T>(string path) =>
        _management.GetFromJsonAsync<T>($"api/{path.Replace("{vhost}", Name, StringComparison.Ordinal)}");

    /// <summary>
    /// Closes every client connection to this virtual host, as a broker that restarts does. There must be one: the management API
    /// lists it some seconds late, and is asked until it does.
    /// </summary>
    public async Task CloseConnectionsAsync()
    {
        while (true)
        {
            var connections = await GetAsync<Connection[]>("vhosts/{vhost}/connections") ?? [];
            foreach (var connection in connections)
            {
                await _management.DeleteAsync($"api/connections/{System.Uri.EscapeDataString(connection.Name)}");
            }

            if (connections.Length > 0)
            {
                return;
            }

            await Task.Delay(TimeSpan.FromMilliseconds(100), TestContext.Current.CancellationToken);
        }
    }

    public async ValueTask DisposeAsync()
    {
        try
        {
            using var reply = await _management.DeleteAsync($"api/vhosts/{Name}");
        }
        catch (HttpRequestException)
        {
            // A test may have stopped the broker; its virtual hosts went with it.
        }
    }

    private sealed record Connection(string Name);

    internal static AuthenticationHeaderValue Basic(string userInfo) =>
        new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(System.Uri.UnescapeDataString(userInfo))));
}

/// <summary>The machine has no such server; the message says what to install.</summary>
public sealed class ServerMissingException(string message) : Exception(message);
