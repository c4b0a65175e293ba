using System.Diagnostics;
using System.Diagnostics.Metrics;
using MassTransit;

namespace Pipeline.Hosting.Telemetry;

/// <summary>
/// What the bus does, by the semantic conventions' names. The destination is the exchange of the message's kind and never a queue: queues
/// of workers and instances come and go.
/// </summary>
public sealed class BusMetrics : IPublishObserver, IReceiveObserver, IDisposable
{
    public const string MeterName = "Pipeline.Bus";

    private readonly Meter _meter = new(MeterName);
    private readonly Counter<long> _sent;
    private readonly Histogram<double> _sendTime;
    private readonly Histogram<double> _processTime;
    private readonly KeyValuePair<string, object?> _system;

    /// <param name="system">Of which system it tells: <c>rabbitmq</c>, or <c>in_memory</c>.</param>
    public BusMetrics(string system)
    {
        _system = new(Metrics.System, system);
        _sent = _meter.Counter<long>(Metrics.MessagesSent);
        _sendTime = _meter.Histogram<double>(Metrics.SendDuration);
        _processTime = _meter.Histogram<double>(Metrics.ProcessDuration);
    }

    Task IPublishObserver.PrePublish<T>(PublishContext<T> context) => Task.CompletedTask;

    Task IPublishObserver.PostPublish<T>(PublishContext<T> context)
    {
        Sent(context, null);
        return Task.CompletedTask;
    }

    Task IPublishObserver.PublishFault<T>(PublishContext<T> context, Exception exception)
    {
        Sent(context, exception);
        return Task.CompletedTask;
    }

    Task IReceiveObserver.PreReceive(ReceiveContext context) => Task.CompletedTask;

    Task IReceiveObserver.PostReceive(ReceiveContext context) => Task.CompletedTask;

    Task IReceiveObserver.PostConsume<T>(ConsumeContext<T> context, TimeSpan duration, string consumerType)
    {
        _processTime.Record(duration.TotalSeconds, TagsOf<T>("process", null));
        return Task.CompletedTask;
    }

    Task IReceiveObserver.ConsumeFault<T>(ConsumeContext<T> context, TimeSpan duration, string consumerType, Exception exception)
    {
        _processTime.Record(duration.TotalSeconds, TagsOf<T>("process", exception));
        return Task.CompletedTask;
    }

    Task IReceiveObserver.ReceiveFault(ReceiveContext context, Exception exception) => Task.CompletedTask;

    public void Dispose() => _meter.Dispose();

    private void Sent<T>(PublishContext<T> context, Exception? error)
        where T : class
    {
        var tags = TagsOf<T>("send", error);
        _sent.Add(1, tags);
        if (context.SentTime is { } at)
        {
            _sendTime.Record(Math.Max(0, (DateTime.UtcNow - at).TotalSeconds), tags);
        }
    }

    private TagList TagsOf<T>(string operation, Exception? error)
        where T : class
    {
        var tags = new TagList { _system, new(Metrics.Destination, Destination<T>.Name), new(Metrics.Operation, operation) };
        if (error is not null)
        {
            tags.Add(Metrics.Error, error.GetType().Name);
        }

        return tags;
    }

    /// <summary>The exchange of a kind of message, as <see cref="Bus"/> names it; that of faults is one for all.</summary>
    private static class Destination<T>
    {
        public static readonly string Name = typeof(T).IsGenericType ? "faults" : Bus.ExchangeOf(typeof(T));
    }
}
