using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using Npgsql;
using Pipeline.Standalone.Client;
using Pipeline.Standalone.Host;
using Xunit;

namespace Pipeline.Tests.EndToEnd.Standalone;

/// <summary><c>pipeline up</c> as a process of its own in a folder of the test's.</summary>
internal sealed partial class HostProcess : IAsyncDisposable
{
    private const int Interrupt = 2;
    private static readonly TimeSpan StartMax = TimeSpan.FromSeconds(60);
    private readonly Process _process;
    private readonly StringBuilder _output = new();
    private readonly TaskCompletionSource _up = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private HostProcess(string folder, int port, (string Name, string Value)[] environment)
    {
        Folder = folder;
        string[] arguments = [ToolRun.Program, "up", "--data", folder, "--port", port.ToString(CultureInfo.InvariantCulture)];
        var start = new ProcessStartInfo("dotnet", arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        _process = Process.Start(start)!;
        _process.OutputDataReceived += Hear;
        _process.ErrorDataReceived += Hear;
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    public string Folder { get; }

    /// <summary>What it left for the client commands.</summary>
    public HostRecord Record { get; private set; } = null!;

    public PipelineClient Client { get; private set; } = null!;

    public string Output
    {
        get
        {
            lock (_output)
            {
                return _output.ToString();
            }
        }
    }

    /// <summary>Starts it and waits until it says that it is up.</summary>
    public static async Task<HostProcess> StartAsync(string folder, int port = 0, params (string Name, string Value)[] environment)
    {
        var host = new HostProcess(folder, port, environment);
        try
        {
            var ended = host._process.WaitForExitAsync(TestContext.Current.CancellationToken);
            await Task.WhenAny(host._up.Task, ended).WaitAsync(StartMax, TestContext.Current.CancellationToken);
            Assert.True(host._up.Task.IsCompleted, $"The host did not come up:\n{host.Output}");
            host.Record = HostRecord.Find(folder)!;
            host.Client = new PipelineClient(host.Record.Ingest, host.Record.Results, host.Record.ApiKey);
            return host;
        }
        catch
        {
            await host.DisposeAsync();
            throw;
        }
    }

    /// <summary>The database of the host's private PostgreSQL.</summary>
    public NpgsqlDataSource OpenDatabase() => NpgsqlDataSource.Create(Record.Database);

    /// <summary>Ctrl-C.</summary>
    public Task<int> InterruptAsync()
    {
        _ = Signal(_process.Id, Interrupt);
        return UntilEndAsync();
    }

    /// <summary>Kills the host alone (<c>kill -9</c>): its PostgreSQL goes on, as it would.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await UntilEndAsync();
    }

    /// <summary>Waits until it has ended, and returns its exit code.</summary>
    public async Task<int> UntilEndAsync()
    {
        await _process.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(StartMax);
        return _process.ExitCode;
    }

    /// <summary>True while something listens where its PostgreSQL was.</summary>
    public bool HasPostgres()
    {
        var address = new NpgsqlConnectionStringBuilder(Record.Database);
        try
        {
            using var probe = new TcpClient(address.Host!, address.Port);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    public async ValueTask DisposeAsync()
    {
        Client?.Dispose();
        if (!_process.HasExited)
        {
            _process.Kill();
            await _process.WaitForExitAsync();
        }

        _process.Dispose();
    }

    private void Hear(object sender, DataReceivedEventArgs line)
    {
        lock (_output)
        {
            _output.AppendLine(line.Data);
        }

        if (line.Data?.StartsWith("Ctrl-C stops it", StringComparison.Ordinal) == true)
        {
            _up.TrySetResult();
        }
    }

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Signal(int process, int signal);
}
