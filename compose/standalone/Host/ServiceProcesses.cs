using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Pipeline.Hosting;

namespace Pipeline.Standalone.Host;

/// <summary>
/// The four services as processes of their own against given servers, as production runs them: for <c>up --services</c>, for the
/// end-to-end tests and for the benchmarks. Each writes its output to a log file; each stops when this process is gone.
/// </summary>
internal sealed class ServiceProcesses : IAsyncDisposable
{
    private static readonly TimeSpan ReadyWait = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan StopWait = TimeSpan.FromSeconds(40);
    private readonly PipelineOptions _options;
    private readonly string _logFolder;
    private readonly IReadOnlyDictionary<string, string> _environment;
    private readonly List<ServiceProcess> _services = [];

    /// <param name="options">The servers, and the models' folder.</param>
    /// <param name="logFolder">Receives <c>ingest.log</c>, <c>scheduler.log</c>, ….</param>
    /// <param name="environment">More settings for every service, as environment variables.</param>
    public ServiceProcesses(PipelineOptions options, string logFolder, IReadOnlyDictionary<string, string>? environment = null)
    {
        (_options, _logFolder) = (options, logFolder);
        _environment = environment ?? new Dictionary<string, string>();
        Directory.CreateDirectory(logFolder);
    }

    public IReadOnlyList<ServiceProcess> All => _services;

    public ServiceProcess Ingest => Named("ingest");

    public ServiceProcess Results => Named("results-api");

    /// <summary>Starts one of each and waits until all are ready.</summary>
    /// <param name="probeKey">The API key that probes are sent with; without it none is.</param>
    /// <exception cref="CommandFailedException">A service ended or was not ready in time; the message shows the end of its log.</exception>
    public async Task StartAllAsync(int ingestPort, int resultsPort, CancellationToken stop, string? probeKey = null)
    {
        Start("ingest", "Pipeline.Ingest.dll", ingestPort);
        Start("scheduler", "Pipeline.Scheduler.dll", 0);
        Start("gpu-worker", "Pipeline.GpuWorker.dll", 0);
        // The dashboard sends its actions to ingest, and probes go through it.
        var ingest = new Dictionary<string, string> { ["DASHBOARD__INGEST"] = Ingest.Address.ToString() };
        if (probeKey is not null)
        {
            ingest["PROBES__ADDRESS"] = Ingest.Address.ToString();
            ingest["PROBES__APIKEY"] = probeKey;
        }

        Start("results-api", "Pipeline.ResultsApi.dll", resultsPort, ingest);
        await Task.WhenAll(_services.Select(service => service.UntilReadyAsync(ReadyWait, stop)));
    }

    /// <summary>Starts one more process of a service (a second worker, a spare scheduler, a restarted one).</summary>
    public ServiceProcess Start(
        string name,
        string assembly,
        int port,
        IReadOnlyDictionary<string, string>? environment = null,
        IEnumerable<string>? arguments = null
    )
    {
        var address = new Uri($"http://127.0.0.1:{(port == 0 ? Ports.Free() : port)}");
        var start = new ProcessStartInfo("dotnet")
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
            UseShellExecute = false,
        };
        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, assembly));
        foreach (var argument in arguments ?? [])
        {
            start.ArgumentList.Add(argument);
        }

        var settings = start.Environment;
        settings["PIPELINE__DATABASE"] = _options.Database;
        settings["PIPELINE__BROKER"] = _options.Broker;
        settings["PIPELINE__MODELSFOLDER"] = _options.ModelsFolder;
        settings["PIPELINE__PARENTPROCESS"] = Environment.ProcessId.ToString(System.Globalization.CultureInfo.InvariantCulture);
        settings["ASPNETCORE_URLS"] = address.ToString();
        foreach (var (key, value) in _environment.Concat(environment ?? new Dictionary<string, string>()))
        {
            settings[key] = value;
        }

        var number = _services.Count(service => service.Name == name);
        var log = Path.Combine(_logFolder, number == 0 ? $"{name}.log" : $"{name}-{number + 1}.log");
        var service = new ServiceProcess(name, address, log, Process.Start(start)!);
        _services.Add(service);
        return service;
    }

    /// <summary>Waits until a service ends by itself, and returns it; null when told to stop first.</summary>
    public async Task<ServiceProcess?> UntilOneEndsAsync(CancellationToken stop)
    {
        var ends = _services.Select(service => (Service: service, End: service.EndAsync(stop))).ToArray();
        var first = await Task.WhenAny(ends.Select(end => end.End));
        return stop.IsCancellationRequested ? null : ends.First(end => end.End == first).Service;
    }

    /// <summary>Asks all to stop, the way work flows, and waits; what does not stop in time is killed.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (var service in _services)
        {
            service.Terminate();
        }

        await Task.WhenAll(_services.Select(service => service.UntilStoppedAsync(StopWait)));
        foreach (var service in _services)
        {
            service.Dispose();
        }

        _services.Clear();
    }

    private ServiceProcess Named(string name) => _services.First(service => service.Name == name);
}

/// <summary>One service's process.</summary>
internal sealed partial class ServiceProcess : IDisposable
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(100);
    private const int TerminateSignal = 15;
    private readonly Process _process;
    private readonly string _logPath;
    private readonly StreamWriter _log;

    public ServiceProcess(string name, Uri address, string logPath, Process process)
    {
        (Name, Address, _logPath, _process) = (name, address, logPath, process);
        _log = new StreamWriter(new FileStream(logPath, FileMode.Create, FileAccess.Write, FileShare.Read)) { AutoFlush = true };
        process.OutputDataReceived += Log;
        process.ErrorDataReceived += Log;
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
    }

    public string Name { get; }

    public Uri Address { get; }

    public int ProcessId => _process.Id;

    public bool HasExited => _process.HasExited;

    public int ExitCode => _process.ExitCode;

    /// <summary>Largest resident memory so far, in bytes (Linux: VmHWM).</summary>
    public long PeakMemoryBytes => ProcessMemory.Peak(_process.Id);

    public async Task UntilReadyAsync(TimeSpan wait, CancellationToken stop)
    {
        using var http = new HttpClient { Timeout = TimeSpan.FromSeconds(5) };
        var ready = new Uri(Address, "/healthz/ready");
        for (var clock = Stopwatch.StartNew(); clock.Elapsed < wait; await Task.Delay(LookEvery, stop))
        {
            if (_process.HasExited)
            {
                throw new CommandFailedException($"{Name} ended with code {_process.ExitCode}:{Environment.NewLine}{LogTail()}");
            }

            try
            {
                using var response = await http.GetAsync(ready, stop);
                if (response.StatusCode == HttpStatusCode.OK)
                {
                    return;
                }
            }
            catch (Exception e) when (e is HttpRequestException || (e is TaskCanceledException && !stop.IsCancellationRequested))
            {
                // Not listening yet, or too busy starting to answer in time.
            }
        }

        throw new CommandFailedException($"{Name} was not ready within {wait.TotalSeconds:0} s:{Environment.NewLine}{LogTail()}");
    }

    /// <summary>Asks it to stop (SIGTERM): it finishes what it has begun.</summary>
    public void Terminate()
    {
        if (!_process.HasExited)
        {
            Terminate(_process.Id);
        }
    }

    public static void Terminate(int processId) => _ = Signal(processId, TerminateSignal);

    /// <summary>Ends it at once (SIGKILL).</summary>
    public void Kill()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
        }

        _process.WaitForExit();
    }

    public Task EndAsync(CancellationToken stop) => _process.WaitForExitAsync(stop);

    public async Task UntilStoppedAsync(TimeSpan wait)
    {
        using var late = new CancellationTokenSource(wait);
        try
        {
            await _process.WaitForExitAsync(late.Token);
        }
        catch (OperationCanceledException)
        {
            Kill();
        }
    }

    public void Dispose()
    {
        _process.Dispose();
        lock (_log)
        {
            _log.Dispose();
        }
    }

    public string LogTail(int lines = 30)
    {
        using var reader = new StreamReader(new FileStream(_logPath, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        return string.Join(Environment.NewLine, reader.ReadToEnd().Split('\n').TakeLast(lines));
    }

    private void Log(object sender, DataReceivedEventArgs line)
    {
        if (line.Data is not null)
        {
            lock (_log)
            {
                if (_log.BaseStream is { CanWrite: true })
                {
                    _log.WriteLine(line.Data);
                }
            }
        }
    }

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Signal(int process, int signal);
}

/// <summary>Reads what the kernel says of a process's memory.</summary>
internal static class ProcessMemory
{
    /// <summary>Peak resident bytes (VmHWM); 0 when the process is gone.</summary>
    public static long Peak(int process)
    {
        try
        {
            var line = File.ReadLines($"/proc/{process}/status").FirstOrDefault(l => l.StartsWith("VmHWM:", StringComparison.Ordinal));
            return line is null
                ? 0
                : long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], System.Globalization.CultureInfo.InvariantCulture)
                    * 1024;
        }
        catch (IOException)
        {
            return 0;
        }
    }
}

/// <summary>Finds ports.</summary>
internal static class Ports
{
    /// <summary>The wanted port of the loopback address where it is free, else another.</summary>
    public static int FreeOr(int wanted)
    {
        try
        {
            using var probe = new TcpListener(IPAddress.Loopback, wanted);
            probe.Start();
            return wanted;
        }
        catch (SocketException)
        {
            return Free();
        }
    }

    public static int Free()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }
}

/// <summary>Something a command started did not work; the message says what.</summary>
internal sealed class CommandFailedException(string message) : Exception(message);
