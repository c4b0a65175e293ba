using System.Diagnostics;

namespace Pipeline.Standalone;

/// <summary>Runs a short command to its end and keeps what it said.</summary>
internal static class Tool
{
    /// <summary>Returns the command's standard output.</summary>
    /// <exception cref="InvalidOperationException">The command is missing or failed; the message has all it said.</exception>
    public static async Task<string> RunAsync(ProcessStartInfo start, CancellationToken cancellationToken)
    {
        var (exitCode, output, error) = await TryRunAsync(start, cancellationToken);
        return exitCode == 0
            ? output
            : throw new InvalidOperationException(
                $"{start.FileName} {string.Join(' ', start.ArgumentList)} ended with {exitCode}: {(error + output).Trim()}"
            );
    }

    /// <summary>Returns the exit code (127 when there is no such command) and what it said.</summary>
    public static async Task<(int ExitCode, string Output, string Error)> TryRunAsync(
        ProcessStartInfo start,
        CancellationToken cancellationToken
    )
    {
        start.RedirectStandardOutput = true;
        start.RedirectStandardError = true;
        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            return (127, "", e.Message);
        }

        using (process)
        {
            var output = process.StandardOutput.ReadToEndAsync(cancellationToken);
            var error = process.StandardError.ReadToEndAsync(cancellationToken);
            await process.WaitForExitAsync(cancellationToken);
            return (process.ExitCode, await output, await error);
        }
    }
}
