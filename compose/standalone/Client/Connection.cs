using System.CommandLine;
using Pipeline.Standalone.Host;

namespace Pipeline.Standalone.Client;

/// <summary>
/// Where the client commands find the service: <c>--url</c>/<c>--key</c>, else <c>PIPELINE_URL</c> (or <c>PIPELINE_INGEST_URL</c> and
/// <c>PIPELINE_RESULTS_URL</c>) and <c>PIPELINE_API_KEY</c>, else what a running host left in its data folder.
/// </summary>
internal sealed class Connection
{
    private readonly Option<Uri?> _url = new("--url")
    {
        Description = "Address of the service (default: PIPELINE_URL, or the host started with up)",
        CustomParser = static result =>
        {
            if (Uri.TryCreate(result.Tokens[0].Value, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https")
            {
                return uri;
            }

            result.AddError($"--url expects an address like http://127.0.0.1:5320, given \"{result.Tokens[0].Value}\".");
            return null;
        },
    };
    private readonly Option<string?> _key = new("--key") { Description = "API key (default: PIPELINE_API_KEY, or the host's first key)" };
    private readonly Option<string?> _reason = new("--audit-reason") { Description = "Why, for the audit of what operators change" };
    private readonly Option<string> _data = new("--data")
    {
        Description = "Data folder of the host started with up",
        DefaultValueFactory = _ => HostRecord.DefaultFolder,
    };

    public void AddTo(Command command)
    {
        command.Options.Add(_url);
        command.Options.Add(_key);
        command.Options.Add(_data);
        command.Options.Add(_reason);
    }

    /// <exception cref="CommandException">No address or key is known.</exception>
    public PipelineClient Open(ParseResult parsed)
    {
        var record = HostRecord.Find(parsed.GetValue(_data)!);
        var url = parsed.GetValue(_url) ?? FromEnvironment("PIPELINE_URL");
        var ingest = url ?? FromEnvironment("PIPELINE_INGEST_URL") ?? record?.Ingest;
        var results = url ?? FromEnvironment("PIPELINE_RESULTS_URL") ?? record?.Results;
        var key = parsed.GetValue(_key) ?? Environment.GetEnvironmentVariable("PIPELINE_API_KEY") ?? record?.ApiKey;
        if (ingest is null || results is null)
        {
            throw new CommandException("No service is known here. Start one with \"./pipeline up\", or give --url and --key.");
        }

        return key is null
            ? throw new CommandException("No API key is known here. Give --key, or set PIPELINE_API_KEY.")
            : new PipelineClient(ingest, results, key, parsed.GetValue(_reason));
    }

    private static Uri? FromEnvironment(string name) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text
            ? Uri.TryCreate(text, UriKind.Absolute, out var uri)
                ? uri
                : throw new CommandException($"{name} expects an address like http://127.0.0.1:5320, given \"{text}\".")
            : null;
}

/// <summary>A command cannot go on; the message says why and what to do.</summary>
internal sealed class CommandException(string message) : Exception(message);

/// <summary>What the commands answer to the shell.</summary>
internal static class ExitCode
{
    public const int Ok = 0;

    /// <summary>Refused, unreachable, or broken.</summary>
    public const int Failed = 1;

    /// <summary>The command line makes no sense.</summary>
    public const int Usage = 2;

    /// <summary>The job ended, but not every task succeeded.</summary>
    public const int NotAllSucceeded = 3;

    /// <summary>Interrupted with Ctrl-C; a submitted job goes on.</summary>
    public const int Interrupted = 130;
}
