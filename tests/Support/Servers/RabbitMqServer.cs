using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text;
using Pipeline.Standalone;

namespace Pipeline.Tests.Support.Servers;

/// <summary>
/// A RabbitMQ of our own with the management API: Debian's programs on free ports, beside any other broker, or a container where a
/// Docker engine answers. Tests that stop the broker start their own; all others share <see cref="TestRabbitMq"/>'s.
/// </summary>
public sealed class RabbitMqServer : IAsyncDisposable
{
    private const string Programs = "/usr/lib/rabbitmq/bin";
    private const string Image = "rabbitmq:4-management";
    private static readonly TimeSpan StartMax = TimeSpan.FromSeconds(90);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    private readonly Uri _amqp;
    private readonly HttpClient _management;
    private readonly Watchdog? _watchdog;
    private readonly ServerProgram? _program;

    private RabbitMqServer(Uri amqp, Uri management, Watchdog? watchdog, ServerProgram? program = null)
    {
        _amqp = amqp;
        _watchdog = watchdog;
        _program = program;
        _management = new HttpClient { BaseAddress = management };
        _management.DefaultRequestHeaders.Authorization = TestVhost.Basic(amqp.UserInfo);
    }

    /// <summary>A broker that runs already, and is left running.</summary>
    public static RabbitMqServer At(Uri amqp, Uri management) => new(amqp, management, null);

    /// <exception cref="ServerMissingException">The machine has neither RabbitMQ nor a Docker engine.</exception>
    public static async Task<RabbitMqServer> StartAsync()
    {
        var (amqp, management, distribution, epmd) = FreePorts();
        Watchdog watchdog;
        ServerProgram? program = null;
        if (File.Exists($"{Programs}/rabbitmq-server"))
        {
            (watchdog, program) = await StartProgramAsync(amqp, management, distribution, epmd);
        }
        else if (await DockerAnswersAsync())
        {
            watchdog = StartContainer(amqp, management);
        }
        else
        {
            throw new ServerMissingException(
                $"No RabbitMQ for this test. Install it (Debian: apt-get install rabbitmq-server), start Docker, or set {TestRabbitMq.Variable}."
            );
        }

        var server = new RabbitMqServer(
            new Uri($"amqp://guest:guest@127.0.0.1:{amqp}"),
            new Uri($"http://127.0.0.1:{management}"),
            watchdog,
            program
        );
        await server.WaitAsync();
        return server;
    }

    public async Task<TestVhost> CreateVhostAsync()
    {
        var name = $"test-{Guid.NewGuid():N}";
        var user = _amqp.UserInfo.Split(':')[0];
        using var made = await _management.PutAsync($"api/vhosts/{name}", null);
        made.EnsureSuccessStatusCode();
        using var allowed = await _management.PutAsJsonAsync(
            $"api/permissions/{name}/{user}",
            new
            {
                configure = ".*",
                write = ".*",
                read = ".*",
            }
        );
        allowed.EnsureSuccessStatusCode();
        return new TestVhost(_management, name, new Uri(_amqp, name).ToString());
    }

    /// <summary>True when <see cref="StopAsync"/> and <see cref="StartAgainAsync"/> can be called: it runs as a program of ours.</summary>
    public bool CanStop => _program is not null;

    /// <summary>Kills the broker, as a machine that fails does; what it has on disk stays.</summary>
    public async Task StopAsync() => await _program!.StopAsync();

    /// <summary>Starts it on the same ports with what it had on disk, and waits until it answers.</summary>
    public async Task StartAgainAsync()
    {
        _program!.Start();
        await WaitAsync();
    }

    /// <summary>Kills the broker and deletes its files; one that was given is left alone.</summary>
    public async ValueTask DisposeAsync()
    {
        _management.Dispose();
        if (_program is not null)
        {
            await _program.StopAsync();
        }

        if (_watchdog is not null)
        {
            await _watchdog.DisposeAsync();
        }
    }

    /// <summary>
    /// Its own port mapper (epmd) too, so that two brokers never meet. It runs in the foreground of the watchdog's session: with
    /// <c>-daemon</c>, as Erlang would start it, nobody would know its process.
    /// </summary>
    private static async Task<(Watchdog, ServerProgram)> StartProgramAsync(int amqp, int management, int distribution, int epmd)
    {
        var folder = Path.Combine(Path.GetTempPath(), $"pipeline-rabbitmq-{Guid.NewGuid():N}");
        Directory.CreateDirectory(Path.Combine(folder, "mnesia"));
        Directory.CreateDirectory(Path.Combine(folder, "log"));
        await File.WriteAllTextAsync(Path.Combine(folder, "enabled_plugins"), "[rabbitmq_management].\n");
        await File.WriteAllTextAsync(
            Path.Combine(folder, "rabbitmq.conf"),
            $"""
            listeners.tcp.default = 127.0.0.1:{amqp}
            management.tcp.ip = 127.0.0.1
            management.tcp.port = {management}
            disk_free_limit.absolute = 50MB

            """
        );
        var user = ServerUser.Find();
        await (user?.OwnAsync(folder, CancellationToken.None) ?? Task.CompletedTask);
        var environment = new Dictionary<string, string>
        {
            ["HOME"] = folder,
            ["RABBITMQ_CONF_ENV_FILE"] = "/dev/null",
            ["RABBITMQ_NODENAME"] = $"pipeline{amqp}@localhost",
            ["RABBITMQ_DIST_PORT"] = distribution.ToString(CultureInfo.InvariantCulture),
            ["RABBITMQ_MNESIA_BASE"] = $"{folder}/mnesia",
            ["RABBITMQ_LOG_BASE"] = $"{folder}/log",
            ["RABBITMQ_CONFIG_FILE"] = $"{folder}/rabbitmq.conf",
            ["RABBITMQ_ENABLED_PLUGINS_FILE"] = $"{folder}/enabled_plugins",
            ["RABBITMQ_PID_FILE"] = $"{folder}/pid",
            ["ERL_EPMD_PORT"] = epmd.ToString(CultureInfo.InvariantCulture),
            ["ERL_EPMD_ADDRESS"] = "127.0.0.1",

            // No busy waiting: its schedulers would take a small machine's cores from what is tested.
            ["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] = "+S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
        };
        // Its files go when the server has: each of the two watches over the test process by itself.
        var epmdAndFiles = Watchdog.Start(
            $"""
            {Shell(ServerUser.Command(user, "epmd", "-address", "127.0.0.1", "-port", $"{epmd}"))} &
            epmd=$!
            """,
            $"""
            while [ -e {folder}/running ]; do sleep 0.1; done
            kill -KILL $epmd
            rm -rf {folder}
            """,
            environment
        );
        var program = new ServerProgram(folder, Shell(ServerUser.Command(user, $"{Programs}/rabbitmq-server")), environment);
        program.Start();
        return (epmdAndFiles, program);
    }

    private static Watchdog StartContainer(int amqp, int management)
    {
        var name = $"pipeline-test-{amqp}";
        return Watchdog.Start(
            $"docker run --rm --name {name} -p 127.0.0.1:{amqp}:5672 -p 127.0.0.1:{management}:15672 {Image} &",
            $"docker kill {name}"
        );
    }

    private static async Task<bool> DockerAnswersAsync() =>
        (await Tool.TryRunAsync(new ProcessStartInfo("docker", ["info"]), CancellationToken.None)).ExitCode == 0;

    /// <summary>Both doors open: the management API comes up a moment before the last AMQP listener does.</summary>
    private async Task WaitAsync()
    {
        var clock = Stopwatch.StartNew();
        while (true)
        {
            try
            {
                using var reply = await _management.GetAsync("api/overview");
                using var socket = new TcpClient();
                await socket.ConnectAsync(_amqp.Host, _amqp.Port);
                if (reply.IsSuccessStatusCode)
                {
                    return;
                }
            }
            catch (Exception e) when (e is HttpRequestException or SocketException && clock.Elapsed < StartMax)
            {
                // Not up yet.
            }

            if (clock.Elapsed > StartMax)
            {
                throw new TimeoutException($"RabbitMQ at {_amqp.Host}:{_amqp.Port} did not start within {StartMax.TotalSeconds} s.");
            }

            await Task.Delay(Pause);
        }
    }

    private static string Shell(ProcessStartInfo start)
    {
        var text = new StringBuilder(start.FileName);
        foreach (var argument in start.ArgumentList)
        {
            text.Append(" '").Append(argument).Append('\'');
        }

        return text.ToString();
    }

    private static (int, int, int, int) FreePorts()
    {
        // All open at once, so that they differ.
        var listeners = Enumerable.Range(0, 4).Select(_ => new TcpListener(IPAddress.Loopback, 0)).ToArray();
        Array.ForEach(listeners, l => l.Start());
        var ports = listeners.Select(l => ((IPEndPoint)l.LocalEndpoint).Port).ToArray();
        Array.ForEach(listeners, l => l.Dispose());
        return (ports[0], ports[1], ports[2], ports[3]);
    }

    /// <summary>The broker's own process, which can be killed and started again over the same files.</summary>
    private sealed class ServerProgram(string folder, string command, IReadOnlyDictionary<string, string> environment)
    {
        private Watchdog? _process;

        public void Start() =>
            _process = Watchdog.Start(
                $"""
                touch {folder}/running
                rm -f {folder}/pid
                {command} >>{folder}/out 2>&1 &
                launcher=$!
                """,
                $"""
                server=$(cat {folder}/pid)
                kill -KILL $server $launcher
                while kill -0 $server; do sleep 0.1; done
                rm -f {folder}/running
                """,
                environment
            );

        public async Task StopAsync()
        {
            if (_process is not null)
            {
                await _process.DisposeAsync();
                _process = null;
            }
        }
    }
}
