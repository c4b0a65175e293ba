using System.Diagnostics;

namespace Pipeline.Tests.Support.Servers;

/// <summary>
/// Ends test servers with the test process, however that ends: a small shell in a session of its own reads its standard input, a pipe
/// that closes when the last holder is gone, and then runs a script. So even <c>kill -9</c> of the tests leaves nothing behind.
/// </summary>
internal sealed class Watchdog : IAsyncDisposable
{
    private readonly Process _process;

    private Watchdog(Process process) => _process = process;

    /// <param name="atStart">Shell script run at once; what it starts in the background is known by <c>$!</c>.</param>
    /// <param name="atEnd">Shell script run when this is disposed or the test process is gone.</param>
    public static Watchdog Start(string atStart, string atEnd, IReadOnlyDictionary<string, string>? environment = null)
    {
        // The servers are started before signals are ignored: they would inherit that.
        var script = $"exec >/dev/null 2>&1\n{atStart}\ntrap '' INT TERM HUP\ncat >/dev/null\n{atEnd}\n";
        var start = new ProcessStartInfo("setsid", ["sh", "-c", script]) { RedirectStandardInput = true, WorkingDirectory = "/" };
        foreach (var (name, value) in environment ?? new Dictionary<string, string>())
        {
            start.Environment[name] = value;
        }

        return new Watchdog(Process.Start(start)!);
    }

    public bool HasExited => _process.HasExited;

    public async ValueTask DisposeAsync()
    {
        _process.StandardInput.Close();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }
}
