using System.Threading.Channels;
using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Scheduler.Service;

/// <summary>Something the loop has to take note of.</summary>
internal abstract record Signal;

/// <summary>A fact for the policy.</summary>
/// <param name="Epoch">The epoch whose decision it answers; 0 for facts that hold whoever is active.</param>
/// <param name="Tell">Tells who waits for it that the policy has observed it, beside the loop. It is never called by an instance that is not active.</param>
internal sealed record Happened(Fact Fact, long Epoch = 0, Func<Task>? Tell = null) : Signal;

/// <summary>The shared queue served a tick: this instance is the one it serves.</summary>
internal sealed record Ticked(SchedulerTick Tick) : Signal;

/// <summary>Somebody takes this epoch for the newest.</summary>
internal sealed record EpochHeard(long Epoch) : Signal;

/// <summary>Somebody asks what was decided about a job.</summary>
/// <param name="Answer">Takes the answer, beside the loop. It is never called by an instance that is not active.</param>
internal sealed record Asked(AskJobDecisions Question, Func<JobDecisions, Task> Answer) : Signal;

/// <summary>A page of the sweep.</summary>
/// <param name="Last">True for the page that ends it.</param>
internal sealed record Swept(IReadOnlyList<OpenChunk> Chunks, bool Last) : Signal;

/// <summary>Where consumers and background work leave signals for the loop. Full, it makes them wait.</summary>
internal sealed class Inbox(SchedulerOptions options)
{
    private readonly Channel<Signal> _signals = Channel.CreateBounded<Signal>(
        new BoundedChannelOptions(options.SignalsMax) { SingleReader = true }
    );

    public ValueTask PutAsync(Signal signal, CancellationToken stop) => _signals.Writer.WriteAsync(signal, stop);

    public bool TryTake([System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out Signal? signal) => _signals.Reader.TryRead(out signal);

    /// <summary>Returns when there is something to take, or when the time is over.</summary>
    public async Task WaitAsync(TimeSpan atMost, TimeProvider time, CancellationToken stop)
    {
        if (atMost <= TimeSpan.Zero || _signals.Reader.Count > 0)
        {
            return;
        }

        // Its own timer, and not one that cancels it: a timer may fire while it is disposed of, and what is thrown there ends the process.
        using var patience = new CancellationTokenSource(atMost, time);
        using var over = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, stop);
        try
        {
            await _signals.Reader.WaitToReadAsync(over.Token);
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            // The time is over.
        }
    }
}
