using System.Net.Sockets;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace Pipeline.Hosting;

/// <summary>Waits for the servers a program stands on: says what it waits for, and fails with the address when the wait is over.</summary>
public static partial class ServerWait
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(500);

    /// <summary>Waits until PostgreSQL takes connections. A server that answers but refuses (password, database) fails at once.</summary>
    /// <exception cref="ServerUnavailableException">It was not reachable in time, or refused.</exception>
    public static Task ForPostgresAsync(string connectionString, TimeSpan waitMax, ILogger log, TimeProvider time, CancellationToken stop)
    {
        var builder = new NpgsqlConnectionStringBuilder(connectionString) { Pooling = false, Timeout = 5 };
        var address = $"PostgreSQL at {builder.Host}:{builder.Port}, database \"{builder.Database}\"";
        return UntilAsync(
            address,
            waitMax,
            log,
            time,
            async token =>
            {
                try
                {
                    await using var storage = Storage.ForSetup(builder.ConnectionString);
                    await using var connection = await storage.OpenConnectionAsync(token);
                }
                catch (PostgresException e)
                    when (e.SqlState is not (PostgresErrorCodes.CannotConnectNow or PostgresErrorCodes.TooManyConnections))
                {
                    throw new ServerUnavailableException($"{address} refused the connection: {e.MessageText}", e);
                }
            },
            stop
        );
    }

    /// <summary>Waits until the broker's port answers. The in-memory broker is always there.</summary>
    /// <exception cref="ServerUnavailableException">It was not reachable in time.</exception>
    public static Task ForBrokerAsync(PipelineOptions options, ILogger log, TimeProvider time, CancellationToken stop)
    {
        if (options.UsesInMemoryBroker)
        {
            return Task.CompletedTask;
        }

        var uri = new Uri(options.Broker);
        var port =
            uri.Port > 0 ? uri.Port
            : uri.Scheme == "amqps" ? 5671
            : 5672;
        return UntilAsync(
            $"RabbitMQ at {uri.Host}:{port}",
            options.ServerWaitMax,
            log,
            time,
            async token =>
            {
                using var socket = new TcpClient();
                await socket.ConnectAsync(uri.Host, port, token);
            },
            stop
        );
    }

    private static async Task UntilAsync(
        string address,
        TimeSpan waitMax,
        ILogger log,
        TimeProvider time,
        Func<CancellationToken, Task> connect,
        CancellationToken stop
    )
    {
        var started = time.GetTimestamp();
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                await connect(stop);
                return;
            }
            catch (Exception e) when (e is NpgsqlException or SocketException or TimeoutException or IOException)
            {
                if (time.GetElapsedTime(started) >= waitMax)
                {
                    throw new ServerUnavailableException(
                        $"{address} was not reachable within {waitMax.TotalSeconds:0} s ({e.Message}). Start it, or correct the address.",
                        e
                    );
                }

                if (attempt == 1)
                {
                    LogWaiting(log, address, waitMax.TotalSeconds, e.Message);
                }

                await Task.Delay(Pause, time, stop);
            }
        }
    }

    [LoggerMessage(1, LogLevel.Warning, "Waiting for {Address}, at most {Seconds} s: {Reason}")]
    private static partial void LogWaiting(ILogger log, string address, double seconds, string reason);
}

/// <summary>A server that the program cannot do without is not there; the message names its address.</summary>
public sealed class ServerUnavailableException(string message, Exception inner) : Exception(message, inner);
