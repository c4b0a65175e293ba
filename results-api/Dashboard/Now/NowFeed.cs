using Microsoft.AspNetCore.Components;
using Microsoft.AspNetCore.Components.Web;
using Npgsql;
using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Dashboard.Now;

/// <summary>
/// Makes the live part of the page Now, once for all who look at it and only while somebody does: fifty viewers cost one query and one
/// rendering, and a write each.
/// </summary>
internal sealed partial class NowFeed(
    NowReader reader,
    IServiceProvider services,
    DashboardOptions options,
    TimeProvider time,
    ILogger<NowFeed> log
) : BackgroundService
{
    /// <summary>Of the time, what goes into looks at most.</summary>
    private const double LookShareMax = 0.05;

    private readonly SemaphoreSlim _reading = new(1);
    private readonly Lock _lock = new();
    private TaskCompletionSource<string> _next = New<string>();
    private TaskCompletionSource _wanted = New();
    private IReadOnlyList<MinuteNow> _minutes = [];
    private int _viewers;

    /// <summary>Begins to follow; disposing what it gives ends that. Null when too many do already.</summary>
    public IDisposable? Follow()
    {
        lock (_lock)
        {
            if (_viewers >= options.LiveViewersMax)
            {
                return null;
            }

            _viewers++;
            _wanted.TrySetResult();
            return new Viewer(this);
        }
    }

    /// <summary>The next rendering of the live part.</summary>
    public Task<string> NextAsync(CancellationToken stop) => Volatile.Read(ref _next).Task.WaitAsync(stop);

    /// <summary>Where everything stands now.</summary>
    public async Task<Snapshot> ReadAsync(CancellationToken stop)
    {
        await _reading.WaitAsync(stop);
        try
        {
            var snapshot = await reader.ReadAsync(_minutes, stop);
            _minutes = snapshot.Minutes;
            return snapshot;
        }
        finally
        {
            _reading.Release();
        }
    }

    /// <summary>One look and one rendering, given to all who wait for it.</summary>
    public async Task TurnAsync(CancellationToken stop)
    {
        var snapshot = await ReadAsync(stop);
        await using var renderer = new HtmlRenderer(services, services.GetRequiredService<ILoggerFactory>());
        var html = await renderer.Dispatcher.InvokeAsync(async () =>
        {
            var parameters = ParameterView.FromDictionary(new Dictionary<string, object?> { [nameof(NowRegion.Snapshot)] = snapshot });
            return (await renderer.RenderComponentAsync<NowRegion>(parameters)).ToHtmlString();
        });
        Interlocked.Exchange(ref _next, New<string>()).TrySetResult(html);
    }

    /// <summary>The time between two looks: what is set, and more where a large backlog makes each of them long.</summary>
    /// <param name="took">What the last one took.</param>
    public static TimeSpan Pause(TimeSpan every, TimeSpan took) => TimeSpan.FromTicks(Math.Max(every.Ticks, (took / LookShareMax).Ticks));

    public override void Dispose()
    {
        _reading.Dispose();
        base.Dispose();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            await Volatile.Read(ref _wanted).Task.WaitAsync(stoppingToken);
            var began = time.GetTimestamp();
            try
            {
                await TurnAsync(stoppingToken);
            }
            catch (Exception e) when (Problems.IsLostServer(e) && !stoppingToken.IsCancellationRequested)
            {
                LogLost(log, e.Message);
            }

            await Task.Delay(Pause(options.LiveEvery, time.GetElapsedTime(began)), time, stoppingToken);
        }
    }

    private void Leave()
    {
        lock (_lock)
        {
            if (--_viewers == 0)
            {
                _wanted = New();
            }
        }
    }

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private static TaskCompletionSource<T> New<T>() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    [LoggerMessage(82, LogLevel.Warning, "The live page stands still: {Reason}")]
    private static partial void LogLost(ILogger log, string reason);

    private sealed class Viewer(NowFeed feed) : IDisposable
    {
        private NowFeed? _feed = feed;

        public void Dispose() => Interlocked.Exchange(ref _feed, null)?.Leave();
    }
}
