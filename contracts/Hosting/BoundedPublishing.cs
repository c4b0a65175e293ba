using MassTransit;

namespace Pipeline.Hosting;

/// <summary>
/// Messages that are waited for no longer than somebody can wait. RabbitMQ's client waits for ever for the confirmation of a message whose
/// connection breaks while it is written (rabbitmq/rabbitmq-dotnet-client, issue 1930), so nothing here is published without a bound.
/// </summary>
public static class BoundedPublishing
{
    /// <summary>Publishes a message, and waits until the broker has it.</summary>
    /// <exception cref="NotConfirmedException">The broker has not said so in time. It may have the message all the same.</exception>
    public static Task PublishAsync<T>(this IPublishEndpoint bus, T message, TimeSpan within, CancellationToken stop)
        where T : class => SendAsync(message, static (endpoint, message, stop) => endpoint.Publish(message, stop), bus, within, stop);

    /// <summary>Sends a message to an address.</summary>
    /// <exception cref="NotConfirmedException">The broker has not said in time that it has it.</exception>
    public static Task SendAsync<T>(
        this ISendEndpoint endpoint,
        T message,
        Action<SendContext<T>> change,
        TimeSpan within,
        CancellationToken stop
    )
        where T : class => SendAsync(message, (to, message, stop) => to.Send(message, Pipe.Execute(change), stop), endpoint, within, stop);

    private static async Task SendAsync<T, TEndpoint>(
        T message,
        Func<TEndpoint, T, CancellationToken, Task> send,
        TEndpoint endpoint,
        TimeSpan within,
        CancellationToken stop
    )
        where T : class
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(stop);
        patience.CancelAfter(within);
        try
        {
            // Not every step of the way listens to the token: a new exchange is declared for as long as the client likes.
            await send(endpoint, message, patience.Token).WaitAsync(patience.Token);
        }
        catch (OperationCanceledException e) when (!stop.IsCancellationRequested)
        {
            throw new NotConfirmedException(typeof(T).Name, within, e);
        }
    }
}

/// <summary>The broker has not confirmed a message in time; it is away, or the connection to it broke. It may have the message all the same.</summary>
public sealed class NotConfirmedException(string message, TimeSpan within, Exception inner)
    : Exception($"The broker has not confirmed a message ({message}) within {within.TotalSeconds:0.###} s.", inner);
