using System.Diagnostics;
using Microsoft.Extensions.Hosting;

namespace Pipeline.Hosting;

/// <summary>
/// Stops this program when the process that started it is gone, so that a killed host or test run leaves nothing behind. The
/// kernel's own signal for this (PR_SET_PDEATHSIG) follows the starting thread, not the process, and .NET ends idle threads.
/// </summary>
internal sealed class StopWithParent(PipelineOptions options, IHostApplicationLifetime lifetime) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            using var parent = Process.GetProcessById(options.ParentProcess!.Value);
            await parent.WaitForExitAsync(stoppingToken);
        }
        catch (ArgumentException)
        {
            // Gone already.
        }

        lifetime.StopApplication();
    }
}
