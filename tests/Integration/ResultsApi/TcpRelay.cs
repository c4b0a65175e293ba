using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Pipeline.Tests.Integration.ResultsApi;

/// <summary>Stands between a program and a server, and can take the server away: connections break, and new ones are refused, or it falls silent.</summary>
internal sealed class TcpRelay : IDisposable
{
    private readonly ConcurrentBag<Socket> _sockets = [];
    private readonly IPEndPoint _server;
    private Task _heard = Task.CompletedTask;
    private TcpListener _listener = new(IPAddress.Loopback, 0);

    public TcpRelay(string host, int port)
    {
        _server = new IPEndPoint(Dns.GetHostAddresses(host)[0], port);
        _listener.Start();
        Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
        _ = AcceptAsync(_listener);
    }

    public int Port { get; }

    public void Cut()
    {
        _listener.Stop();
        while (_sockets.TryTake(out var socket))
        {
            socket.Dispose();
        }
    }

    public void Restore()
    {
        _listener = new TcpListener(IPAddress.Loopback, Port);
        _listener.Start();
        _ = AcceptAsync(_listener);
    }

    /// <summary>Of what the server says from now on nothing comes through, and all stay connected.</summary>
    public void Silence() => Volatile.Write(ref _heard, new TaskCompletionSource().Task);

    public void Dispose() => Cut();

    private async Task AcceptAsync(TcpListener listener)
    {
        try
        {
            while (true)
            {
                var near = await listener.AcceptSocketAsync();
                var far = new Socket(_server.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
                near.NoDelay = true;
                _sockets.Add(near);
                _sockets.Add(far);
                await far.ConnectAsync(_server);
                _ = PumpAsync(near, far, answers: false);
                _ = PumpAsync(far, near, answers: true);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or InvalidOperationException)
        {
            // Cut.
        }
    }

    private async Task PumpAsync(Socket from, Socket to, bool answers)
    {
        var buffer = new byte[64 * 1024];
        try
        {
            for (int read; (read = await from.ReceiveAsync(buffer)) > 0; )
            {
                await (answers ? Volatile.Read(ref _heard) : Task.CompletedTask);
                await to.SendAsync(buffer.AsMemory(0, read));
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Cut.
        }

        from.Dispose();
        to.Dispose();
    }
}
