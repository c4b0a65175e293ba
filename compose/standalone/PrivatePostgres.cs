using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Npgsql;

namespace Pipeline.Standalone;

/// <summary>What a private PostgreSQL may differ in.</summary>
internal sealed record PrivatePostgresOptions
{
    /// <summary>The server's own folder; made when missing.</summary>
    public required string Folder { get; init; }

    /// <summary>The database of <see cref="PrivatePostgres.ConnectionString"/>; migrating makes it.</summary>
    public string Database { get; init; } = "pipeline";

    /// <summary>Off only for functional tests: what is committed then survives a killed process, but no power cut.</summary>
    public bool Fsync { get; init; } = true;

    /// <summary>A port it must have; null takes any that is free. For a server that others know the address of.</summary>
    public int? Port { get; init; }

    /// <summary>How long a start may take, crash recovery included.</summary>
    public TimeSpan StartMax { get; init; } = TimeSpan.FromMinutes(2);
}

/// <summary>
/// A PostgreSQL of our own in a folder: <c>initdb</c> once, a free port on loopback, a generated password, no root. One that a killed
/// host left running is found by its <c>postmaster.pid</c> and adopted; disposing shuts down what was started or adopted here.
/// </summary>
/// <remarks>The folder holds <c>data</c>, <c>password</c>, <c>postgres.log</c>, and <c>lock</c> while a host uses it.</remarks>
internal sealed partial class PrivatePostgres : IAsyncDisposable
{
    private const string Superuser = "pipeline";
    private const int StartTriesMax = 5;

    // What a server on a small machine needs for this work. JIT compilation costs more than it saves on short statements, and a large
    // write-ahead log lets checkpoints come by time, not in the middle of a load.
    internal static readonly IReadOnlyDictionary<string, string> Settings = new Dictionary<string, string>
    {
        ["listen_addresses"] = "127.0.0.1",
        ["unix_socket_directories"] = "",
        ["max_connections"] = "200",
        ["shared_buffers"] = "256MB",
        ["max_wal_size"] = "4GB",
        ["wal_compression"] = "on",
        ["checkpoint_timeout"] = "15min",
        ["synchronous_commit"] = "on",
        ["jit"] = "off",
        ["log_min_messages"] = "warning",
    };

    private readonly PrivatePostgresOptions _options;
    private readonly string _home;
    private readonly string _binaries;
    private readonly ServerUser? _user;
    private readonly FileStream _lock;
    private string _password = "";
    private bool _running;

    private PrivatePostgres(PrivatePostgresOptions options, string home, string binaries, ServerUser? user, FileStream @lock)
    {
        (_options, _home, _binaries, _user, _lock) = (options, home, binaries, user, @lock);
    }

    /// <summary>Opens the database <see cref="PrivatePostgresOptions.Database"/>; the password is in it.</summary>
    public string ConnectionString => Connect(_options.Database).ConnectionString;

    /// <summary>TCP port on 127.0.0.1.</summary>
    public int Port { get; private set; }

    /// <summary>Process id of the postmaster.</summary>
    public int ProcessId { get; private set; }

    /// <summary>True when the server was running already.</summary>
    public bool Adopted { get; private set; }

    private string Data => Path.Combine(_home, "data");

    private string LogFile => Path.Combine(_home, "postgres.log");

    /// <summary>Starts the server of this folder, or adopts it when it runs already.</summary>
    /// <exception cref="InvalidOperationException">
    /// Another process uses the folder, PostgreSQL is missing, or it does not start; the message tells which, and what to do.
    /// </exception>
    public static async Task<PrivatePostgres> StartAsync(PrivatePostgresOptions options, ILogger log, CancellationToken cancellationToken)
    {
        var folder = Directory.CreateDirectory(options.Folder).FullName;
        var @lock = Lock(folder);
        try
        {
            var user = ServerUser.Find();
            var home = await HomeAsync(folder, user, log, cancellationToken);
            var binaries = await PostgresBinaries.FindAsync(MajorOf(home), log, cancellationToken);
            var server = new PrivatePostgres(options, home, binaries, user, @lock);
            await server.InitialiseAsync(log, cancellationToken);
            await server.AdoptOrStartAsync(log, cancellationToken);
            return server;
        }
        catch
        {
            await @lock.DisposeAsync();
            throw;
        }
    }

    /// <summary>Shuts the server down (fast: clients are disconnected, everything committed is on disk).</summary>
    public async ValueTask DisposeAsync()
    {
        if (_running)
        {
            _running = false;

            // It may have been killed meanwhile; then there is nothing to stop.
            await Tool.TryRunAsync(PgCtl("stop", "-m", "fast", "-w", "-t", "60"), CancellationToken.None);
        }

        await _lock.DisposeAsync();
    }

    /// <summary>Lets go of the folder and leaves the server running, as a killed host does. For tests.</summary>
    internal void Abandon()
    {
        _running = false;
        _lock.Dispose();
    }

    private static FileStream Lock(string folder)
    {
        try
        {
            return new FileStream(Path.Combine(folder, "lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e)
        {
            throw new InvalidOperationException($"The folder {folder} is in use by another process; stop it, or choose another folder.", e);
        }
    }

    /// <summary>
    /// Where the server's files are: in the folder, unless root keeps it where the server's user may not enter (below <c>/root</c>, as a
    /// rule). Then they are below <c>/var/lib/pipeline</c>, and a file in the folder says where.
    /// </summary>
    private static async Task<string> HomeAsync(string folder, ServerUser? user, ILogger log, CancellationToken cancellationToken)
    {
        var pointer = Path.Combine(folder, "elsewhere");
        if (File.Exists(pointer))
        {
            return (await File.ReadAllTextAsync(pointer, cancellationToken)).Trim();
        }

        if (user is null || MajorOf(folder) is not null)
        {
            return folder;
        }

        await user.OwnAsync(folder, cancellationToken);
        OpenTemporaryParents(folder);
        if (await user.CanEnterAsync(folder, cancellationToken))
        {
            return folder;
        }

        var home = $"/var/lib/pipeline/{Guid.NewGuid():N}";
        Directory.CreateDirectory(home);
        await user.OwnAsync(home, cancellationToken);
        await File.WriteAllTextAsync(pointer, home, cancellationToken);
        LogElsewhere(log, user.Name, folder, home);
        return home;
    }

    /// <summary>
    /// A folder made for a short while is private to its maker (mode 700): it is opened for passing through, not for looking, so that
    /// the server's files go with it when it is deleted.
    /// </summary>
    private static void OpenTemporaryParents(string folder)
    {
        var temporary = Path.TrimEndingDirectorySeparator(Path.GetFullPath(Path.GetTempPath())) + Path.DirectorySeparatorChar;
        for (var parent = Path.GetDirectoryName(folder); parent?.StartsWith(temporary, StringComparison.Ordinal) == true; )
        {
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(parent, File.GetUnixFileMode(parent) | UnixFileMode.OtherExecute);
            }

            parent = Path.GetDirectoryName(parent);
        }
    }

    private static int? MajorOf(string home)
    {
        var file = Path.Combine(home, "data", "PG_VERSION");
        return File.Exists(file) ? int.Parse(File.ReadAllText(file).Trim(), CultureInfo.InvariantCulture) : null;
    }

    private async Task InitialiseAsync(ILogger log, CancellationToken cancellationToken)
    {
        var passwordFile = Path.Combine(_home, "password");
        if (Directory.Exists(Data))
        {
            _password = (await File.ReadAllTextAsync(passwordFile, cancellationToken)).Trim();
            return;
        }

        LogInitialising(log, _home, _binaries);
        _password = RandomNumberGenerator.GetHexString(32, lowercase: true);
        await File.WriteAllTextAsync(passwordFile, _password, cancellationToken);
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(passwordFile, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }

        // Renamed when complete, so that a folder whose making was cut off is made anew.
        var unfinished = Data + ".new";
        if (Directory.Exists(unfinished))
        {
            Directory.Delete(unfinished, recursive: true);
        }

        await (_user?.OwnAsync(passwordFile, cancellationToken) ?? Task.CompletedTask);
        string[] initdb =
        [
            "-D",
            unfinished,
            "-U",
            Superuser,
            "-A",
            "scram-sha-256",
            $"--pwfile={passwordFile}",
            "-E",
            "UTF8",
            "--locale=C",
        ];
        var start = ServerUser.Command(_user, Path.Combine(_binaries, "initdb"), _options.Fsync ? initdb : [.. initdb, "--no-sync"]);
        start.WorkingDirectory = "/";
        await Tool.RunAsync(start, cancellationToken);
        Directory.Move(unfinished, Data);
    }

    private async Task AdoptOrStartAsync(ILogger log, CancellationToken cancellationToken)
    {
        var deadline = DateTime.UtcNow + _options.StartMax;
        while (Running() is var (process, port))
        {
            (ProcessId, Port) = (process, port);
            if (await AnswersAsync(cancellationToken))
            {
                (Adopted, _running) = (true, true);
                LogAdopted(log, process, port);
                return;
            }

            if (DateTime.UtcNow > deadline)
            {
                throw new InvalidOperationException(
                    $"PostgreSQL (process {process}) in {Data} does not answer on 127.0.0.1:{port}. See {LogFile}."
                );
            }

            // It is starting, recovering or stopping; its file says no more than that.
            await Task.Delay(TimeSpan.FromMilliseconds(100), cancellationToken);
        }

        await StartServerAsync(log, cancellationToken);
    }

    /// <summary>
    /// The port was free a moment ago, and a server killed just before may still hold its shared memory for a moment: so more than one try.
    /// </summary>
    private async Task StartServerAsync(ILogger log, CancellationToken cancellationToken)
    {
        for (var attempt = 1; ; attempt++)
        {
            Port = _options.Port ?? FreePort();
            var settings = Settings
                .Append(new("port", Port.ToString(CultureInfo.InvariantCulture)))
                .Append(new("fsync", _options.Fsync ? "on" : "off"));
            var command = string.Join(' ', settings.Select(s => $"-c {s.Key}='{s.Value}'"));
            var seconds = _options.StartMax.TotalSeconds.ToString("F0", CultureInfo.InvariantCulture);
            var (exitCode, output, error) = await Tool.TryRunAsync(
                PgCtl("start", "-w", "-t", seconds, "-l", LogFile, "-o", command),
                cancellationToken
            );
            if (exitCode == 0 && Running() is var (process, _))
            {
                (ProcessId, _running) = (process, true);
                LogStarted(log, process, Port, _home);
                return;
            }

            if (attempt == StartTriesMax)
            {
                throw new InvalidOperationException($"PostgreSQL did not start in {_home}: {(error + output).Trim()}\n{LogTail()}");
            }

            await Task.Delay(TimeSpan.FromMilliseconds(200 * attempt), cancellationToken);
        }
    }

    /// <summary>Process and port of the folder's server by its <c>postmaster.pid</c>, or null where no live postgres is behind it.</summary>
    private (int Process, int Port)? Running()
    {
        try
        {
            // Lines: process, data folder, start time, port, …
            var lines = File.ReadAllLines(Path.Combine(Data, "postmaster.pid"));
            return
                lines.Length > 3
                && int.TryParse(lines[0], CultureInfo.InvariantCulture, out var process)
                && int.TryParse(lines[3], CultureInfo.InvariantCulture, out var port)
                && File.ReadAllText($"/proc/{process}/comm").Trim() == "postgres"
                ? (process, port)
                : null;
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>True when what listens there takes our password and serves this very folder.</summary>
    private async Task<bool> AnswersAsync(CancellationToken cancellationToken)
    {
        try
        {
            await using var connection = new NpgsqlConnection(Connect("postgres", pooling: false).ConnectionString);
            await connection.OpenAsync(cancellationToken);
            await using var command = new NpgsqlCommand("SHOW data_directory", connection);
            return (string?)await command.ExecuteScalarAsync(cancellationToken) == Data;
        }
        catch (NpgsqlException)
        {
            return false;
        }
    }

    private NpgsqlConnectionStringBuilder Connect(string database, bool pooling = true) =>
        new()
        {
            Host = "127.0.0.1",
            Port = Port,
            Username = Superuser,
            Password = _password,
            Database = database,
            Pooling = pooling,
        };

    private System.Diagnostics.ProcessStartInfo PgCtl(params IEnumerable<string> arguments)
    {
        var start = ServerUser.Command(_user, Path.Combine(_binaries, "pg_ctl"), [.. arguments, "-D", Data]);
        start.WorkingDirectory = "/";
        foreach (var name in start.Environment.Keys.Where(k => k.StartsWith("PG", StringComparison.Ordinal)).ToArray())
        {
            start.Environment.Remove(name);
        }

        start.Environment["LC_ALL"] = "C";
        return start;
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private string LogTail() => File.Exists(LogFile) ? string.Join('\n', File.ReadLines(LogFile).TakeLast(10)) : "";

    [LoggerMessage(1, LogLevel.Information, "Making a private PostgreSQL in {Folder} with {Binaries}")]
    private static partial void LogInitialising(ILogger log, string folder, string binaries);

    [LoggerMessage(2, LogLevel.Information, "PostgreSQL runs as process {Process} on 127.0.0.1:{Port} in {Folder}")]
    private static partial void LogStarted(ILogger log, int process, int port, string folder);

    [LoggerMessage(3, LogLevel.Information, "Adopted the PostgreSQL that was left running as process {Process} on 127.0.0.1:{Port}")]
    private static partial void LogAdopted(ILogger log, int process, int port);

    [LoggerMessage(4, LogLevel.Information, "The user {User} may not enter {Folder}; PostgreSQL's files are in {Home}")]
    private static partial void LogElsewhere(ILogger log, string user, string folder, string home);
}
