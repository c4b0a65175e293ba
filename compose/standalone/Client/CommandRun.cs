using System.CommandLine;
using System.CommandLine.Parsing;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Standalone.Host;

namespace Pipeline.Standalone.Client;

/// <summary>Runs a command line: one place turns every expected failure into a clear message and an exit code.</summary>
internal static class CommandRun
{
    private const int MistakesShown = 20;

    public static async Task<int> InvokeAsync(RootCommand root, string[] args)
    {
        var parsed = root.Parse(args);
        if (parsed.Errors.Count > 0)
        {
            foreach (var error in parsed.Errors)
            {
                await Console.Error.WriteLineAsync(error.Message);
            }

            await Console.Error.WriteLineAsync($"Try \"{Path(parsed.CommandResult)} --help\".");
            return ExitCode.Usage;
        }

        try
        {
            // The default handler would turn exceptions into stack traces; ours follow. A Ctrl-C cancels the command's token.
            return await parsed.InvokeAsync(
                new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = TimeSpan.FromSeconds(60) }
            );
        }
        catch (ApiException e)
        {
            TellRefusal(e);
            return ExitCode.Failed;
        }
        catch (Exception e) when (Expected(e))
        {
            await Console.Error.WriteLineAsync(Innermost(e).Message);
            return ExitCode.Failed;
        }
        catch (OperationCanceledException)
        {
            return ExitCode.Interrupted;
        }
    }

    /// <summary>The command with those above it: <c>pipeline models init</c>.</summary>
    private static string Path(CommandResult result) =>
        result.Parent is CommandResult parent ? $"{Path(parent)} {result.Command.Name}" : "pipeline";

    private static bool Expected(Exception e) =>
        e
            is CommandException
                or GpuWorker.Models.InvalidModelException
                or GpuWorker.OnnxRuntime.OnnxRuntimeException
                or CommandFailedException
                or TaskSourceException
                or OptionsException
                or ServerUnavailableException
                or HttpRequestException
                or IOException
                or InvalidDataException
                or UnauthorizedAccessException
                or InvalidOperationException { Source: "pipeline" }
                or Npgsql.NpgsqlException
                or TimeoutException;

    /// <summary>A body that cannot be read fails inside the HTTP client; its own reason is the one to tell.</summary>
    private static Exception Innermost(Exception e) =>
        e is HttpRequestException { InnerException: TaskSourceException or CommandException } ? e.InnerException : e;

    private static void TellRefusal(ApiException refusal)
    {
        Console.Error.WriteLine($"refused ({(int)refusal.Status}): {refusal.Message}");
        var mistakes = refusal.Problem?.Errors ?? [];
        foreach (var mistake in mistakes.Take(MistakesShown))
        {
            var where = mistake.Line is { } line ? $"{(refusal.File is { } file ? $"{file}: " : "")}line {line}" : "request";
            var field = mistake.Field is null ? "" : $", {mistake.Field}";
            var given = mistake.Given is null ? "" : $", given {mistake.Given}";
            Console.Error.WriteLine($"  {where}{field}: expected {mistake.Expected}{given}");
        }

        var total = refusal.Problem?.ErrorsTotal ?? mistakes.Count;
        if (total > MistakesShown)
        {
            Console.Error.WriteLine($"  … and {total - Math.Min(total, MistakesShown):N0} more. Nothing of the job was kept.");
        }
    }
}
