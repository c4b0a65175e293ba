using MassTransit;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Scheduler.Policy;
using Bus = Pipeline.Hosting.Bus;

namespace Pipeline.Scheduler.Service;

/// <summary>
/// What the scheduler listens to. The shared queue is acknowledged as soon as the fact is in the inbox: PostgreSQL is the truth, and
/// whoever takes over reads it again. Heartbeats, take-overs and chunks that somebody waits for come to a queue of this instance alone, where
/// none is ever old.
/// </summary>
internal sealed class FactConsumers(Inbox inbox, SliceNotes notes, Recovery recovery, SchedulerOptions options) : IBusPart, IDisposable
{
    private readonly string _own = $"pipeline.scheduler.{Guid.NewGuid():N}";

    /// <summary>What is held is read and told by one at a time, or who read earlier could tell later.</summary>
    private readonly SemaphoreSlim _holds = new(1);

    public void Configure(IBusRegistrationContext context, IReceiveConfigurator bus)
    {
        bus.ReceiveEndpoint(
            Bus.SchedulerQueue,
            endpoint =>
            {
                endpoint.AsSchedulerQueue((ushort)options.Prefetch);
                // An ingest from before ChunksSubmitted, beside newer ones, announces each chunk by itself.
                Take<ChunkSubmitted>(endpoint, ArrivalOf);
                endpoint.Handler<ChunksSubmitted>(context => ArriveAsync(context.Message.Chunks, context.CancellationToken));
                endpoint.Hear<JobChanged>();
                endpoint.Handler<JobChanged>(context => inbox.PutAsync(ChangeOf(context), context.CancellationToken).AsTask());
                endpoint.Hear<HoldsChanged>();
                endpoint.Handler<HoldsChanged>(TellHoldsAsync);
                endpoint.Hear<DispatchFinished>();
                endpoint.Handler<DispatchFinished>(context => EndAsync(context.Message, context.CancellationToken));
                Hear<SchedulerTick>(endpoint, static tick => new Ticked(tick));
                endpoint.Hear<AskJobDecisions>();
                endpoint.Handler<AskJobDecisions>(context => inbox.PutAsync(QuestionOf(context), context.CancellationToken).AsTask());
                Hear<Fault<Dispatch>>(
                    endpoint,
                    static fault => new Happened(
                        new DispatchFaulted(fault.Message.Id, fault.Exceptions is [var first, ..] ? first.Message : "no reason was given")
                    )
                );
            }
        );
        bus.ReceiveEndpoint(
            _own,
            endpoint =>
            {
                endpoint.AsTemporary((ushort)options.Prefetch);
                Hear<WorkerHeartbeat>(endpoint, static heartbeat => new Happened(new WorkerSeen(heartbeat)));
                Hear<SchedulerChanged>(endpoint, static changed => new EpochHeard(changed.Epoch));
                endpoint.HearWaited();
                Take<ChunkSubmitted>(endpoint, ArrivalOf);
            }
        );
    }

    public void Dispose() => _holds.Dispose();

    /// <summary>Who paused a job waits until the loop has observed it: what is put here may come after the turn that is being planned.</summary>
    private Happened ChangeOf(ConsumeContext<JobChanged> context) =>
        new(FactOf(context.Message), Tell: context.ResponseAddress is null ? null : () => AnswerAsync(context, new JobChangeObserved()));

    /// <summary>The question is acknowledged at once; the loop answers in its next turn, to where the question says.</summary>
    private Asked QuestionOf(ConsumeContext<AskJobDecisions> context) => new(context.Message, answer => AnswerAsync(context, answer));

    private async Task AnswerAsync<T>(ConsumeContext context, T answer)
        where T : class
    {
        if (context.ResponseAddress is { } asker)
        {
            var endpoint = await context.GetSendEndpoint(asker);
            await endpoint.SendAsync(
                answer,
                sent => (sent.RequestId, sent.Durable) = (context.RequestId, false),
                options.SendTimeMax,
                CancellationToken.None
            );
        }
    }

    /// <summary>The note comes first: the loop may send the chunk's dispatch at once.</summary>
    private Happened ArrivalOf(ChunkSubmitted chunk)
    {
        notes.Take(chunk);
        return new Happened(new ChunkArrived(ChunkHeader.From(chunk)));
    }

    private async Task ArriveAsync(IReadOnlyList<ChunkSubmitted> chunks, CancellationToken stop)
    {
        foreach (var chunk in chunks)
        {
            await inbox.PutAsync(ArrivalOf(chunk), stop);
        }
    }

    /// <summary>
    /// What escalated comes first: while the report is not observed the job is known, and its new chunks are paused or ended with it.
    /// </summary>
    private async Task EndAsync(DispatchFinished report, CancellationToken stop)
    {
        await ArriveAsync(report.Escalated ?? [], stop);
        notes.Take(report);
        await inbox.PutAsync(new Happened(new DispatchEnded(report with { Escalated = null })), stop);
    }

    private async Task TellHoldsAsync(ConsumeContext<HoldsChanged> context)
    {
        var stop = context.CancellationToken;
        await _holds.WaitAsync(stop);
        try
        {
            var told = context.ResponseAddress is null ? (Func<Task>?)null : () => AnswerAsync(context, new HoldsObserved());
            await inbox.PutAsync(new Happened(await recovery.ReadHoldsAsync(stop), Tell: told), stop);
        }
        catch (Exception e) when (e is NpgsqlException or TimeoutException)
        {
            // The sweep reads it when PostgreSQL is back.
        }
        finally
        {
            _holds.Release();
        }
    }

    private static Fact FactOf(JobChanged changed) =>
        changed.Change switch
        {
            JobChange.Cancelled => new JobCancelled(changed.Job),
            JobChange.Paused => new JobPaused(changed.Job),
            JobChange.Moved when changed is { Class: { } latencyClass, Deadline: { } deadline, Since: { } since } => new JobMoved(
                changed.Job,
                latencyClass,
                deadline,
                since
            ),
            _ => new JobResumed(changed.Job),
        };

    private void Hear<T>(IReceiveEndpointConfigurator endpoint, Func<T, Signal> signal)
        where T : class
    {
        endpoint.Hear<T>();
        Take(endpoint, signal);
    }

    private void Take<T>(IReceiveEndpointConfigurator endpoint, Func<T, Signal> signal)
        where T : class => endpoint.Handler<T>(context => inbox.PutAsync(signal(context.Message), context.CancellationToken).AsTask());
}
