using Microsoft.Extensions.Configuration;

namespace Pipeline.Hosting;

/// <summary>
/// What every program needs to know to start. Read from section <c>Pipeline</c>: environment variables <c>PIPELINE__DATABASE</c>,
/// <c>PIPELINE__BROKER</c>, … or command line <c>--Pipeline:Database=…</c>.
/// </summary>
public sealed record PipelineOptions
{
    public const string Section = "Pipeline";

    /// <summary>The broker that lives inside one process: MassTransit's in-memory transport.</summary>
    public const string InMemoryBroker = "memory:";

    /// <summary>Npgsql connection string.</summary>
    public string Database { get; init; } = "";

    /// <summary><c>amqp://user:password@host:port/vhost</c>, <c>amqps://…</c>, or <c>memory:</c>.</summary>
    public string Broker { get; init; } = "";

    /// <summary>Folder that holds the registered models, <c>&lt;name&gt;/&lt;version&gt;/</c> each; shared by all workers.</summary>
    public string ModelsFolder { get; init; } = "models";

    /// <summary>Connections to PostgreSQL a process may open.</summary>
    public int DatabaseConnectionsMax { get; init; } = 40;

    /// <summary>How long a starting program waits for PostgreSQL and RabbitMQ before it gives up.</summary>
    public TimeSpan ServerWaitMax { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>A process whose end is this one's end too: for services started by a host, a test or a benchmark.</summary>
    public int? ParentProcess { get; init; }

    public bool UsesInMemoryBroker => Broker.StartsWith(InMemoryBroker, StringComparison.OrdinalIgnoreCase);

    /// <summary>Reads and checks the options, reporting every mistake at once.</summary>
    /// <exception cref="OptionsException">One or more options are missing or out of range.</exception>
    public static PipelineOptions Read(IConfiguration configuration)
    {
        var options = configuration.GetSection(Section).Get<PipelineOptions>() ?? new PipelineOptions();
        var mistakes = new OptionsCheck(Section);
        mistakes.Expect(
            options.Database.Length > 0,
            nameof(Database),
            "a connection string (Host=…;Username=…;Database=…)",
            options.Database
        );
        mistakes.Expect(
            options.UsesInMemoryBroker
                || (Uri.TryCreate(options.Broker, UriKind.Absolute, out var broker) && broker.Scheme is "amqp" or "amqps"),
            nameof(Broker),
            "amqp://user:password@host:port/vhost or memory:",
            options.Broker
        );
        mistakes.Expect(
            options.DatabaseConnectionsMax is >= 2 and <= 1000,
            nameof(DatabaseConnectionsMax),
            "2 to 1000",
            options.DatabaseConnectionsMax
        );
        mistakes.Expect(
            options.ServerWaitMax >= TimeSpan.Zero && options.ServerWaitMax <= TimeSpan.FromHours(1),
            nameof(ServerWaitMax),
            "0 to 1 hour",
            options.ServerWaitMax
        );
        mistakes.ThrowIfAny();
        return options;
    }
}

/// <summary>Collects what is wrong with a section of options, so that all of it is told at once.</summary>
public sealed class OptionsCheck(string section)
{
    private readonly List<string> _mistakes = [];

    public void Expect(bool holds, string option, string expected, object? given)
    {
        if (!holds)
        {
            _mistakes.Add($"{section}:{option} expects {expected}, given {(given is null or "" ? "nothing" : $"\"{given}\"")}");
        }
    }

    /// <exception cref="OptionsException">At least one expectation did not hold.</exception>
    public void ThrowIfAny() => ThrowIfAny(this);

    /// <summary>As the other, over several sections.</summary>
    /// <exception cref="OptionsException">At least one expectation did not hold.</exception>
    public static void ThrowIfAny(params ReadOnlySpan<OptionsCheck> sections)
    {
        var mistakes = new List<string>();
        foreach (var section in sections)
        {
            mistakes.AddRange(section._mistakes);
        }

        if (mistakes.Count > 0)
        {
            throw new OptionsException(string.Join(Environment.NewLine, mistakes));
        }
    }
}

/// <summary>The options given to a program do not hold together; the message has one line a mistake.</summary>
public sealed class OptionsException(string message) : Exception(message);
